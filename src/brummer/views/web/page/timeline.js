import { isAgent } from "./model.js";
import { clock, span } from "./text.js";

// The timeline: a lane for each script with its runs, errors below them, what was asked above them, and bands over all
// lanes for sleeps and outages. Everything in it is also a sentence in the list of what happened.

const LANES = 12; // more are not read at a glance
const TICKS = [60e3, 300e3, 600e3, 1_800e3, 3_600e3, 7_200e3, 21_600e3, 43_200e3, 86_400e3];
const TICKS_AT_MOST = 6;
const LAST_TICK = 97; // percent: a time further right would leave the box
const KINDS = { failed: "bad", "crash-looping": "bad", lost: "bad", exited: "dim", stopped: "dim", "": "ok" };
const END_SIGNS = { failed: "✖", "crash-looping": "✖", lost: "✖", exited: "✓", stopped: "○" };

export class Timeline {
  #lanes;
  #axis;

  constructor(box) {
    this.#lanes = box.querySelector(".lanes");
    this.#axis = box.querySelector(".axis");
    this.box = box;
  }

  // `lanes`: {name, href, runs, errors}, runs and errors as the model has them; `bands`: {from, until, text, kind}.
  draw({ lanes, bands, from, until }) {
    const at = (ms) => Math.min(100, Math.max(0, (100 * (ms - from)) / (until - from)));
    const isSeen = (begin, end) => (end ?? until) > from && begin < until;
    const seen = lanes
      .map((lane) => ({ ...lane, runs: lane.runs.filter((run) => isSeen(run.from, run.until)), errors: lane.errors.filter((error) => isSeen(error.ms, error.ms + 1)) }))
      .filter((lane) => lane.runs.length || lane.errors.length);
    const shown = seen.slice(0, LANES);
    const rows = shown.map((lane) => this.#lane(lane, at, from, until));
    const overlay = mark("div", "bands", "");
    for (const band of bands.filter((each) => isSeen(each.from, each.until))) overlay.append(bar(`band ${band.kind}`, at(band.from), at(band.until), `${clock(band.from)} ${band.text}`));
    this.#lanes.replaceChildren(...rows, overlay);
    if (!rows.length) this.#lanes.append(mark("p", "empty", "nothing has run in this time"));
    if (seen.length > shown.length) this.#lanes.append(mark("p", "empty", `and ${seen.length - shown.length} more`));
    this.#axis.replaceChildren(...this.#ticks(from, until, at));
    const errors = shown.reduce((sum, lane) => sum + lane.errors.length, 0);
    this.#lanes.setAttribute("aria-label", `the last ${span(until - from)}: ${shown.reduce((sum, lane) => sum + lane.runs.length, 0)} runs of ${shown.length} scripts, ${errors} errors`);
  }

  #lane(lane, at, begin, now) {
    const track = mark("div", "track", "");
    for (const run of lane.runs) {
      const end = run.until ?? now;
      const words = `${clock(run.from)} ${run.id}: ${run.until ? `${run.end} after ${span(end - run.from)}` : `runs since ${span(end - run.from)}`}`;
      track.append(bar(`run ${KINDS[run.end] ?? "ok"}`, at(run.from), at(end), words));
      if (run.readyAt && run.readyAt - run.from > 1000) track.append(bar("run starting", at(run.from), at(run.readyAt), `${words}, ready after ${span(run.readyAt - run.from)}`));
      if (run.until) track.append(sign(`end ${KINDS[run.end]}`, at(end), END_SIGNS[run.end], words));
      if (run.by && run.from >= begin) track.append(sign(isAgent(run.by) ? "act agent" : "act", at(run.from), isAgent(run.by) ? "◆" : "◇", `${clock(run.from)} started by ${run.by}`));
    }
    for (const error of lane.errors) track.append(bar("error", at(error.ms), at(error.ms), `${clock(error.ms)} ${error.title}`));
    const name = Object.assign(document.createElement("a"), { className: "lane-name", href: lane.href, textContent: lane.name, tabIndex: -1 });
    const row = mark("div", "lane", "");
    row.append(name, track);
    return row;
  }

  #ticks(from, until, at) {
    const step = TICKS.find((each) => (until - from) / each <= TICKS_AT_MOST) ?? TICKS.at(-1);
    const zone = 60_000 * new Date(from).getTimezoneOffset();
    const ticks = [];
    for (let ms = Math.ceil((from - zone) / step) * step + zone; at(ms) < LAST_TICK; ms += step) ticks.push(sign("tick", at(ms), clock(ms).slice(0, 5), ""));
    return ticks;
  }
}

function mark(tag, className, text) {
  return Object.assign(document.createElement(tag), { className, textContent: text });
}

function bar(className, left, right, title) {
  const element = Object.assign(document.createElement("i"), { className, title });
  element.style.left = `${left}%`;
  element.style.width = `${right - left}%`;
  return element;
}

function sign(className, left, text, title) {
  const element = Object.assign(document.createElement("b"), { className, title, textContent: text });
  element.style.left = `${left}%`;
  return element;
}
