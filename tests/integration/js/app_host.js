// A chat client that shows MCP Apps, with the official bridge: it reads the page of `view_open` and carries its calls.
import { Client, StreamableHTTPClientTransport } from "@modelcontextprotocol/client";
import { AppBridge, PostMessageTransport, getToolUiResourceUri } from "@modelcontextprotocol/ext-apps/app-bridge";

// What a host allows a page that has declared no domains: apps.mdx, "Restrictive Default".
const POLICY = "default-src 'none'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; media-src 'self' data:; connect-src 'none';";

const client = new Client({ name: "chat", version: "1.0.0" });
await client.connect(new StreamableHTTPClientTransport(new URL("/mcp", location.href)));

const { tools } = await client.listTools();
const tool = tools.find((each) => each.name === "view_open");
const uri = getToolUiResourceUri(tool);
const { contents } = await client.readResource({ uri });
const page = contents[0];

window.told = { uri, mimeType: page.mimeType, opened: [], called: [], sizes: [], capabilities: client.getServerCapabilities() };

const frame = document.body.appendChild(document.createElement("iframe"));
frame.sandbox = "allow-scripts";
frame.style.cssText = "width: 100%; height: 300px; border: 0";

addEventListener("message", ({ source, data }) => {
  if (source === frame.contentWindow && data.method === "tools/call") window.told.called.push(data.params.name);
});

const theme = matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
const context = { theme, displayMode: "inline", containerDimensions: { maxHeight: 700 }, toolInfo: { tool } };
const bridge = new AppBridge(client, { name: "chat", version: "1.0.0" }, { openLinks: {}, serverTools: {} }, { hostContext: context });
bridge.onopenlink = async ({ url }) => (window.told.opened.push(url), {});
bridge.onsizechange = ({ height }) => {
  window.told.sizes.push(height);
  if (height) frame.style.height = `${height}px`;
};
bridge.oninitialized = async () => {
  window.told.isInitialized = true;
  await bridge.sendToolInput({ arguments: {} });
  await bridge.sendToolResult(await client.callTool({ name: "view_open", arguments: {} }));
};
await bridge.connect(new PostMessageTransport(frame.contentWindow, frame.contentWindow));
window.bridge = bridge;
frame.srcdoc = page.text.replace("<head>", `<head><meta http-equiv="Content-Security-Policy" content="${POLICY}">`);
