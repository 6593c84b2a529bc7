"""What the views cost, beside the goals that they have: the terminal view, the page, and the sampling of scripts.

Everything runs as a person runs it, and is measured from outside: the view on a terminal of its own, the page in a
browser. Where it can be, a figure is CPU time, which other load of the machine moves little; the table says which rows
need a machine that does nothing else. Not a part of all measurements: ``make bench ONLY=views``.
"""

import asyncio
import contextlib
import importlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple

from discovery import consumption
from driver import INITIALIZE, PATIENCE_S
from processes import BRUM, BareHttpClient, environment, instance, memory_mib
from tables import Report, median, percentile
from terminal import NotDrawnError, Terminal, cpu_s, terminal

STARTS: Final = 15
TOOLKIT: Final = "python -c 'import textual.app'"
INSTANCES: Final = 10
IDLE_S: Final = 60.0
"""Three of the longest waits: each ends in one question."""
SETTLE_S: Final = 12.0
"""Longer than what a first question buys: samples for 10 s."""
STARTED_S: Final = 130.0
"""Two minutes after its start, an instance looks for the last time whether a script listens on a port."""
FLOODS: Final = (10_000, 100_000)
FLOOD_S: Final = 15.0
KEYS: Final = 20
KEPT: Final = 20_000
"""Lines in the memory of the view."""
PAGE_LINES: Final = 100_000
"""… and of the page."""
SCROLL_S: Final = 5.0
SAMPLED: Final = 50
ASKED_EVERY_S: Final = 8.0
"""As the view asks."""
UNSEEN_WAKEUPS: Final = 1.0
"""A second, of a hub with ten links and nothing to do: its heartbeat, its looks at the directory, its probes, each with
what they wake; see `quiet`."""

SERVER: Final = """\
import time
for number in range(1000):
    print(f"GET /products/{number} 200 in 9 ms", flush=True)
print("the last line of the start", flush=True)
time.sleep(100_000)
"""
"""A script that has printed some lines, and is silent then."""

PRINTER: Final = """\
import os, sys, time
rate, most, path = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
while most and not os.path.exists(path):
    time.sleep(0.01)
begun, printed = time.monotonic(), 0
while not most or printed < most:
    due = int((time.monotonic() - begun) * rate)
    due = min(due, most) if most else due
    text = "".join(f"GET /products/{n} 200 in 9 ms, one of many lines of output\\n" for n in range(printed, due))
    sys.stdout.write(text)
    sys.stdout.flush()
    printed = due
    if not most:
        with open(path + ".new", "w") as file:
            file.write(str(printed))
        os.rename(path + ".new", path)  # never seen empty
    time.sleep(0.01)
print("the last line of many", flush=True)
time.sleep(100_000)
"""
"""``RATE MOST FILE``: so many lines a second. ``MOST`` 0: without an end, and the file has how many were printed;
otherwise it begins when the file is there.
"""

TREE: Final = "sleep 100000 & sleep 100000 & wait"
"""A script of three processes."""

SCROLL: Final = """
(seconds) => new Promise((done) => {
    const box = document.getElementById("lines");
    const taken = [];
    let step = -2000; // pixels a frame: all rows are other ones
    let last = performance.now();
    const end = last + 1000 * seconds;
    const frame = () => {
        const now = performance.now();
        taken.push(now - last);
        last = now;
        if (box.scrollTop < 0.1 * box.scrollHeight) step = 2000;
        if (box.scrollTop > 0.8 * box.scrollHeight) step = -2000;
        box.scrollTop += step;
        if (now < end) requestAnimationFrame(frame);
        else done(taken.slice(1));
    };
    requestAnimationFrame(frame);
})
"""
EMPTY: Final = """
<div id="lines" style="height: 800px; overflow: auto"><div style="height: 1800000px"></div></div>
"""
"""What it is compared with: as long as the lines, and without any."""

ROWS: Final = 'Math.round(document.querySelector("#lines .space").getBoundingClientRect().height / 18)'

CHROMIUM: Final = ("--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking")


class Row(NamedTuple):
    """``reached``: None of a figure without a goal, and of one that could not be measured."""

    what: str
    measured: str
    goal: str
    reached: bool | None
    is_of_quiet_machine: bool = False


class Use(NamedTuple):
    """Of one process for a while: CPU as a part of one processor, and how often it went to sleep in a second."""

    cpu: float
    switches_per_s: float


def use_of(pid: int, seconds: float) -> Use:
    begun, cpu, switches = time.perf_counter(), cpu_s(pid), consumption(pid)[0]
    time.sleep(seconds)
    passed_s = time.perf_counter() - begun
    return Use((cpu_s(pid) - cpu) / passed_s, (consumption(pid)[0] - switches) / passed_s)


def below(what: str, value: float, limit: float, unit: str, *, needs_quiet: bool = False) -> Row:
    return Row(what, f"{value:.3g} {unit}", f"≤ {limit:g} {unit}", value <= limit, needs_quiet)


def percents(what: str, part: float, limit: float) -> Row:
    """``part`` of one processor, ``limit`` in percents."""
    return below(what, part * 100, limit, "% CPU")


def python(place: Path, name: str, code: str, *arguments: object) -> str:
    """A command that runs this code."""
    place.joinpath(name).write_text(code)
    return " ".join(["exec", sys.executable, "-I", str(place / name), *map(str, arguments)])


def server(place: Path) -> str:
    """A line of a Procfile."""
    return f"dev: {python(place, 'server.py', SERVER)}\nother: sleep 100000\nnever: true\n"


@contextlib.contextmanager
def view(folder: Path, name: str, *words: str) -> Iterator[Terminal]:
    """On this project; these words are drawn already."""
    with terminal([BRUM], environment(folder), folder / name) as screen:
        screen.wait_for(*words)
        yield screen
        screen.leave()


# The first picture.


def toolkit(folder: Path) -> tuple[float, float]:
    """(time, CPU time) of the import alone, in seconds."""
    begun = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-c", "import textual.app"], env=environment(folder))
    usage = os.wait4(process.pid, 0)[2]
    process.returncode = 0
    return time.perf_counter() - begun, usage.ru_utime + usage.ru_stime


def first_picture(folder: Path) -> list[Row]:
    ratios: dict[str, list[float]] = {}
    with instance(folder, "shop", server(folder), "dev"):
        for _ in range(STARTS + 1):
            bare_s, bare_cpu_s = toolkit(folder)
            with terminal([BRUM], environment(folder), folder / "shop") as screen:
                first = screen.wait_for_alternate_screen()
                whole = screen.wait_for("other", "the last line of the start")
                screen.leave()
            for name, seen in (("alternate screen", first), ("tree and lines", whole)):
                ratios.setdefault(f"{name}, CPU", []).append(seen.cpu_s / bare_cpu_s)
                ratios.setdefault(f"{name}, time", []).append((seen.at_s - screen.started_s) / bare_s)
    rows = []
    for name, found in ratios.items():
        limit = 1.2 if name.startswith("alternate") else 1.5
        unit = f"× {TOOLKIT}"
        middle = median(found[1:])  # the first one has made the bytecode
        rows.append(Row(name, f"{middle:.2f} {unit}", f"≤ {limit} ×", middle <= limit, name.endswith("time")))
    return rows


# With nothing to do.


@contextlib.contextmanager
def many(folder: Path) -> Iterator[None]:
    """Instances, each with two scripts that run, and one that never ran."""
    with contextlib.ExitStack() as stack:
        for number in range(INSTANCES):
            stack.enter_context(instance(folder, f"project{number}", server(folder), "dev", "other"))
        yield


def idle(folder: Path) -> list[Row]:
    with many(folder), view(folder, "project0", "project6", "the last line of the start") as screen:
        time.sleep(SETTLE_S)
        screen.forget()
        pictures = screen.pictures
        use = use_of(screen.pid, IDLE_S)
        drawn = screen.pictures - pictures
        memory = memory_mib(screen.pid)[0]
    what = f"view, idle, {INSTANCES} instances"
    return [
        percents(what, use.cpu, 0.2),
        below(what, use.switches_per_s, 2, "switches/s"),
        Row(what, f"{drawn} pictures in {IDLE_S:g} s", "", None),
        Row(what, f"{memory:.3g} MiB", "", None),
    ]


# In a flood.


def flood(folder: Path, rate: int) -> list[Row]:
    counted = folder / "counted"
    script = f"flood: {python(folder, 'printer.py', PRINTER, rate, 0, counted)}\n"
    with instance(folder, "shop", script, "flood") as record, view(folder, "shop", "one of many lines") as screen:
        time.sleep(5)
        printed, pictures = int(counted.read_text()), screen.pictures
        begun, of_instance = time.perf_counter(), cpu_s(record["pid"])
        use = use_of(screen.pid, FLOOD_S)
        passed_s = time.perf_counter() - begun
        printed, pictures = int(counted.read_text()) - printed, screen.pictures - pictures
        of_instance = (cpu_s(record["pid"]) - of_instance) / passed_s
        answers = keys_answered_ms(screen)
        memory = memory_mib(screen.pid)[0]
    what = f"view, {rate:,} lines/s"
    return [
        Row(what, f"{printed / passed_s:,.0f} lines/s printed", "", None),
        percents(what, use.cpu, 10),
        Row(what, f"{pictures / passed_s:.1f} pictures/s", "", None),
        below(f"{what}: a key is answered, median", median(answers), 100, "ms", needs_quiet=True),
        below(f"{what}: … 9 of 10", percentile(answers, 90), 100, "ms", needs_quiet=True),
        Row(f"{what}: … the slowest of {KEYS}", f"{max(answers):.3g} ms", "", None),
        Row(what, f"{memory:.3g} MiB", "", None),
        Row(f"its instance, {rate:,} lines/s", f"{of_instance * 100:.3g} % CPU", "", None),
    ]


def keys_answered_ms(screen: Terminal) -> list[float]:
    """From a key to its picture: characters that no line has are typed into the line of the search."""
    screen.type("/")
    time.sleep(1)
    found = []
    for number in range(KEYS):
        screen.forget()
        begun = time.perf_counter()
        screen.type("%")
        found.append((screen.wait_for("%").at_s - begun) * 1000)
        time.sleep(0.3 + 0.05 * (number % 7))  # at other moments between two pictures
        screen.type("\x7f")
        time.sleep(0.2)
    screen.type("\x03")  # closes the line
    time.sleep(0.5)
    return found


# With many lines.


def memory(folder: Path) -> list[Row]:
    """The lines come while the view is open, and it reads all of them."""
    begin = folder / "begin"
    script = f"many: {python(folder, 'printer.py', PRINTER, 2_000, KEPT, begin)}\n"
    with instance(folder, "shop", script, "many"), view(folder, "shop", "many", "following") as screen:
        at_first = memory_mib(screen.pid)[0]
        begin.touch()
        screen.wait_for("the last line of many")
        screen.forget()
        has_first = reaches_the_first_line(screen)
        after = memory_mib(screen.pid)[0]
    what = f"view, {KEPT:,} lines"
    return [
        Row("view, no lines", f"{at_first:.3g} MiB", "", None),
        below(what, after, 65, "MiB"),
        Row(f"{what}: the first one is seen at once", "yes" if has_first else "no", "", None),
    ]


def reaches_the_first_line(screen: Terminal) -> bool:
    """Whether the view holds all lines: the way to the top asks for earlier ones, and there are none."""
    screen.type("\tg")
    try:
        screen.wait_for("/products/1 200", within_s=5)
    except NotDrawnError:
        return False
    return True


# The page.


@contextlib.contextmanager
def page_server(folder: Path) -> Iterator[tuple[int, str]]:
    """(process id, an address that opens the page once) of ``brum web``."""
    process = subprocess.Popen(
        [BRUM, "web"], env=environment(folder), cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    try:
        assert process.stdout
        yield process.pid, process.stdout.readline().strip()
    finally:
        process.terminate()
        process.communicate(timeout=PATIENCE_S)


@contextlib.contextmanager
def browser() -> Iterator[Any]:
    """A Chromium under playwright; None where one of the two is missing."""
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    if path is None or importlib.util.find_spec("playwright") is None:
        yield None
        return
    api = importlib.import_module("playwright.sync_api")
    with api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=path, args=CHROMIUM)
        try:
            yield chromium
        finally:
            chromium.close()


NOT_MEASURED: Final = "not measured: Chromium or playwright is missing (make integration-test brings both)"


def page_idle(folder: Path) -> list[Row]:
    rows = []
    with many(folder), page_server(folder) as (pid, address), browser() as chromium:
        what = f"page's server, {INSTANCES} instances"
        if chromium is None:
            rows.append(Row(f"{what}, page seen", NOT_MEASURED, "≤ 0.5 % CPU", None))
        else:
            page = chromium.new_page()
            page.goto(address)
            page.get_by_text("project9").first.wait_for()
            time.sleep(SETTLE_S)
            rows.append(percents(f"{what}, page seen: all projects", use_of(pid, IDLE_S).cpu, 0.5))
            page.get_by_role("link", name="dev").first.click()
            page.locator("#lines").get_by_text("the last line of the start").wait_for()
            time.sleep(SETTLE_S)
            rows.append(percents(f"{what}, page seen: a script", use_of(pid, IDLE_S).cpu, 0.5))
            page.close()
            time.sleep(SETTLE_S)
        use = use_of(pid, IDLE_S)
        rows += [
            percents(f"{what}, no page open", use.cpu, 0.05),
            below(f"{what}, no page open", use.switches_per_s, UNSEEN_WAKEUPS, "switches/s"),
            Row(what, f"{memory_mib(pid)[0]:.3g} MiB", "", None),
        ]
    return rows


def page_frames(folder: Path) -> list[Row]:
    what = f"page, {PAGE_LINES:,} lines, scrolled"
    begin = folder / "begin"
    script = f"many: {python(folder, 'printer.py', PRINTER, 4_000, PAGE_LINES - 1, begin)}\n"
    with instance(folder, "shop", script, "many"), page_server(folder) as (_, address), browser() as chromium:
        if chromium is None:
            return [Row(what, NOT_MEASURED, "≥ 50 frames/s", None)]
        page = chromium.new_page(viewport={"width": 1400, "height": 900})
        page.goto(address)
        page.get_by_role("link", name="many").first.click()
        page.get_by_role("heading", name="shop › many").wait_for()
        begin.touch()
        page.locator("#lines").get_by_text("the last line of many").wait_for(timeout=1000 * PATIENCE_S * 3)
        lines = page.evaluate(ROWS)
        taken = page.evaluate(SCROLL, SCROLL_S)
        elements = page.evaluate('document.querySelectorAll("*").length')
        page.close()
        empty = chromium.new_page(viewport={"width": 1400, "height": 900})
        empty.set_content(EMPTY)
        of_empty = empty.evaluate(SCROLL, SCROLL_S)
    frames = 1000 * len(taken) / sum(taken)
    return [
        Row(what, f"{lines:,} lines held", f"≥ {0.99 * PAGE_LINES:,.0f}", lines >= 0.99 * PAGE_LINES),
        Row(what, f"{frames:.3g} frames/s", "≥ 50 frames/s", frames >= 50, is_of_quiet_machine=True),
        below(f"{what}: the worst frame", max(taken), 50, "ms", needs_quiet=True),
        Row("an empty page as long, scrolled: the worst frame", f"{max(of_empty):.3g} ms", "", None),
        Row(what, f"{elements} elements", "", None),
    ]


# CPU and memory of scripts.


def sampling(folder: Path) -> list[Row]:
    names = [f"script{number}" for number in range(SAMPLED)]
    scripts = "".join(f"{name}: {TREE}\n" for name in names)
    with instance(folder, "shop", scripts, *names) as record:
        pid = record["pid"]
        time.sleep(STARTED_S)
        before = use_of(pid, IDLE_S / 2)
        use, processes = asyncio.run(asking(record))
        time.sleep(SETTLE_S)
        after = use_of(pid, IDLE_S / 2)
    what = f"instance with {SAMPLED} scripts of 3 processes"
    alone = f"{what}, no client asks"
    return [
        Row(what, f"{processes} processes found, of {processes_of_machine()} of the machine", "", None),
        percents(f"{what}, a client asks", use.cpu, 0.3),
        percents(f"{alone}, before", before.cpu, 0.05),
        percents(f"{alone}, afterwards", after.cpu, 0.05),
        below(f"{alone}, afterwards", after.switches_per_s, UNSEEN_WAKEUPS, "switches/s"),
    ]


async def asking(record: Mapping[str, Any]) -> tuple[Use, int]:
    """What an instance uses while it is asked, and how many processes it finds."""
    client = await BareHttpClient.connect(dict(record))
    try:

        async def ask(since: float) -> dict[str, Any]:
            answer = json.loads(await client.call("scripts_usage", {"since": since}))["result"]["structuredContent"]
            return dict(answer)

        await ask(time.time())
        using = asyncio.create_task(asyncio.to_thread(use_of, record["pid"], IDLE_S))
        answer: dict[str, Any] = {}
        while not using.done():
            answer = await ask(time.time() - ASKED_EVERY_S)
            await asyncio.wait([using], timeout=ASKED_EVERY_S)
        return using.result(), sum(script["processes"] for script in answer["scripts"])
    finally:
        client.close()


def processes_of_machine() -> int:
    return sum(entry.name.isdigit() for entry in Path("/proc").iterdir())


# The start of everything else.


def imports(folder: Path) -> list[Row]:
    """No program but the view itself imports anything of it."""
    found: dict[str, int] = {}
    with instance(folder, "shop", "dev: sleep 100000\n", "dev", imports_to=folder / "of-instance"):
        for command in ("ps", "logs", "ls", "status", "up"):
            done = subprocess.run(
                [BRUM, command],
                cwd=folder / "shop",
                env={**environment(folder), "PYTHONPROFILEIMPORTTIME": "1"},
                capture_output=True,
                stdin=subprocess.DEVNULL,
                text=True,
                timeout=PATIENCE_S,
                check=False,
            )
            found[f"brum {command}"] = of_views(done.stderr)
        opening = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": INITIALIZE}
        listing = {"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": {"name": "scripts_list"}}
        hub = subprocess.run(
            [BRUM, "--mcp"],
            input="".join(json.dumps(message) + "\n" for message in (opening, listing)),
            env={**environment(folder), "PYTHONPROFILEIMPORTTIME": "1"},
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=True,
        )
        found["hub"] = of_views(hub.stderr)
    found["instance"] = of_views((folder / "of-instance").read_text())
    return [
        Row(f"{program}: modules of a view that it imports", str(count), "0", count == 0)
        for program, count in found.items()
    ]


def of_views(importtime: str) -> int:
    """How many modules of the views and their toolkit are in what ``-X importtime`` has printed."""
    names = [line.rpartition("|")[2].strip() for line in importtime.splitlines()]
    assert "brummer" in names, "the program has not said what it imports"
    return sum(name.startswith("brummer.views") or name.partition(".")[0] in {"textual", "rich"} for name in names)


def measure(report: Report, folder: Path) -> bool:
    """Whether all goals are reached, as far as they could be measured."""
    measurements: dict[str, Callable[[Path], list[Row]]] = {
        "first": first_picture,
        "idle": idle,
        **{f"flood{rate}": partial(flood, rate=rate) for rate in FLOODS},
        "memory": memory,
        "page": page_idle,
        "frames": page_frames,
        "sampling": sampling,
        "imports": imports,
    }
    rows = []
    for name, each in measurements.items():
        place = folder / name
        place.mkdir()
        for row in each(place):
            print(*row, flush=True)
            rows.append(row)
    words = {True: "yes", False: "NO", None: ""}
    report.table(
        "The views and their goals",
        ("what", "measured", "goal", "reached", "needs a quiet machine"),
        [(*row[:3], words[row.reached], "yes" if row.is_of_quiet_machine else "") for row in rows],
    )
    return all(row.reached is not False for row in rows)
