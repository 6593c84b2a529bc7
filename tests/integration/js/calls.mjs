// Tools of other servers, called through the hub with the official TypeScript client.
//
//     calls.mjs WAY      as in client.mjs; WAY.servers are listed, and WAY.calls are made all at once

import { Client } from '@modelcontextprotocol/client';
import { StdioClientTransport } from '@modelcontextprotocol/client/stdio';

const way = JSON.parse(process.argv[2]);
const mode = way.mode === 'legacy' ? 'legacy' : { pin: way.mode };
const transport = new StdioClientTransport({ command: way.command, args: way.args, env: way.env, cwd: way.cwd });
const client = new Client({ name: 'integration-test', version: '1' }, { versionNegotiation: { mode } });
await client.connect(transport);
await client.listTools();

const report = { tools: {} };
for (const instance of way.servers) {
  const listed = await client.callTool({ name: 'instance_tools', arguments: { instance } });
  report.tools[instance] = listed.structuredContent.tools.map((tool) => tool.name);
}

async function made(call) {
  const progress = [];
  const options = call.progress ? { onprogress: (each) => progress.push(each.progress) } : {};
  const given = { instance: call.server, tool: call.tool, arguments: call.arguments };
  const result = await client.callTool({ name: 'instance_call', arguments: given }, options);
  return {
    is_error: result.isError ?? false,
    content: result.content,
    structured: result.structuredContent ?? null,
    progress,
  };
}

report.answers = await Promise.all(way.calls.map(made));
await client.close();
process.stdout.write(JSON.stringify(report));
