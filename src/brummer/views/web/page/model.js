import { brief, plural, span } from "./text.js";

// What is known of the projects, and the words for it. Answers go in, facts come out; `now` is passed in, in
// milliseconds. Nothing here knows the browser.

const CHANGES_KEPT = 5_000; // an instance keeps a thousand of its present run; earlier runs stay as long as the page

const LOOKS = {
  ready: ["●", "ok"],
  running: ["●", "ok"],
  pending: ["◐", "moving"],
  starting: ["◐", "moving"],
  stopping: ["◐", "moving"],
  failed: ["✖", "bad"],
  "crash-looping": ["✖", "bad"],
  lost: ["✖", "bad"],
  exited: ["✓", "dim"],
  stopped: ["○", "dim"],
};
const NEVER = ["·", "dim"];
const AWAY = ["◌", "moving"];

export const isUp = (process) => ["ready", "running", "starting", "pending", "stopping"].includes(process?.status);
export const hasFailed = (process) => ["failed", "crash-looping", "lost"].includes(process?.status);
// The sign and the kind of a state: no two kinds differ by their colour alone.
export const lookOf = (process, isAway = false) => (isAway && isUp(process) ? AWAY : (LOOKS[process?.status] ?? NEVER));

// What no two changes of an instance share, over all its runs.
const nameOf = (change) => `${change.at} ${change.n} ${change.kind} ${change.process_id}`;

export class Project {
  constructor(id) {
    Object.assign(this, { id, name: id, directory: "", state: "discovered", reason: "", sinceMs: 0, isBox: false, isRead: false });
    this.scripts = [];
    this.problems = [];
    this.processes = new Map();
    this.changes = [];
    this.outages = [];
    this.usage = new Map();
    this.startedBy = "";
    this.seen = new Set();
  }

  get isAway() {
    return this.state !== "ready" || this.isBox;
  }

  // Scripts that are listed, and those that have run without being listed any more; what runs first, then as listed.
  get names() {
    const listed = this.scripts.map((script) => script.name);
    return [...new Set([...listed, ...this.processes.keys()])];
  }

  scriptNamed(name) {
    return this.scripts.find((script) => script.name === name);
  }
}

export class Model {
  constructor() {
    this.projects = new Map();
    this.problems = [];
    this.timeline = [];
    this.awaySince = null; // when the page's server went away
    this.closed = ""; // why the page can ask no more
    this.isAsked = false; // the first answer has come
  }

  get sorted() {
    return [...this.projects.values()].sort((a, b) => a.name.localeCompare(b.name) || a.id.localeCompare(b.id));
  }

  // Answers.

  // Of hub_status; returns whether the list of instances has to be asked for.
  takeStatus(answer, now) {
    this.problems = answer.problems ?? [];
    this.timeline = answer.timeline ?? [];
    let isNews = false;
    const named = new Set();
    for (const link of answer.links ?? []) {
      named.add(link.instance_id);
      const project = this.projects.get(link.instance_id);
      if (!project && !this.foreign?.has(link.instance_id)) isNews = true;
      else if (project) isNews = this.#takeState(project, link, now) || isNews;
    }
    for (const project of this.projects.values()) if (!named.has(project.id)) isNews = this.#takeState(project, { state: "gone" }, now) || isNews;
    return isNews;
  }

  #takeState(project, { state, reason = "", since_s: sinceS }, now) {
    const wasReady = project.state === "ready";
    const isNews = project.state !== state;
    project.reason = reason;
    if (isNews || sinceS !== undefined) project.sinceMs = now - 1000 * (sinceS ?? 0);
    project.state = state;
    if (wasReady && state !== "ready") project.outages.push({ from: project.sinceMs, state });
    if (state === "ready" && project.outages.length) project.outages.at(-1).until ??= now;
    return isNews;
  }

  // Of instances_list, all of it; returns the projects that are new or have come back.
  takeInstances(instances, now) {
    this.isAsked = true;
    this.foreign = new Set();
    const toRead = [];
    for (const told of instances) {
      if (!told.directory) {
        this.foreign.add(told.instance_id);
        continue;
      }
      let project = this.projects.get(told.instance_id);
      if (!project) this.projects.set(told.instance_id, (project = new Project(told.instance_id)));
      Object.assign(project, { name: told.name, directory: told.directory, startedBy: told.started_by ?? "" });
      this.#takeState(project, told, now);
      const isAnotherRun = project.pid !== told.pid;
      project.pid = told.pid;
      if (!project.isRead || isAnotherRun || (project.isBox && told.state === "ready") || (!project.isBox && told.state === "gone")) toRead.push(project);
    }
    return toRead;
  }

  takeProcesses(project, answer) {
    project.isRead = true;
    project.isBox = Boolean(answer.from);
    project.processes = new Map((answer.processes ?? []).map((process) => [process.name, process]));
  }

  takeScripts(project, answer) {
    project.scripts = answer.scripts ?? [];
    project.problems = answer.problems ?? [];
  }

  // Returns the projects that the changes are of. ``project``: of an answer about one instance.
  takeChanges(changes, project = null) {
    const touched = new Set();
    for (const change of changes) {
      const of = project ?? this.projects.get(change.instance);
      if (!of || of.seen.has(nameOf(change))) continue;
      of.seen.add(nameOf(change));
      of.changes.push({ ...change, ms: Date.parse(change.at) });
      touched.add(of);
    }
    for (const of of touched) {
      of.changes.sort((a, b) => a.ms - b.ms || a.n - b.n);
      for (const old of of.changes.splice(0, Math.max(0, of.changes.length - CHANGES_KEPT))) of.seen.delete(nameOf(old));
    }
    return touched;
  }

  // Of scripts_usage; samples are kept as long as they are within the plot.
  takeUsage(project, answer, now, keptMs) {
    project.everyMs = 1000 * (answer.every_s ?? 2);
    for (const each of answer.scripts ?? []) {
      const kept = project.usage.get(each.name)?.samples ?? [];
      const last = kept.at(-1)?.[0] ?? 0;
      const samples = [...kept, ...(each.samples ?? []).filter(([at]) => at > last)].filter(([at]) => 1000 * at > now - keptMs);
      project.usage.set(each.name, { ...each, samples });
    }
  }

  // The time in seconds after which samples of this script, or of all that run, are wanted.
  usageSince(project, script, earliest) {
    const names = script ? [script] : [...project.processes.values()].filter(isUp).map((process) => process.name);
    const lasts = names.map((name) => project.usage.get(name)?.samples.at(-1)?.[0] ?? earliest);
    return Math.max(earliest, Math.min(...lasts));
  }

  // Those of the changes with which a script that was ready has failed, each with its project.
  failures(changes) {
    const found = [];
    for (const change of changes) {
      const project = this.projects.get(change.instance);
      const wasReady = project?.changes.some((each) => each.kind === "ready" && each.process_id === change.process_id);
      if (wasReady && ["failed", "crash-looping"].includes(change.kind)) found.push([project, change]);
    }
    return found;
  }

  // Facts.

  // The verdict of all: [kind, sign, words].
  verdict() {
    if (this.closed) return ["dim", "○", "closed"];
    if (!this.isAsked) return ["dim", "◌", "asking …"];
    const failed = [];
    let up = 0;
    for (const project of this.sorted)
      for (const [name, process] of project.processes) {
        if (hasFailed(process)) failed.push(`${project.name} › ${name}`);
        else if (isUp(process) && !project.isAway) up += 1;
      }
    const worst = this.problems.find((problem) => problem.severity === "error") ?? this.problems.find((problem) => problem.severity === "warning");
    if (failed.length) return ["bad", "✖", `${failed.length === 1 ? "" : `${failed.length} scripts `}failed: ${listed(failed)}`];
    if (worst) return [worst.severity === "error" ? "bad" : "moving", worst.severity === "error" ? "✖" : "◐", [worst.instance, worst.title].filter(Boolean).join(": ")];
    if (!this.projects.size) return ["dim", "○", "no project has an instance yet"];
    return ["ok", "●", up ? `${plural(up, "script")} ${up === 1 ? "runs" : "run"}, none has failed` : "nothing runs, nothing has failed"];
  }
}

const listed = (names, most = 3) => names.slice(0, most).join(", ") + (names.length > most ? ` and ${names.length - most} more` : "");

// Why a project does not answer, in words; empty if it does.
export function awayWords(project, now) {
  if (!project.isAway) return "";
  const since = `since ${span(now - project.sinceMs)}`;
  if (project.state === "gone") return `gone ${since}, waiting`;
  return project.state === "ready" ? "" : `${project.state} ${since}, waiting`;
}

const endWords = (process) => {
  if (process.signal) return process.signal;
  return process.exit_code === null || process.exit_code === undefined ? "" : `exit ${process.exit_code}`;
};

// The state of a script in words, as of its latest run.
export function stateWords(process, now) {
  if (!process) return "not started";
  const since = (at) => (at ? span(now - Date.parse(at)) : "");
  const ago = process.ended_at ? `, ${since(process.ended_at)} ago` : "";
  switch (process.status) {
    case "ready":
      return `ready for ${since(process.ready_at ?? process.started_at)}`;
    case "running":
      return `running for ${since(process.started_at)}`;
    case "starting":
      return `starting for ${since(process.started_at)}`;
    case "stopping":
      return "stopping";
    case "pending":
      return process.waits_for?.length ? `waits for ${process.waits_for.join(", ")}` : process.next_restart_s === undefined ? "waits" : "restarts soon";
    case "exited":
      return `done${ago}`;
    case "stopped":
      return `stopped${byWords(process.stop_asked_by)}${ago}`;
    case "failed":
      return `failed: ${process.reason ?? endWords(process)}${ago}`;
    case "crash-looping":
      return `keeps failing: ${process.reason ?? endWords(process)}${ago}`;
    case "lost":
      return "its end is not known: the instance died first";
    default:
      return process.status;
  }
}

// Who asked, with a word before it: the program itself, the tools' own words, or an agent's name.
export function byWords(by) {
  const known = { call: "", "cancelled call": " as its call was cancelled", shutdown: " with its instance", restart: " to be restarted" };
  return by ? (known[by] ?? ` by ${by}`) : "";
}

// The runs of a project, for a timeline: {name, id, from, readyAt, until, end, by}; `until` is null while it runs.
export function runsOf(project, now) {
  const runs = new Map();
  const runOf = (name, id, ms) => {
    if (!runs.has(id)) runs.set(id, { name, id, from: ms, readyAt: null, until: null, end: "", by: "" });
    return runs.get(id);
  };
  for (const change of project.changes) {
    const run = runOf(change.process, change.process_id, change.ms);
    if (change.kind === "started") run.by = change.by ?? "";
    else if (change.kind === "ready") run.readyAt = change.ms;
    else if (ENDS.has(change.kind)) Object.assign(run, { until: change.ms, end: change.kind });
  }
  for (const process of project.processes.values()) {
    if (!process.started_at) continue;
    const run = runOf(process.name, process.process_id, Date.parse(process.started_at));
    run.from = Math.min(run.from, Date.parse(process.started_at));
    if (process.ended_at) Object.assign(run, { until: Date.parse(process.ended_at), end: process.status });
    else if (project.isAway) Object.assign(run, { until: Math.min(now, project.sinceMs), end: "lost" });
  }
  const current = new Set([...project.processes.values()].map((process) => process.process_id));
  for (const run of runs.values()) if (run.until === null && !current.has(run.id)) Object.assign(run, { until: run.from, end: "lost" });
  return [...runs.values()].sort((a, b) => a.from - b.from);
}

const ENDS = new Set(["exited", "failed", "crash-looping", "stopped", "lost"]);

// Kinds of errors: one for each process, title and place, the newest first.
export function errorsOf(project, script = null) {
  const kinds = new Map();
  for (const change of project.changes) {
    if (change.kind !== "error" || (script && change.process !== script)) continue;
    const key = JSON.stringify([change.process, change.title, change.where ?? ""]);
    const kind = kinds.get(key) ?? { key, process: change.process, title: change.title, where: change.where ?? "", firstMs: change.ms, byRun: new Map() };
    kind.byRun.set(change.process_id, Math.max(change.count ?? 1, kind.byRun.get(change.process_id) ?? 0));
    Object.assign(kind, { ms: change.ms, n: change.first_n, lines: change.lines ?? [] });
    kinds.set(key, kind);
  }
  return [...kinds.values()].map((kind) => ({ ...kind, count: [...kind.byRun.values()].reduce((a, b) => a + b, 0) })).sort((a, b) => b.ms - a.ms);
}

// What happened, the newest first: {ms, sign, kind, actor, text, project, script, n}.
export function storyOf(model, projects, script, most) {
  const found = [];
  for (const project of projects) {
    const restarts = new Map(); // process → who asked for the stop that was its first half
    const ready = new Set(project.changes.filter((change) => change.kind === "ready" && change.urls?.length).map((change) => change.process_id));
    for (const change of project.changes) {
      if (script && change.process !== script) continue;
      if (change.kind === "url" && ready.has(change.process_id)) continue; // ready names it, too
      if (change.kind === "stopped" && change.stop_asked_by === "restart") restarts.set(change.process, change.by ?? "");
      else found.push(sentenceOf(project, change, restarts));
    }
    for (const outage of project.outages) found.push({ ms: outage.from, sign: "◌", kind: "moving", actor: "", text: `does not answer: ${outage.state}`, project, script: "" });
  }
  for (const event of model.timeline) found.push(machineSentence(event));
  found.sort((a, b) => b.ms - a.ms);
  return withoutRepeats(found).slice(0, most);
}

// An error that came again is told once, where it came last.
function withoutRepeats(sentences) {
  const errors = new Map();
  return sentences.filter((each) => {
    if (!each.isError) return true;
    const key = JSON.stringify([each.project.id, each.script, each.text]);
    const first = errors.get(key);
    if (first) first.times += 1;
    else errors.set(key, Object.assign(each, { times: 1 }));
    return !first;
  });
}

const AGENT_LESS = new Set(["call", "restart", "shutdown", "cancelled call", "command line", "view", "page"]);
// Whether this name is of an agent, and not of a person's own command or view.
export const isAgent = (by) => Boolean(by) && !AGENT_LESS.has(by);

function sentenceOf(project, change, restarts) {
  const by = change.by ?? change.stop_asked_by ?? "";
  const actor = ["call", "restart", "shutdown", "cancelled call"].includes(by) ? "" : by;
  const base = { ms: change.ms, actor, project, script: change.process, process_id: change.process_id };
  const why = change.reason ?? (change.signal || (change.exit_code ? `exit ${change.exit_code}` : ""));
  switch (change.kind) {
    case "started": {
      const isRestart = restarts.delete(change.process);
      return { ...base, sign: isRestart ? "↻" : "▸", kind: "begin", text: isRestart ? "restarted" : "started" };
    }
    case "ready":
      return { ...base, actor: "", sign: "●", kind: "ok", text: ["is ready", ...(change.urls ?? [])].join(" ") };
    case "url":
      return { ...base, actor: "", sign: "●", kind: "dim", text: ["serves", ...(change.urls ?? [])].join(" ") };
    case "error":
      return { ...base, actor: "", sign: "!", kind: "bad", text: [change.title, change.where && `(${brief(change.where)})`].filter(Boolean).join(" "), n: change.first_n, isError: true };
    case "exited":
      return { ...base, actor: "", sign: "✓", kind: "dim", text: "is done" };
    case "stopped":
      return { ...base, sign: "○", kind: "dim", text: `stopped${actor ? "" : byWords(by)}` };
    case "failed":
    case "crash-looping": {
      const again = change.next_restart_s === undefined ? "" : `, is restarted in ${change.next_restart_s} s`;
      return { ...base, actor: "", sign: "✖", kind: "bad", text: `${change.kind === "failed" ? "failed" : "keeps failing"}${why ? `: ${why}` : ""}${again}` };
    }
    default:
      return { ...base, sign: "·", kind: "dim", text: change.kind };
  }
}

const MACHINE = { slept: "the machine slept", sleeping: "the machine goes to sleep", paused: "nothing ran here", network: "the network changed", clock: "the clock was set" };

// An entry of the hub's timeline as a sentence.
export function machineSentence(event) {
  const what = MACHINE[event.kind] ?? event.kind;
  const how = event.seconds ? ` for ${span(1000 * event.seconds)}` : event.reasons?.length ? `: ${event.reasons.join("; ")}` : "";
  return { ms: Date.parse(event.at), sign: "☾", kind: "moving", actor: "", text: what + how, project: null, script: "" };
}

// Bands of a timeline that are of the machine or of a project's instance: {from, until, text}.
export function bandsOf(model, projects, now) {
  const bands = model.timeline
    .filter((event) => ["slept", "paused"].includes(event.kind))
    .map((event) => ({ from: Date.parse(event.at) - 1000 * event.seconds, until: Date.parse(event.at), text: machineSentence(event).text, kind: event.kind === "slept" ? "sleep" : "outage" }));
  for (const project of projects)
    for (const outage of project.outages) bands.push({ from: outage.from, until: outage.until ?? now, text: `${project.name}: ${outage.state}`, kind: "outage" });
  return bands;
}

// The place in the page that the part behind # names: {instance, script, tab, n}.
export function placeOf(hash) {
  const [path, query = ""] = hash.replace(/^#/, "").split("?");
  const [, instance = "", script = ""] = path.split("/").map(decoded);
  const chosen = new URLSearchParams(query);
  const n = Number(chosen.get("n"));
  return { instance, script, tab: TABS.includes(chosen.get("tab")) ? chosen.get("tab") : "lines", n: Number.isSafeInteger(n) && n > 0 ? n : 0 };
}

export const TABS = ["lines", "errors", "story"];

export function hashOf({ instance = "", script = "", tab = "lines", n = 0 }) {
  const query = [tab === "lines" ? "" : `tab=${tab}`, n ? `n=${n}` : ""].filter(Boolean).join("&");
  const path = [instance, script].filter(Boolean).map(encodeURIComponent).join("/");
  return `#/${path}${query ? `?${query}` : ""}`;
}

function decoded(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

// The lines of an answer of logs_tail or logs_search one by one: what the answer has joined is taken apart.
export function unfolded(answer) {
  const found = [];
  const common = answer.common ?? {};
  for (const entry of answer.lines ?? []) {
    const whole = { ...common, ...entry };
    const texts = String(whole.text ?? "").split("\n");
    const isWhole = whole.after_ms?.length === texts.length;
    const first = Date.parse(whole.at);
    texts.forEach((text, offset) => {
      const ms = isWhole ? first + whole.after_ms[offset] : first;
      found.push({ n: (whole.n ?? 0) + offset, ms, who: whole.process ?? "", text, level: whole.level ?? "", note: whole.stream === "brum" });
    });
  }
  return found;
}
