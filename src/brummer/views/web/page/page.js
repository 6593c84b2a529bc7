import { Away, HttpClient, ask } from "./client.js";
import { HostClient } from "./host.js";
import { Lines } from "./lines.js";
import { Model, TABS, awayWords, bandsOf, errorsOf, hasFailed, hashOf, isAgent, isUp, lookOf, placeOf, runsOf, stateWords, storyOf } from "./model.js";
import { Plot, Rate, summed } from "./plots.js";
import { Reader } from "./reader.js";
import { PLOT_MS, Source } from "./source.js";
import { brief, moment, patternOf, plural, span } from "./text.js";
import { Timeline } from "./timeline.js";

// The page: what is known becomes elements, and keys and clicks become calls. All text goes in as text.

const MANY = 8; // scripts of a project in the tree; more that never ran are folded
const STORY_MOST = 300;
const OVERVIEW_STORY = 40;
const NOTICE_MS = 8_000;
const PLOT_EVERY_MS = 2_000;
const PLOT_LEAST_MS = 2 * 60_000; // a plot that has just begun is not stretched further

const $ = (id) => document.getElementById(id);
const client = parent === window ? new HttpClient() : new HostClient();
const model = new Model();
const rate = new Rate(PLOT_EVERY_MS, PLOT_MS);
const unfolds = new Set(); // projects whose scripts are all in the tree
const opened = new Set(); // kinds of errors whose trace is seen
const closed = new Set(); // those that a person has closed
let place = placeOf("");
let shownHash = ""; // the part of the address that names it
let source = null;

// Elements.

function make(tag, properties = {}, ...children) {
  const { data = {}, aria = {}, ...rest } = properties;
  const element = Object.assign(document.createElement(tag), rest);
  for (const [name, value] of Object.entries(data)) element.dataset[name] = value;
  for (const [name, value] of Object.entries(aria)) element.setAttribute(`aria-${name}`, value);
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

const say = (element, text) => element.textContent === text || (element.textContent = text);
const signOf = ([sign, kind], words) => make("span", { className: `sign ${kind}`, title: words ?? "" }, make("span", { aria: { hidden: "true" } }, sign), words ? make("span", { className: "sr" }, ` ${words} `) : null);

// Children with keys stay the same elements while their content stays the same, so that focus and selection do.
function fill(parent, items) {
  const known = (parent.known ??= new Map());
  const elements = items.map(({ key, gist, make: makeOne }) => {
    const old = known.get(key);
    if (old?.gist === gist) return old.element;
    const element = makeOne();
    known.set(key, { gist, element });
    if (old?.element.contains(document.activeElement)) queueMicrotask(() => (element.matches("a,button,summary") ? element : element.querySelector("a,button,summary"))?.focus());
    return element;
  });
  const keys = new Set(items.map((item) => item.key));
  for (const key of known.keys()) if (!keys.has(key)) known.delete(key);
  if (elements.length !== parent.children.length || elements.some((element, at) => parent.children[at] !== element)) parent.replaceChildren(...elements);
}

const keyed = (key, gist, makeOne) => ({ key, gist: JSON.stringify(gist), make: makeOne });

function linkTo(url) {
  if (!/^https?:\/\//.test(url)) return document.createTextNode(url);
  const link = make("a", { href: url, target: "_blank", rel: "noopener noreferrer" }, url.replace(/^https?:\/\//, "").replace(/\/$/, ""));
  if (client.openLink) link.addEventListener("click", (event) => (event.preventDefault(), client.openLink(url)));
  return link;
}

// Drawing. `draw` is called after every change, and draws once a picture.

let isWanted = false;
function draw() {
  if (isWanted) return;
  isWanted = true;
  requestAnimationFrame(() => {
    isWanted = false;
    drawAll(Date.now());
  });
}

const chosen = () => model.projects.get(place.instance);
const chosenProcess = () => chosen()?.processes.get(place.script);

function drawAll(now) {
  drawHeader(now);
  document.body.classList.toggle("closed", Boolean(model.closed));
  $("closed").hidden = !model.closed;
  say($("closed"), model.closed);
  drawTree(now);
  const project = chosen();
  const isOverview = !place.instance;
  document.body.classList.toggle("overview", isOverview);
  $("overview").hidden = !isOverview;
  $("detail").hidden = isOverview;
  $("tab-lines").hidden = isOverview;
  const tab = isOverview && place.tab === "lines" ? "story" : place.tab;
  for (const each of TABS) {
    $(`panel-${each}`).hidden = each !== tab;
    $(`tab-${each}`).setAttribute("aria-selected", String(each === tab));
    $(`tab-${each}`).href = hashOf({ ...place, tab: each, n: 0 });
  }
  if (isOverview) drawCards(now);
  else drawDetail(project, now);
  const projects = isOverview ? model.sorted : project ? [project] : [];
  drawTimeline(projects, now);
  drawErrors(projects, now);
  if (tab === "story") drawStory(projects, now, isOverview ? OVERVIEW_STORY : STORY_MOST);
}

function drawHeader(now) {
  const [kind, sign, words] = model.verdict();
  $("verdict").className = kind;
  say($("verdict").firstElementChild, sign);
  say($("verdict").lastElementChild, words);
  say($("away"), model.awaySince && !model.closed ? `◌ ${client.name} is away since ${span(now - model.awaySince)}, waiting` : "");
  let failed = 0;
  for (const project of model.projects.values()) for (const process of project.processes.values()) if (hasFailed(process)) failed += 1;
  say(document.querySelector("title"), `${failed ? `(${failed}!) ` : ""}${place.script || chosen()?.name || "brum"}${place.script || place.instance ? " · brum" : ""}`);
}

function drawTree(now) {
  if (!$("tree").firstElementChild) $("tree").append(make("ul"));
  const current = (instance, script) => (place.instance === instance && place.script === script ? { current: "page" } : {});
  const overview = keyed("", ["", !place.instance], () => make("li", {}, make("a", { href: "#/", className: "project", aria: current("", "") }, "All projects")));
  const projects = model.sorted.map((project) => {
    const away = awayWords(project, now);
    const names = project.names;
    const isFolded = names.length > MANY && !unfolds.has(project.id);
    const shown = isFolded ? names.filter((name) => project.processes.has(name) || name === place.script) : names;
    const rows = shown.map((name) => {
      const process = project.processes.get(name);
      const errors = process?.errors?.since_start ?? 0;
      const port = process?.urls?.[0] && isUp(process) ? portOf(process.urls[0]) : "";
      return { name, look: lookOf(process, project.isAway), words: process?.status ?? "not started", errors, port };
    });
    const gist = [project.name, away && project.state, rows, names.length - shown.length, place.instance === project.id && place.script];
    return keyed(project.id, gist, () =>
      make(
        "li",
        { className: away ? "away" : "" },
        make(
          "a",
          { href: hashOf({ instance: project.id }), className: "project", title: project.directory, aria: current(project.id, "") },
          make("span", { className: "name" }, project.name),
          away ? make("span", { className: "tail" }, `◌ ${project.state}`) : null,
        ),
        make(
          "ul",
          {},
          ...rows.map((row) =>
            make(
              "li",
              {},
              make(
                "a",
                { href: hashOf({ instance: project.id, script: row.name }), className: "script", aria: current(project.id, row.name) },
                signOf(row.look, row.words),
                make("span", { className: "name", title: row.name }, row.name),
                row.errors ? make("span", { className: "tail bad", title: plural(row.errors, "error") }, `${row.errors}!`) : null,
                row.port ? make("span", { className: "tail" }, row.port) : null,
              ),
            ),
          ),
          names.length > shown.length ? make("li", {}, make("button", { className: "more", type: "button", onclick: () => (unfolds.add(project.id), draw()) }, `${names.length - shown.length} more`)) : null,
        ),
      ),
    );
  });
  fill($("tree").firstElementChild, [overview, ...projects]);
}

function portOf(url) {
  try {
    return `:${new URL(url).port || (url.startsWith("https") ? 443 : 80)}`;
  } catch {
    return "";
  }
}

function drawCards(now) {
  const cards = model.sorted.map((project) => {
    const away = awayWords(project, now);
    const rows = project.names.filter((name) => isUp(project.processes.get(name)) || hasFailed(project.processes.get(name))).map((name) => rowOfCard(project, name, now));
    const rest = project.names.length - rows.length;
    return keyed(project.id, [project.name, away, rows, rest, project.isRead], () =>
      make(
        "article",
        { className: "card" },
        make(
          "h2",
          {},
          make("a", { href: hashOf({ instance: project.id }) }, project.name),
          make("span", { className: "path", title: project.directory }, `\u200e${project.directory}`),
          away ? make("span", { className: "tail moving" }, `◌ ${away}`) : null,
        ),
        rows.length ? make("ul", {}, ...rows.map((row) => cardRow(project, row))) : make("p", { className: "rest" }, project.isRead ? "nothing runs" : "asking …"),
        rest > 0 ? make("p", { className: "rest" }, `${plural(rest, "other script")}`) : null,
      ),
    );
  });
  if (!cards.length) cards.push(keyed("nothing", model.isAsked, () => make("p", { className: "nothing" }, model.isAsked ? "No project has an instance. Run `brum up` in one." : "asking …")));
  fill($("cards"), cards);
}

function rowOfCard(project, name, now) {
  const process = project.processes.get(name);
  const up = isUp(process);
  const failed = hasFailed(process);
  const asks = up && Boolean(process.unfinished_line);
  const { last, last_where: where } = (failed || process.errors?.since_start ? process.errors : null) ?? {};
  const gist = asks ? `asks: ${process.unfinished_line}` : [last, where && `(${brief(where)})`].filter(Boolean).join(" ");
  return { name, look: lookOf(process, project.isAway), words: stateWords(process, now), failed, asks, gist, url: (up && process.urls?.[0]) || "" };
}

const cardRow = (project, row) =>
  make(
    "li",
    {},
    signOf(row.look),
    make("a", { href: hashOf({ instance: project.id, script: row.name }) }, row.name),
    make("span", { className: `words ${row.failed ? "bad" : ""}` }, row.words),
    row.url ? linkTo(row.url) : make("span"),
    row.gist ? make("a", { className: `gist ${row.asks ? "begin" : "bad"}`, title: row.gist, href: hashOf({ instance: project.id, script: row.name, tab: row.asks ? "lines" : "errors" }) }, row.gist) : null,
  );

const plots = { cpu: new Plot("CPU"), memory: new Plot("Memory"), output: new Plot("Output") };
$("plots").append(...Object.values(plots).map((plot) => plot.element));

function drawDetail(project, now) {
  const process = chosenProcess();
  const script = project?.scriptNamed(place.script);
  const name = project?.name ?? place.instance;
  if (place.script) fillTitle(make("a", { href: hashOf({ instance: place.instance }) }, name), " › ", place.script);
  else fillTitle(name);
  drawState(project, process, now);
  say($("command"), place.script ? [script?.command, script && `(${script.source})`].filter(Boolean).join(" ") : (project?.directory ?? ""));
  $("command").title = $("command").textContent;
  const up = project ? (place.script ? [process].filter(isUp) : [...project.processes.values()].filter(isUp)) : [];
  const isPaused = !project || project.isAway || Boolean(model.awaySince);
  verbButton("run").hidden = client.isReadOnly || !place.script || up.length > 0;
  verbButton("restart").hidden = verbButton("stop").hidden = client.isReadOnly || up.length === 0;
  for (const button of document.querySelectorAll("[data-verb]")) button.disabled = isPaused || button.isBusy;
  say(verbButton("restart"), place.script ? "Restart" : "Restart all");
  say(verbButton("stop"), place.script ? "Stop" : "Stop all");
  drawPlots(project, now);
  drawTyping(process);
}

const verbButton = (verb) => document.querySelector(`[data-verb=${verb}]`);

function fillTitle(...parts) {
  const text = parts.map((part) => part.textContent ?? part).join("");
  if ($("title").textContent !== text) $("title").replaceChildren(...parts);
}

function drawState(project, process, now) {
  const away = project ? awayWords(project, now) : "";
  const facts = [];
  if (!project) facts.push(keyed("none", model.isAsked, () => make("span", { className: "dim" }, model.isAsked ? "this project has no instance now" : "asking …")));
  else if (place.script) {
    const words = stateWords(process, now);
    const look = lookOf(process, project.isAway);
    facts.push(keyed("state", [look, words], () => make("span", { className: hasFailed(process) ? "bad" : "" }, signOf(look), " ", words)));
    for (const url of isUp(process) ? (process.urls ?? []) : []) facts.push(keyed(url, url, () => make("span", {}, linkTo(url))));
    if (process?.summary) facts.push(keyed("summary", process.summary, () => make("span", {}, process.summary)));
    if (process?.restarts) facts.push(keyed("restarts", process.restarts, () => make("span", { className: "moving" }, `restarted ${process.restarts} ×`)));
    if (process?.pid) facts.push(keyed("pid", process.pid, () => make("span", { className: "dim" }, `pid ${process.pid}`)));
  } else {
    const all = [...project.processes.values()];
    const counts = [all.filter(isUp).length, all.filter(hasFailed).length];
    facts.push(keyed("up", counts[0], () => make("span", {}, signOf(counts[0] ? ["●", "ok"] : ["○", "dim"]), ` ${counts[0] ? `${plural(counts[0], "script")} ${counts[0] === 1 ? "runs" : "run"}` : "nothing runs"}`)));
    if (counts[1]) facts.push(keyed("failed", counts[1], () => make("span", { className: "bad" }, `✖ ${counts[1]} failed`)));
    if (project.startedBy) facts.push(keyed("by", project.startedBy, () => make("span", { className: "dim" }, "instance started by ", actor(project.startedBy))));
  }
  if (away) facts.push(keyed("away", away, () => make("span", { className: "moving" }, `◌ ${away}`)));
  fill($("state"), facts);
}

function drawPlots(project, now) {
  const wanted = project ? [...project.usage.values()].filter((each) => !place.script || each.name === place.script) : [];
  const points = summed(wanted.map((each) => each.samples));
  const begin = Math.min(points[0]?.[0] ?? now, now - PLOT_LEAST_MS);
  const times = { from: Math.max(now - PLOT_MS, begin), until: now, gapMs: 2.5 * (project?.everyMs ?? PLOT_EVERY_MS) };
    const known = (column) => points.filter((point) => point[column] !== null).map((point) => [point[0], point[column]]);
  plots.cpu.draw(known(1), { ...times, least: 0.05, words: (cpu) => `${(100 * cpu).toFixed(cpu < 0.1 ? 1 : 0)} %` });
  plots.memory.draw(known(2), { ...times, least: 1, words: (mib) => (mib < 1024 ? `${mib.toFixed(mib < 10 ? 1 : 0)} MiB` : `${(mib / 1024).toFixed(1)} GiB`) });
  plots.output.draw(rate.points(now), { ...times, least: 1, words: (lines) => `${lines < 10 ? lines.toFixed(1) : Math.round(lines).toLocaleString("en")} lines/s` });
}

const timeline = new Timeline($("timeline"));
let drawnTimeline = "";

function drawTimeline(projects, now) {
  const spanMs = 1000 * Number($("span").value);
  const from = now - spanMs;
  const until = now;
  const lanes = [];
  for (const project of projects) {
    const runs = Map.groupBy(runsOf(project, now), (run) => run.name);
    const errors = Map.groupBy(project.changes.filter((change) => change.kind === "error"), (change) => change.process);
    for (const name of project.names) {
      if (place.script && name !== place.script) continue;
      lanes.push({ name: projects.length > 1 ? `${project.name} › ${name}` : name, href: hashOf({ instance: project.id, script: name }), runs: runs.get(name) ?? [], errors: errors.get(name) ?? [] });
    }
  }
  const step = Math.floor(now / Math.max(1000, spanMs / 900)); // one pixel of a wide window
  const gist = JSON.stringify([step, lanes.map((lane) => [lane.name, lane.runs.length, lane.errors.length, lane.runs.at(-1)?.until, lane.runs.at(-1)?.readyAt]), spanMs, place.script]);
  if (gist === drawnTimeline) return;
  drawnTimeline = gist;
  timeline.draw({ lanes, bands: bandsOf(model, projects, now), from, until });
}

function drawErrors(projects, now) {
  const kinds = projects.flatMap((project) => errorsOf(project, place.script || null).map((kind) => ({ ...kind, project }))).sort((a, b) => b.ms - a.ms);
  $("tab-errors").replaceChildren("Errors", ...(kinds.length ? [" ", make("span", { className: "count" }, String(kinds.length))] : []));
  if ($("panel-errors").hidden) return;
  const rows = kinds.map((kind, index) => {
    const key = `${kind.project.id} ${kind.key}`;
    if (place.n ? place.n === kind.n : index === 0 && !closed.has(key)) opened.add(key);
    const gist = [kind.count, kind.n, span(now - kind.ms), opened.has(key), place.n === kind.n];
    return keyed(key, gist, () => kindElement(kind, key, now, projects.length > 1));
  });
  if (!rows.length) rows.push(keyed("none", 0, () => make("p", { className: "nothing" }, "No errors were printed.")));
  fill($("panel-errors"), rows);
}

function kindElement(kind, key, now, isNamed) {
  const where = { instance: kind.project.id, script: kind.process };
  const element = make(
    "details",
    { className: "kind", open: opened.has(key) },
    make(
      "summary",
      {},
      make("span", { className: "times", title: plural(kind.count, "time") }, `×${kind.count}`),
      make("span", { className: "gist", title: kind.title }, kind.title),
      make("span", { className: "where", title: kind.where }, kind.where ? brief(kind.where) : ""),
      make("span", { className: "since" }, `${isNamed ? `${kind.project.name} › ` : ""}${place.script ? "" : `${kind.process}, `}${span(now - kind.ms)} ago`),
    ),
    make("pre", { tabIndex: 0 }, kind.lines.join("\n")),
    make(
      "div",
      { className: "acts" },
      make("a", { href: hashOf({ ...where, n: kind.n }) }, "show among the lines"),
      make("a", { href: hashOf({ ...where, tab: "errors", n: kind.n }) }, "link"),
      make("button", { type: "button", onclick: (event) => copy(kind.lines.join("\n"), event.target) }, "copy"),
    ),
  );
  element.addEventListener("toggle", () => {
    if (element.open) opened.add(key);
    else if (opened.delete(key)) closed.add(key);
  });
  return element;
}

const actor = (name) => make("span", { className: `actor ${isAgent(name) ? "agent" : ""}` }, name);

function drawStory(projects, now, most) {
  const rows = storyOf(model, projects, place.script || null, most).map((each) => {
    const key = [each.ms, each.project?.id, each.script, each.sign, each.text].join(" ");
    return keyed(key, [moment(each.ms, now), each.times], () =>
      make(
        "li",
        {},
        make("time", { dateTime: new Date(each.ms).toISOString() }, moment(each.ms, now)),
        make("span", { className: `sign ${each.kind}`, aria: { hidden: "true" } }, each.sign),
        make("span", {}, ...sentence(each)),
      ),
    );
  });
  if (!$("panel-story").firstElementChild) $("panel-story").append(make("ol", { className: "story" }));
  if (!rows.length) rows.push(keyed("none", 0, () => make("li", { className: "nothing" }, "Nothing has happened yet.")));
  fill($("panel-story").firstElementChild, rows);
}

function sentence(each) {
  const subject = [];
  if (each.project && !place.script) {
    const name = place.instance ? each.script || each.project.name : `${each.project.name}${each.script ? ` › ${each.script}` : ""}`;
    subject.push(make("a", { className: "who", href: hashOf({ instance: each.project.id, script: each.script }) }, name));
  }
  const kind = each.kind === "bad" ? "bad" : "";
  const words = each.isError
    ? [make("a", { className: kind, href: hashOf({ instance: each.project.id, script: each.script, tab: "errors", n: each.n }) }, each.text), each.times > 1 ? ` ×${each.times}` : ""]
    : [make("span", { className: kind }, each.text)];
  if (!each.actor) return [...subject, " ", ...words];
  return subject.length ? [actor(each.actor), " ", ...words, " ", ...subject] : [...words, " by ", actor(each.actor)];
}

// Lines.

const lines = new Lines($("lines"), {
  changed: drawPlace,
  reachedTop: () => reader.earlier(),
  openLink: client.openLink?.bind(client),
});
const reader = new Reader(client, lines, { said: (text) => notice(text, "bad"), counted: (count) => rate.count(count) });

function drawPlace() {
  const button = $("follow");
  button.setAttribute("aria-pressed", String(lines.follows));
  say(button, lines.follows ? "following" : lines.unseen ? `${lines.unseen.toLocaleString("en")} new below ↓` : "follow ↓");
  say($("count"), plural(lines.count, "line"));
}

let read = "";
function readLines() {
  if (!place.instance || place.tab !== "lines") {
    reader.stop();
    read = "";
    return;
  }
  const choice = { instance: place.instance, process: place.script, level: $("level").value, query: $("query").value, regex: $("regex").checked };
  const gist = JSON.stringify(choice);
  if (gist !== read) {
    read = gist;
    rate.clear();
    lines.showsNames = !place.script;
    lines.redraw(patternOf(choice.query, choice.regex));
    reader.read(choice, place.n);
  } else if (place.n) reader.goTo(place.n);
}

// Hands.

function notice(text, kind = "") {
  $("notice").className = kind;
  $("notice").textContent = text;
  clearTimeout(notice.timer);
  notice.timer = setTimeout(() => ($("notice").textContent = ""), NOTICE_MS);
}

const DOING = { run: ["starting", "started"], restart: ["restarting", "restarted"], stop: ["stopping", "stopped"] };

async function act(verb) {
  const project = chosen();
  const button = verbButton(verb);
  if (!project || button.hidden || button.disabled) return;
  const names = place.script ? [place.script] : [...project.processes.values()].filter(isUp).map((process) => process.name);
  if (names.length > 1 && !(await confirmed(`${verb === "stop" ? "Stop" : "Restart"} ${names.length} scripts of ${project.name}: ${names.join(", ")}?`, button.textContent))) return;
  const [doing, done] = DOING[verb];
  button.isBusy = true;
  notice(`${doing} ${names.join(", ")} …`);
  draw();
  const ends = await Promise.allSettled(names.map((name) => ask(client, `scripts_${verb}`, { instance: project.id, name, asked_by: "page", ...(verb !== "stop" && { wait: "none" }) })));
  const failed = ends.find((end) => end.status === "rejected");
  notice(failed ? wordsOf(failed.reason) : `${done} ${names.join(", ")}`, failed ? "bad" : "");
  button.isBusy = false;
  draw();
}

const wordsOf = (error) => (error instanceof Away ? `${client.name} went away: it is not known whether that was done` : error.message);

function drawTyping(process) {
  const asks = process?.unfinished_line ?? "";
  $("typing").hidden = client.isReadOnly || !place.script || !isUp(process);
  say($("asks"), asks || `type to ${place.script}:`);
  $("typing").classList.toggle("asked", Boolean(asks));
  $("typed").type = /pass(word|phrase|code)|secret|token|\bpin\b/i.test(asks) ? "password" : "text";
}

async function type(args) {
  try {
    await ask(client, "instance_call", { instance: place.instance, tool: "scripts_input", arguments: { name: place.script, ...args } });
    return true;
  } catch (error) {
    notice(wordsOf(error), "bad");
    return false;
  }
}

async function typeLine(event) {
  event.preventDefault();
  const text = $("typed").value;
  lines.follow();
  if (await type(text ? { text } : {})) $("typed").value = "";
}

function confirmed(text, verb) {
  const dialog = $("question");
  $("question-text").textContent = text;
  $("question-yes").textContent = verb;
  dialog.returnValue = "no";
  dialog.showModal();
  return new Promise((done) => dialog.addEventListener("close", () => done(dialog.returnValue === "yes"), { once: true }));
}

async function copy(text, button) {
  const before = button.textContent;
  try {
    await navigator.clipboard.writeText(text);
    button.textContent = "copied";
  } catch {
    button.textContent = "select and copy it";
  }
  setTimeout(() => (button.textContent = before), 2_000);
}

function save() {
  const url = URL.createObjectURL(new Blob([lines.asText()], { type: "text/plain" }));
  const link = make("a", { href: url, download: `${chosen()?.name ?? "brum"}-${place.script || "all"}.log` });
  link.click();
  URL.revokeObjectURL(url);
}

// Shows this place.
function show(hash) {
  if (hash === shownHash) return;
  shownHash = hash;
  place = placeOf(hash);
  drawAll(Date.now()); // before its lines come: a box that is hidden can't be scrolled to one of them
  readLines();
  source.lookSoon();
}

function go(hash) {
  if (client.hasLocation) location.hash = hash;
  show(hash);
}

function onLink(event) {
  const hash = event.target.closest("a")?.getAttribute("href");
  if (!hash?.startsWith("#")) return;
  event.preventDefault();
  go(hash);
}

// The script after, or before, the one that is chosen, in the order of the tree.
function step(by) {
  const links = [...$("tree").querySelectorAll("a")];
  const { instance, script } = place;
  const at = links.findIndex((link) => link.getAttribute("href") === hashOf({ instance, script }));
  const link = links[Math.min(links.length - 1, Math.max(0, at + by))];
  go(link.getAttribute("href"));
  link.scrollIntoView({ block: "nearest" });
}

const toggle = (id) => {
  $(id).checked = !$(id).checked;
  $(id).dispatchEvent(new Event("change"));
};
const goTab = (tab) => go(hashOf({ ...place, tab: place.tab === tab ? "lines" : tab, n: 0 }));

const KEYS = [
  ["j k", "the next, the previous script", { j: () => step(1), k: () => step(-1) }],
  ["a", "all projects", { a: () => go("#/") }],
  ["/", "only lines with …", { "/": () => $("query").focus() }],
  ["l", "all lines, warnings, errors", { l: () => nextLevel() }],
  ["f", "follow new lines", { f: () => lines.follow() }],
  ["g G", "the first, the last line", { g: () => lines.home(), G: () => lines.follow() }],
  ["w T", "wrap lines, show times", { w: () => toggle("wraps"), T: () => toggle("times") }],
  ["e", "errors, and back", { e: () => goTab("errors") }],
  ["h", "what happened, and back", { h: () => goTab("story") }],
  ["s", "start or stop", { s: () => act(verbButton("run").hidden ? "stop" : "run") }],
  ["r", "restart", { r: () => act("restart") }],
  ["i", "type to the script", { i: () => $("typed").focus() }],
  ["o", "open the address", { o: () => document.querySelector("#state a")?.click() }],
  ["?", "these keys", { "?": () => $("keys").showModal() }],
];
const ON_KEY = Object.assign({}, ...KEYS.map(([, , table]) => table));

function nextLevel() {
  $("level").selectedIndex = ($("level").selectedIndex + 1) % $("level").options.length;
  readLines();
}

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
  if (event.target.matches("input:not([type=checkbox]), textarea, select")) {
    if (event.key === "Escape") event.target.blur();
    return;
  }
  if (["ArrowDown", "ArrowUp"].includes(event.key) && event.target.closest("nav")) {
    const links = [...$("tree").querySelectorAll("a, button")];
    links[links.indexOf(event.target) + (event.key === "ArrowDown" ? 1 : -1)]?.focus();
    event.preventDefault();
  } else if (ON_KEY[event.key]) {
    event.preventDefault();
    ON_KEY[event.key]();
  }
}

// A script that was ready has failed: said aloud only if nobody looks, and somebody has asked for it.
function tellFailure(project, change) {
  if (document.hasFocus() || globalThis.Notification?.permission !== "granted") return;
  const name = `${project.name} › ${change.process}`;
  const told = new Notification(`${name} failed`, { body: change.first_error ?? change.reason ?? "", tag: name });
  told.onclick = () => {
    focus();
    go(hashOf({ instance: project.id, script: change.process }));
  };
}

function offerNotices() {
  const button = $("notify");
  button.hidden = !client.hasLocation || globalThis.Notification?.permission !== "default";
  button.onclick = async () => (await Notification.requestPermission(), offerNotices());
}

let waiting = null;
function later(work, ms) {
  clearTimeout(waiting);
  waiting = setTimeout(work, ms);
}

function listen() {
  addEventListener("hashchange", () => show(location.hash));
  if (!client.hasLocation) addEventListener("click", onLink);
  addEventListener("keydown", onKey);
  for (const button of document.querySelectorAll("[data-verb]")) button.addEventListener("click", () => act(button.dataset.verb));
  $("query").addEventListener("input", () => later(readLines, 250));
  for (const id of ["level", "regex"]) $(id).addEventListener("change", readLines);
  for (const id of ["wraps", "times"])
    $(id).addEventListener("change", () => {
      lines.wraps = $("wraps").checked;
      lines.showsTimes = $("times").checked;
      lines.redraw();
    });
  $("span").addEventListener("change", draw);
  $("follow").addEventListener("click", () => lines.follow());
  $("save").addEventListener("click", save);
  $("typing").addEventListener("submit", typeLine);
  for (const button of $("typing").querySelectorAll("[data-key]")) button.addEventListener("click", () => type({ keys: button.dataset.key, enter: false }));
  offerNotices();
  $("help").addEventListener("click", () => $("keys").showModal());
  $("keys").querySelector("dl").append(...KEYS.flatMap(([keys, words]) => [make("dt", {}, keys), make("dd", {}, words)]));
}

async function begin() {
  try {
    await client.open();
  } catch (error) {
    model.closed = error.message;
    drawAll(Date.now());
    return;
  }
  shownHash = client.hasLocation ? location.hash : "";
  place = placeOf(shownHash);
  source = new Source(client, model, { place: () => place, changed: draw, failed: tellFailure });
  listen();
  drawAll(Date.now());
  readLines();
  await source.run();
}

await begin();
