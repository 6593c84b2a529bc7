// What a user of the official TypeScript client does.
//
//     client.mjs WAY      the way to the server, and the report on standard output, as foreign_clients.py has them

import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';
import { StdioClientTransport } from '@modelcontextprotocol/client/stdio';

const way = JSON.parse(process.argv[2]);
const mode = { legacy: 'legacy', auto: 'auto' }[way.mode] ?? { pin: way.mode };

const transport = way.url
  ? new StreamableHTTPClientTransport(new URL(way.url), { requestInit: { headers: way.headers } })
  : new StdioClientTransport({ command: way.command, args: way.args, env: way.env, cwd: way.cwd });
const client = new Client({ name: 'integration-test', version: '1' }, { versionNegotiation: { mode } });
await client.connect(transport);

async function call(name, args, options) {
  const result = await client.callTool({ name, arguments: args }, options);
  return { is_error: result.isError ?? false, content: result.structuredContent };
}

const report = { protocol: client.getNegotiatedProtocolVersion() };
report.tools = (await client.listTools()).tools.map((tool) => tool.name);
report.scripts = await call('scripts_list', {});
report.ended = await call('scripts_run', { name: 'hello', wait: 'exit' });
report.found = await call('logs_search', { query: 'hello from' });
report.running = await call('scripts_run', { name: 'dev' });
report.failed = await call('scripts_run', { name: 'nonsense' });
report.unknown_tool = await call('no_such_tool', {}).catch((error) => error.code);
report.progress = [];
const onprogress = ({ progress, total }) => report.progress.push([progress, total]);
report.waited = await call('wait_for', { log: 'never', timeout_s: 3.5 }, { onprogress });
if (mode === 'legacy') await client.ping();
await client.close();
process.stdout.write(JSON.stringify(report));
