// The parts of the page that know no browser: answers in, rows and words out.
import assert from "node:assert/strict";
import { test } from "node:test";

const PARTS = "../../../src/brummer/views/web/page";
const text = await import(`${PARTS}/text.js`);
const model = await import(`${PARTS}/model.js`);
const plots = await import(`${PARTS}/plots.js`);

const NOW = Date.parse("2026-11-30T12:00:00Z");
const at = (secondsAgo) => new Date(NOW - 1000 * secondsAgo).toISOString();

const INSTANCES = [
  { instance_id: "shop-1", name: "shop", directory: "/w/shop", pid: 1, state: "ready", since_s: 60 },
  { instance_id: "docs", name: "docs", directory: "", pid: null, state: "ready", since_s: 60 },
];

function shop(processes = [], changes = []) {
  const known = new model.Model();
  known.takeInstances(INSTANCES, NOW);
  const project = known.projects.get("shop-1");
  known.takeProcesses(project, { processes });
  known.takeScripts(project, { scripts: [{ name: "dev" }, { name: "lint" }] });
  known.takeChanges(changes, project);
  return { known, project };
}

const process = (status, more = {}) => ({ name: "dev", process_id: "dev-1", status, started_at: at(90), urls: [], errors: undefined, ...more });
const change = (n, kind, secondsAgo, more = {}) => ({ n, kind, at: at(secondsAgo), process: "dev", process_id: "dev-1", ...more });

test("invisible and reordering characters are shown as numbers, and others stay", () => {
  assert.equal(text.visible("plain, gr\u00fcn, \u6f22, \u05d0"), "plain, gr\u00fcn, \u6f22, \u05d0");
  assert.equal(text.visible("a\u202eb"), "a\\u202eb");
  assert.equal(text.visible("\u0000\u0007\u009b\u200b\ufeff"), "\\u0000\\u0007\\u009b\\u200b\\ufeff");
  assert.equal(text.visible("a\u200db"), "a\\u200db");
  assert.equal(text.visible("\u{1f469}\u200d\u{1f4bb}"), "\u{1f469}\u200d\u{1f4bb}");
  assert.equal(text.visible("\ud800"), "\\ud800");
  assert.equal(text.visible("\u{e0041}"), "\\ue0041");
});

test("a tab reaches to the next eighth column", () => {
  assert.equal(text.visible("a\tb"), "a       b");
  assert.equal(text.visible("12345678\tb\tc"), "12345678        b       c");
  assert.equal(text.visible("\u6f22\tb"), "\u6f22      b");
});

test("wide characters take two columns and marks none", () => {
  assert.equal(text.cells("abc"), 3);
  assert.equal(text.cells("\u6f22\u5b57"), 4);
  assert.equal(text.cells("e\u0301"), 1);
  assert.equal(text.cells("\u{1f600}"), 2);
});

test("a line is cut into pieces that fit and that make the line again", () => {
  for (const line of ["", "abc", "abcdefgh", "\u6f22\u5b57\u6f22\u5b57a", "e\u0301".repeat(9), "x".repeat(16_384)]) {
    const pieces = text.chunks(line, 5);
    assert.equal(pieces.join(""), line);
    assert.ok(pieces.length >= 1 && pieces.every((piece) => text.cells(piece) <= 5));
  }
});

test("addresses are links without what only ends the sentence, and hits are marked", () => {
  assert.deepEqual(text.parts("see http://127.0.0.1:5173/a?b=1, (http://x/)."), [
    { text: "see " },
    { text: "http://127.0.0.1:5173/a?b=1", href: "http://127.0.0.1:5173/a?b=1" },
    { text: ", (" },
    { text: "http://x/", href: "http://x/" },
    { text: ")." },
  ]);
  assert.deepEqual(text.parts("javascript:alert(1) data:text/html,x"), [{ text: "javascript:alert(1) data:text/html,x" }]);
  assert.deepEqual(text.parts("a.b a.b", text.patternOf("a.b", false)), [{ text: "a.b", hit: true }, { text: " " }, { text: "a.b", hit: true }]);
  assert.deepEqual(text.parts("axb", text.patternOf("a.b", false)), [{ text: "axb" }]);
  assert.deepEqual(text.parts("axb", text.patternOf("a.b", true)), [{ text: "axb", hit: true }]);
  assert.deepEqual(text.parts("abc", text.patternOf("x*", true)), [{ text: "abc" }]);
  assert.equal(text.patternOf("(", true), null);
});

test("colours become runs of the text, and everything else of an escape is shown or gone", () => {
  assert.deepEqual(text.coloured("plain"), { shown: "plain", runs: [] });
  assert.deepEqual(text.coloured("\x1b[32m✓\x1b[39m ok \x1b[1;31mbad\x1b[0m."), {
    shown: "✓ ok bad.",
    runs: [
      { at: 0, end: 1, className: "hue2" },
      { at: 5, end: 8, className: "bold hue1" },
    ],
  });
  assert.deepEqual(text.coloured("\x1b[38;5;9mx\x1b[38;2;1;2;3my\x1b[97mz\x1b[22;23;24m"), { shown: "xyz", runs: [] });
  assert.deepEqual(text.coloured("\x1b[94ma\tb\x1b]52;c;x\x07"), { shown: "a       b\\u001b]52;c;x\\u0007", runs: [{ at: 0, end: 28, className: "hue4" }] });
});

test("a part of a line has the looks of the runs that it crosses", () => {
  const runs = [
    { at: 2, end: 4, className: "hue1" },
    { at: 6, end: 9, className: "hue2" },
  ];
  assert.deepEqual(text.looks("abcdefgh", 0, runs), [["ab", ""], ["cd", "hue1"], ["ef", ""], ["gh", "hue2"]]);
  assert.deepEqual(text.looks("def", 3, runs), [["d", "hue1"], ["ef", ""]]);
  assert.deepEqual(text.looks("xyz", 20, runs), [["xyz", ""]]);
  assert.deepEqual(text.looks("", 0, []), [["", ""]]);
});

test("lengths of time are short", () => {
  assert.deepEqual([-5, 0, 4_400, 99_000, 720_000, 7_200_000, 172_800_000].map(text.span), ["0 s", "0 s", "4 s", "99 s", "12 min", "2 h", "2 days"]);
});

test("the verdict names what failed before anything else, and hides nothing", () => {
  const { known, project } = shop([process("ready")]);
  assert.deepEqual(known.verdict(), ["ok", "●", "1 script runs, none has failed"]);
  known.takeStatus({ problems: [{ severity: "warning", title: "the network is down" }], links: [{ instance_id: "shop-1", state: "ready", since_s: 1 }] }, NOW);
  assert.deepEqual(known.verdict().slice(0, 1), ["moving"]);
  known.takeProcesses(project, { processes: [process("failed"), process("crash-looping", { name: "lint" })] });
  assert.deepEqual(known.verdict(), ["bad", "✖", "2 scripts failed: shop › dev, shop › lint"]);
  known.closed = "over";
  assert.deepEqual(known.verdict(), ["dim", "○", "closed"]);
});

test("before the first answer the verdict asks, and does not look like silence", () => {
  const known = new model.Model();
  assert.deepEqual(known.verdict(), ["dim", "◌", "asking …"]);
  known.takeInstances([], NOW);
  assert.equal(known.verdict()[2], "no project has an instance yet");
});

test("servers of others are no projects", () => {
  assert.deepEqual([...shop().known.projects.keys()], ["shop-1"]);
  assert.equal(shop().known.takeStatus({ links: [{ instance_id: "docs", state: "ready" }, { instance_id: "shop-1", state: "ready", since_s: 60 }] }, NOW), false);
});

test("an instance that ends is gone since then, and what ran there is not shown as running", () => {
  const { known, project } = shop([process("ready")]);
  assert.equal(known.takeStatus({ links: [{ instance_id: "shop-1", state: "gone", since_s: 3 }] }, NOW), true);
  assert.equal(model.awayWords(project, NOW + 1000), "gone since 4 s, waiting");
  assert.deepEqual(model.lookOf(project.processes.get("dev"), project.isAway), ["◌", "moving"]);
  assert.equal(known.verdict()[2], "nothing runs, nothing has failed");
  known.takeStatus({ links: [{ instance_id: "shop-1", state: "ready", since_s: 0 }] }, NOW + 9000);
  assert.equal(model.awayWords(project, NOW + 9000), "");
  assert.deepEqual(project.outages, [{ from: NOW - 3000, state: "gone", until: NOW + 9000 }]);
});

test("an instance that was removed from the list is gone", () => {
  const { known, project } = shop();
  known.takeStatus({ links: [] }, NOW);
  assert.equal(project.state, "gone");
});

test("each state has its words", () => {
  const words = (status, more) => model.stateWords(process(status, more), NOW);
  assert.equal(words("ready", { ready_at: at(80) }), "ready for 80 s");
  assert.equal(words("running"), "running for 90 s");
  assert.equal(words("failed", { exit_code: 3, ended_at: at(5) }), "failed: exit 3, 5 s ago");
  assert.equal(words("failed", { reason: "exit 127: command not found", ended_at: at(5) }), "failed: exit 127: command not found, 5 s ago");
  assert.equal(words("failed", { signal: "SIGSEGV", exit_code: null }), "failed: SIGSEGV");
  assert.equal(words("stopped", { stop_asked_by: "command line", ended_at: at(2) }), "stopped by command line, 2 s ago");
  assert.equal(words("stopped", { stop_asked_by: "call" }), "stopped");
  assert.equal(words("pending", { waits_for: ["db"] }), "waits for db");
  assert.equal(words("exited", { ended_at: at(2) }), "done, 2 s ago");
  assert.equal(model.stateWords(undefined, NOW), "not started");
  assert.equal(words("of-a-later-version"), "of-a-later-version");
});

test("a run has its begin, its readiness and its end, whichever answer told of them", () => {
  const { project } = shop(
    [process("ready", { process_id: "dev-3", started_at: at(10) })],
    [change(1, "started", 100, { by: "claude-code 2.1.3" }), change(2, "ready", 95), change(3, "failed", 50), change(4, "started", 40, { process_id: "dev-2" })],
  );
  const [first, second, third] = model.runsOf(project, NOW);
  assert.deepEqual([first.id, first.from, first.readyAt, first.until, first.end, first.by], ["dev-1", NOW - 100e3, NOW - 95e3, NOW - 50e3, "failed", "claude-code 2.1.3"]);
  assert.deepEqual([second.id, second.end], ["dev-2", "lost"]);
  assert.deepEqual([third.id, third.until], ["dev-3", null]);
});

test("errors of one title and place are one kind, counted over all runs", () => {
  const error = { title: "KeyError: 'x'", where: "/w/serve.py:9", lines: ["KeyError: 'x'"] };
  const { project } = shop([], [
    change(1, "error", 30, { ...error, count: 1, first_n: 5 }),
    change(2, "error", 20, { ...error, count: 4, first_n: 50 }),
    change(3, "error", 10, { ...error, count: 2, first_n: 70, process_id: "dev-2" }),
    change(4, "error", 5, { ...error, title: "other", count: 1, first_n: 80 }),
  ]);
  const kinds = model.errorsOf(project);
  assert.deepEqual(kinds.map((kind) => [kind.title, kind.count, kind.n]), [["other", 1, 80], ["KeyError: 'x'", 6, 70]]);
  assert.deepEqual(model.errorsOf(project, "lint"), []);
});

test("a change that comes twice is kept once, and changes stand in the order of time", () => {
  const { known, project } = shop([], [change(2, "ready", 5), change(1, "started", 9)]);
  assert.equal(known.takeChanges([{ ...change(2, "ready", 5), instance: "shop-1" }]).size, 0);
  assert.equal(known.takeChanges([{ ...change(3, "stopped", 1), instance: "shop-1" }]).size, 1);
  assert.equal(known.takeChanges([{ ...change(3, "stopped", 1), instance: "unknown" }]).size, 0);
  assert.deepEqual(project.changes.map((each) => each.n), [1, 2, 3]);
});

test("changes are bounded, and the oldest go first", () => {
  const { known, project } = shop();
  known.takeChanges(Array.from({ length: 5_003 }, (_, n) => ({ ...change(n, "url", 9_000 - n), instance: "shop-1" })));
  assert.equal(project.changes.length, 5_000);
  assert.equal(project.seen.size, 5_000);
  assert.equal(project.changes[0].n, 3);
});

test("what happened says who did it, the newest first, and an error that came again once", () => {
  const error = { title: "KeyError", where: "/w/serve.py:9", count: 1, first_n: 5 };
  const { known, project } = shop([], [
    change(1, "started", 60, { by: "claude-code 2.1.3" }),
    change(2, "url", 59, { urls: ["http://x/"] }),
    change(3, "ready", 58, { urls: ["http://x/"] }),
    change(4, "error", 30, error),
    change(5, "error", 20, error),
    change(6, "stopped", 10, { by: "command line" }),
    change(7, "failed", 5, { process_id: "dev-2", exit_code: 1, next_restart_s: 2 }),
  ]);
  known.timeline = [{ kind: "slept", at: at(40), seconds: 720, reasons: [], did: "" }];
  const told = model.storyOf(known, [project], null, 10).map((each) => [each.text, each.actor, each.times ?? 1]);
  assert.deepEqual(told, [
    ["failed: exit 1, is restarted in 2 s", "", 1],
    ["stopped", "command line", 1],
    ["KeyError (serve.py:9)", "", 2],
    ["the machine slept for 12 min", "", 1],
    ["is ready http://x/", "", 1],
    ["started", "claude-code 2.1.3", 1],
  ]);
  assert.ok(model.isAgent("claude-code 2.1.3"));
  assert.ok(!model.isAgent("command line") && !model.isAgent("page") && !model.isAgent(""));
});

test("a stop and the start after it are one restart, by who asked for it", () => {
  const { known, project } = shop([], [
    change(1, "started", 60, { by: "command line" }),
    change(2, "stopped", 30, { by: "claude-code 2.1.3", stop_asked_by: "restart" }),
    change(3, "started", 29, { by: "claude-code 2.1.3", process_id: "dev-2" }),
    change(4, "stopped", 10, { by: "page", stop_asked_by: "page", process_id: "dev-2" }),
  ]);
  const told = model.storyOf(known, [project], null, 10).map((each) => [each.text, each.actor]);
  assert.deepEqual(told, [["stopped", "page"], ["restarted", "claude-code 2.1.3"], ["started", "command line"]]);
});

test("only a script that was ready is told of when it fails", () => {
  const { known } = shop([], [change(1, "ready", 9)]);
  const failed = { ...change(2, "failed", 1), instance: "shop-1" };
  assert.deepEqual(known.failures([failed]).map(([project, each]) => [project.id, each.n]), [["shop-1", 2]]);
  assert.deepEqual(known.failures([{ ...failed, process_id: "dev-9" }, { ...failed, kind: "stopped" }, { ...failed, instance: "x" }]), []);
});

test("samples are asked for from the last one of the script that has the fewest", () => {
  const { known, project } = shop([process("ready"), process("running", { name: "css" }), process("exited", { name: "lint" })]);
  const samples = (name, ...times) => ({ name, samples: times.map((when) => [when, 0, 1, 1]) });
  known.takeUsage(project, { scripts: [samples("dev", 10, 12), samples("css", 10)] }, 20_000, 60_000);
  assert.equal(known.usageSince(project, "", 5), 10);
  assert.equal(known.usageSince(project, "dev", 5), 12);
  assert.equal(known.usageSince(project, "lint", 5), 5);
  assert.equal(known.usageSince(project, "dev", 15), 15);
});

test("sleeps and outages are bands", () => {
  const { known, project } = shop();
  known.timeline = [{ kind: "slept", at: at(40), seconds: 10, reasons: [], did: "" }, { kind: "network", at: at(30), seconds: null, reasons: ["eth0"], did: "" }];
  project.outages = [{ from: NOW - 5000, state: "gone" }];
  assert.deepEqual(model.bandsOf(known, [project], NOW).map((band) => [band.from, band.until, band.kind]), [[NOW - 50e3, NOW - 40e3, "sleep"], [NOW - 5000, NOW, "outage"]]);
});

test("a place and its address are the same", () => {
  for (const place of [
    { instance: "", script: "", tab: "lines", n: 0 },
    { instance: "shop-1", script: "", tab: "story", n: 0 },
    { instance: "shop-1", script: "web:dev/a b?#%", tab: "errors", n: 39 },
    { instance: "shop-1", script: "errors", tab: "lines", n: 7 },
  ])
    assert.deepEqual(model.placeOf(model.hashOf(place)), place);
  assert.deepEqual(model.placeOf("#/%E0%A4%A/x?tab=nonsense&n=-3"), { instance: "%E0%A4%A", script: "x", tab: "lines", n: 0 });
});

test("folded lines are taken apart with their numbers and times", () => {
  const answer = {
    common: { process: "dev", stream: "stdout" },
    lines: [
      { n: 4, at: "2026-11-30T12:00:00.000Z", after_ms: [0, 250], text: "a\nb" },
      { n: 9, at: "2026-11-30T12:00:05.000Z", text: "c", level: "error" },
      { n: 10, at: "2026-11-30T12:00:05.000Z", text: "d", stream: "brum" },
    ],
  };
  assert.deepEqual(model.unfolded(answer).map((line) => [line.n, line.ms - NOW, line.who, line.text, line.level, line.note]), [
    [4, 0, "dev", "a", "", false],
    [5, 250, "dev", "b", "", false],
    [9, 5000, "dev", "c", "error", false],
    [10, 5000, "dev", "d", "", true],
  ]);
  assert.deepEqual(model.unfolded({}), []);
});

test("samples of the same time are added, and old ones are forgotten", () => {
  assert.deepEqual(plots.summed([[[10, 0.5, 20, 1], [12, 0.25, 20, 1]], [[12, 0.25, 5, 1]]]), [[10_000, 0.5, 20], [12_000, 0.5, 25]]);
  assert.deepEqual(plots.summed([[[10, null, 20, 1]], [[10, 0.5, null, 1], [12, null, null, 0]]]), [[10_000, 0.5, 20], [12_000, null, null]]);
  const { known, project } = shop();
  const seconds = NOW / 1000;
  const take = (samples) => known.takeUsage(project, { every_s: 2, scripts: [{ name: "dev", samples }] }, NOW, 60_000);
  take([[seconds - 90, 1, 1, 1], [seconds - 10, 1, 1, 1]]);
  take([[seconds - 10, 1, 1, 1], [seconds - 8, 1, 1, 1]]);
  assert.deepEqual(project.usage.get("dev").samples.map(([when]) => when - seconds), [-10, -8]);
});
