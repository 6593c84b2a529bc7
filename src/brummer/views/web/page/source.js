import { Away, Closed, Failed, ask } from "./client.js";
import { isUp } from "./model.js";
import { AGAIN_MS, AT_ONCE_MS, WAIT_S, isSeen, pause, visibly } from "./reader.js";

// Keeps the model: one long poll for all changes, and a look at the hub while somebody looks at the page.

const LOOK_MS = 2_000; // the state of links has no event; it is looked at as often as CPU and memory are sampled
const ALL_EVERY = 15; // looks: all projects cost a call each
const QUESTION_MS = 3_000; // after a change: a script that asks does so soon after its start
const PAGES = 50; // of one list at most
const OLDEST = "unknown.0.0"; // a cursor of no run begins with the oldest entry

export const PLOT_MS = 15 * 60_000;

export class Source {
  #client;
  #model;
  #changed;
  #failed;
  #cursor = null;
  #gate = new Gate();
  #soon = new AbortController();

  // `place()`: what is looked at; `changed()` after the model has changed; `failed(project, change)` when a script that
  // was ready has failed.
  constructor(client, model, { place, changed, failed }) {
    this.#client = client;
    this.#model = model;
    this.place = place;
    this.#changed = changed;
    this.#failed = failed;
  }

  // Three loops, for as long as the page lives: an instance that hangs holds up one of them.
  async run() {
    document.addEventListener("visibilitychange", () => this.lookSoon());
    await Promise.all([this.#look(), this.#measure(), this.#watch()]);
  }

  lookSoon() {
    this.#soon.abort();
    this.#soon = new AbortController();
  }

  async #guarded(work) {
    try {
      await work();
      if (this.#model.awaySince) this.#returned();
      return true;
    } catch (error) {
      if (error instanceof Away) this.#model.awaySince ??= Date.now();
      else if (error instanceof Closed) this.#model.closed = error.message;
      else if (!(error instanceof Failed)) throw error;
      this.#changed();
      return false;
    }
  }

  #returned() {
    this.#model.awaySince = null;
    for (const project of this.#model.projects.values()) this.read(project, true);
    this.#changed();
  }

  async #look() {
    let looks = 0;
    while (!this.#model.closed) {
      await visibly();
      const { signal } = this.#soon;
      const isWell = await this.#guarded(() => this.#lookAtHub());
      this.#lookForQuestions(looks);
      looks += 1;
      this.#changed();
      await pause(isWell ? LOOK_MS : AGAIN_MS, signal);
    }
  }

  async #lookAtHub() {
    const status = await this.#pages("hub_status", {}, ["problems", "links", "timeline"]);
    if (!this.#model.takeStatus(status, Date.now()) && this.#model.isAsked) return;
    const { instances } = await this.#pages("instances_list", {}, ["instances"]);
    const toRead = this.#model.takeInstances(instances, Date.now());
    this.#changed();
    for (const project of toRead) this.read(project, true);
  }

  // A question that waits for an answer is no line and no change: only the processes have it.
  #lookForQuestions(looks) {
    const chosen = this.#model.projects.get(this.place().instance);
    const asked = chosen ? [chosen] : looks % ALL_EVERY ? [] : [...this.#model.projects.values()];
    for (const project of asked) if (!project.isAway && [...project.processes.values()].some(isUp)) this.read(project);
  }

  async #pages(tool, args, sections) {
    const whole = await ask(this.#client, tool, args);
    let cursor = whole.next_cursor;
    for (let page = 1; cursor && page < PAGES; page += 1) {
      const more = await ask(this.#client, tool, { ...args, cursor });
      for (const section of sections) whole[section] = [...(whole[section] ?? []), ...(more[section] ?? [])];
      cursor = more.next_cursor;
    }
    return whole;
  }

  async #measure() {
    while (!this.#model.closed) {
      await visibly();
      const { signal } = this.#soon;
      await this.#guarded(() => this.#lookAtUsage());
      await pause(LOOK_MS, signal);
    }
  }

  async #lookAtUsage() {
    const project = this.#model.projects.get(this.place().instance);
    if (!project || project.isAway || project.hasNoUsage) return;
    const { script: name } = this.place();
    const since = this.#model.usageSince(project, name, (Date.now() - PLOT_MS) / 1000);
    try {
      const answer = await ask(this.#client, "instance_call", { instance: project.id, tool: "scripts_usage", arguments: { since, ...(name && { name }) } });
      this.#model.takeUsage(project, answer, Date.now(), PLOT_MS);
    } catch (error) {
      if (!(error instanceof Failed)) throw error;
      project.hasNoUsage = error.code === "refused_by_instance"; // an instance of an earlier version
    }
  }

  // Reads a project again: its processes after a change; all of it at first, and after it was away.
  async read(project, isWhole = false) {
    project.wanted = isWhole || project.wanted === "all" ? "all" : "processes";
    if (project.isBeingRead) return;
    project.isBeingRead = true;
    await this.#gate.enter();
    while (project.wanted) {
      const isAll = project.wanted === "all";
      project.wanted = "";
      await this.#guarded(() => (isAll ? this.#readAll(project) : this.#readProcesses(project)));
    }
    this.#gate.leave();
    project.isBeingRead = false;
  }

  async #readProcesses(project) {
    this.#model.takeProcesses(project, await this.#pages("scripts_status", { instance: project.id }, ["processes"]));
    this.#changed();
  }

  async #readAll(project) {
    await this.#readProcesses(project);
    if (!project.isAway) this.#model.takeScripts(project, await this.#pages("scripts_list", { instance: project.id }, ["scripts"]));
    this.#changed();
    let cursor = OLDEST;
    for (let page = 0; page < PAGES; page += 1) {
      const answer = await ask(this.#client, "changes_since", { instance: project.id, cursor, limit: 1_000 });
      this.#model.takeChanges(answer.changes, project);
      this.#changed();
      cursor = answer.cursor;
      if (!answer.more) return;
    }
  }

  async #watch() {
    while (!this.#model.closed) {
      const poll = () => this.#guarded(() => this.#news());
      const isWell = await (isSeen() || !this.#client.hasSiblings || !navigator.locks ? poll() : inTurn(poll));
      if (!isWell) await pause(AGAIN_MS);
    }
  }

  async #news() {
    const begun = performance.now();
    const more = this.#cursor ? { cursor: this.#cursor, limit: 200, wait_s: WAIT_S } : { limit: 1 };
    const answer = await ask(this.#client, "changes_since", { instance: "*", ...more });
    const isFirst = !this.#cursor;
    this.#cursor = answer.cursor;
    if (isFirst) return;
    for (const project of this.#model.takeChanges(answer.changes)) {
      this.read(project);
      setTimeout(() => this.read(project), QUESTION_MS);
    }
    for (const [project, change] of this.#model.failures(answer.changes)) this.#failed(project, change);
    this.#changed();
    if (answer.changes.length) return;
    this.lookSoon(); // an instance has ended, or the time is over
    if (performance.now() - begun < AT_ONCE_MS) await pause(AGAIN_MS);
  }
}

// A browser allows six connections to one server, and a call to an instance that hangs takes one for half a minute.
class Gate {
  #free = 2;
  #queue = [];

  enter() {
    if (this.#free > 0) {
      this.#free -= 1;
      return null;
    }
    return new Promise((done) => this.#queue.push(done));
  }

  leave() {
    const next = this.#queue.shift();
    if (next) next();
    else this.#free += 1;
  }
}

// Of all pages that nobody sees, one at a time asks: the six connections are for all of them. True: it is well.
async function inTurn(poll) {
  const seen = new AbortController();
  const check = () => isSeen() && seen.abort();
  document.addEventListener("visibilitychange", check);
  try {
    return await navigator.locks.request("brum", { signal: seen.signal }, poll);
  } catch {
    return true;
  } finally {
    document.removeEventListener("visibilitychange", check);
  }
}
