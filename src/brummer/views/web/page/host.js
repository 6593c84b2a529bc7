import { Away, Closed } from "./client.js";

// The way to the tools within a chat: the host of an MCP App carries the calls. The page is in a frame that may load and
// keep nothing (2026-01-26/apps.mdx of the extension io.modelcontextprotocol/ui).

const PROTOCOL = "2026-01-26";
const ROOM_PX = 560; // pixels, where the page may choose: a conversation goes on above and below it
const GREETED_MS = 10_000; // a host answers at once; a frame without one never does

// The host's colours and fonts, where it gives those of both text and background.
const WORN = {
  "--bg": "--color-background-primary",
  "--raised": "--color-background-primary",
  "--panel": "--color-background-secondary",
  "--ink": "--color-text-primary",
  "--dim": "--color-text-secondary",
  "--edge": "--color-border-primary",
  "--mono": "--font-mono",
};

export class HostClient {
  name = "the hub";
  isReadOnly = true;
  hasSiblings = false;
  hasLocation = false; // a link in such a frame would lead to the host's own page
  #ids = 0;
  #waiting = new Map(); // id → {done, failed}
  #context = {};

  async open() {
    addEventListener("message", (event) => event.source === parent && this.#take(event.data));
    const greeting = this.#ask("ui/initialize", {
      protocolVersion: PROTOCOL,
      appInfo: { name: "brummer", version: "1" },
      appCapabilities: { availableDisplayModes: ["inline", "fullscreen"] },
    });
    const patience = new Promise((_, failed) => setTimeout(() => failed(new Closed("No chat answers this view.")), GREETED_MS));
    const { hostCapabilities = {}, hostContext = {} } = await Promise.race([greeting, patience]);
    document.body.classList.add("embedded");
    this.#wear(hostContext);
    this.#tell("ui/notifications/initialized", {});
    this.#tellSize();
    if (!hostCapabilities.serverTools) throw new Closed("This chat does not let its views call tools.");
    return "";
  }

  async call(name, args, signal) {
    signal?.throwIfAborted();
    const id = this.#ids + 1;
    const stop = () => {
      this.#waiting.get(id)?.failed(signal.reason);
      this.#waiting.delete(id);
      this.#tell("notifications/cancelled", { requestId: id });
    };
    signal?.addEventListener("abort", stop, { once: true });
    try {
      return await this.#ask("tools/call", { name, arguments: args });
    } finally {
      signal?.removeEventListener("abort", stop);
    }
  }

  openLink(url) {
    this.#ask("ui/open-link", { url }).catch(() => {});
  }

  #ask(method, params) {
    const id = (this.#ids += 1);
    return new Promise((done, failed) => {
      this.#waiting.set(id, { done, failed });
      this.#send({ id, method, params });
    });
  }

  #tell(method, params) {
    this.#send({ method, params });
  }

  #send(message) {
    parent.postMessage({ jsonrpc: "2.0", ...message }, "*");
  }

  #take(message) {
    if (message?.jsonrpc !== "2.0") return;
    const { id, method, params, result, error } = message;
    if (method === "ui/notifications/host-context-changed") this.#wear(params);
    else if (method && id !== undefined) this.#send({ id, ...(["ping", "ui/resource-teardown"].includes(method) ? { result: {} } : { error: { code: -32601, message: "Method not found" } }) });
    else if (!method && this.#waiting.has(id)) {
      const { done, failed } = this.#waiting.get(id);
      this.#waiting.delete(id);
      if (error) failed(new Away(error.message));
      else done(result ?? {});
    }
  }

  // The host's theme and room; a change names only what has changed.
  #wear(context = {}) {
    this.#context = { ...this.#context, ...context };
    const { theme, styles, displayMode, containerDimensions: room = {} } = this.#context;
    const root = document.documentElement.style;
    if (theme) root.colorScheme = theme;
    const variables = styles?.variables ?? {};
    const isWhole = variables["--color-background-primary"] && variables["--color-text-primary"];
    for (const [ours, theirs] of Object.entries(WORN)) if (isWhole && variables[theirs]) root.setProperty(ours, variables[theirs]);
    const isFixed = displayMode === "fullscreen" || room.height !== undefined;
    root.height = isFixed ? "100vh" : `${Math.min(ROOM_PX, room.maxHeight ?? ROOM_PX)}px`;
  }

  #tellSize() {
    new ResizeObserver(() => this.#tell("ui/notifications/size-changed", { height: document.documentElement.offsetHeight })).observe(document.documentElement);
  }
}
