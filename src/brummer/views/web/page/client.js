// The way to the tools: over HTTP to the page's own server. A host of MCP Apps has another one, with the same methods.

// The server can't be reached; the page waits for it.
export class Away extends Error {}

// The server is there, and does not know this page (any more).
export class Closed extends Error {}

// A call that failed, in the words of the answer; `code` as in the answer.
export class Failed extends Error {
  constructor(error) {
    super(error?.message ?? "the call failed");
    this.code = error?.code ?? "internal";
  }
}

const VERSION = "2026-07-28";
const META = {
  "io.modelcontextprotocol/protocolVersion": VERSION,
  "io.modelcontextprotocol/clientCapabilities": {},
  "io.modelcontextprotocol/clientInfo": { name: "page", version: "1" },
};
const CHANGING = new Set(["scripts_run", "scripts_stop", "scripts_restart", "instance_call"]);
const ANSWER_MS = 60_000; // an instance has 30 s, and a wait up to 20 s more
const SIBLING_MS = 3_000; // another tab answers at once, on a busy machine after a second; who waits to the end is refused

export class HttpClient {
  name = "brum web";
  hasSiblings = true; // other tabs of this browser may have the same page
  hasLocation = true; // the place that is shown is in the address
  isReadOnly = false;
  #secret = "";
  #isProven = true;
  #calls = 0;
  #tabs = new BroadcastChannel("brum");

  // Takes the one-time secret out of the address; returns the place that follows it. Raises Closed, Away.
  async open() {
    const [, ticket, place] = /^#([^/]*)(\/.*)?$/.exec(location.hash) ?? ["", "", ""];
    if (ticket) {
      history.replaceState(null, "", location.pathname + (place ? `#${place}` : ""));
      const answer = await this.#fetch("/enter", { method: "POST", headers: { authorization: `Bearer ${ticket}` } });
      if (answer.ok) sessionStorage.secret = await answer.text();
    }
    sessionStorage.secret ??= await this.#fromSibling();
    if (!sessionStorage.secret) {
      delete sessionStorage.secret;
      throw new Closed("This address was used already. Run `brum web` for a new one.");
    }
    this.#secret = sessionStorage.secret;
    this.#tabs.onmessage = ({ data }) => data === "who?" && this.#tabs.postMessage({ secret: this.#secret });
  }

  // A link that is opened in a new tab: the tab that is open already lets it in. Only pages of this server hear it.
  #fromSibling() {
    return new Promise((done) => {
      this.#tabs.onmessage = ({ data }) => data?.secret && done(data.secret);
      this.#tabs.postMessage("who?");
      setTimeout(() => done(""), SIBLING_MS);
    });
  }

  // The result of one tool, as the specification has it. Raises Away, Closed.
  async call(name, args, signal) {
    if (!this.#isProven) await this.#prove();
    const message = { jsonrpc: "2.0", id: ++this.#calls, method: "tools/call", params: { name, arguments: args, _meta: META } };
    const answer = await this.#fetch("/mcp", {
      method: "POST",
      body: JSON.stringify(message),
      signal,
      headers: {
        authorization: `Bearer ${this.#secret}`,
        accept: "application/json",
        "content-type": "application/json",
        "mcp-protocol-version": VERSION,
        "mcp-method": "tools/call",
        "mcp-name": name,
        ...(CHANGING.has(name) && { "x-brummer-once": randomName() }), // a browser may send a request again
      },
    });
    if (answer.status === 401) throw new Closed("This page was open for too long. Run `brum web` for a new address.");
    if (answer.status === 409) throw new Failed({ code: "outcome_unknown", message: "The connection was lost: it is not known what became of it." });
    const { result, error } = await answer.json();
    if (error) throw new Failed(error);
    return result;
  }

  // Another program may have taken the port: it must not be shown the secret.
  async #prove() {
    if (!crypto.subtle) throw new Closed("brum web was away. Run it again, and open its new address."); // a browser that trusts no loopback
    const nonce = randomName();
    const answer = await (await this.#fetch(`/proof?nonce=${nonce}`, {})).json().catch(() => ({}));
    const bytes = (text) => new TextEncoder().encode(text);
    const key = await crypto.subtle.importKey("raw", bytes(this.#secret), { name: "HMAC", hash: "SHA-256" }, false, ["sign"]);
    const mac = new Uint8Array(await crypto.subtle.sign("HMAC", key, bytes(`${nonce}\nweb\npage`)));
    const expected = [...mac].map((byte) => byte.toString(16).padStart(2, "0")).join("");
    if (answer.proof !== expected) throw new Closed("This page was open for too long. Run `brum web` for a new address.");
    this.#isProven = true;
  }

  async #fetch(path, options) {
    const patience = AbortSignal.timeout(ANSWER_MS);
    const signal = options.signal ? AbortSignal.any([options.signal, patience]) : patience;
    try {
      return await fetch(path, { ...options, signal, cache: "no-store", credentials: "omit", redirect: "error" });
    } catch (error) {
      if (options.signal?.aborted) throw error;
      this.#isProven = false;
      throw new Away("brum web can't be reached");
    }
  }
}

// 128 random bits as text; `randomUUID` is missing where a browser does not trust the loopback.
const randomName = () => [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");

// The structured content of a tool's answer. Raises Failed, and what `call` raises.
export async function ask(client, name, args = {}, signal = undefined) {
  const result = await client.call(name, args, signal);
  const content = result?.structuredContent ?? {};
  if (result?.isError) throw new Failed(content.error);
  return content;
}
