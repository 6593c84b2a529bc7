"""How far a reader has to walk: the functions of Brummer that run for one thing, the files they are in, and how often
the next function is in another file. And how many lines of code each package has.

``walk.py [--tree DIRECTORY] [--base COMMIT] [--details DIRECTORY]`` prints a table and, for this tree, writes it to
reports/walk.md. The exit status says whether every goal is reached. ``--tree`` measures another tree of Brummer with
this interpreter; ``--details`` writes down the calls of each trip.

The measured programs are real ones, driven as an agent or a person drives them: the hub over its pipes, `brum` by its
command line. So names inside can change without a change here. Each runs in a child process of this file, in which
`sys.setprofile` notes every call of a function of the package: a resumed coroutine is a call, an import is none. Every
trip is taken several times after a first one that loads the modules; the shortest counts, because only what disturbs
a trip can lengthen it. How many processes run matters (an instance looks for those of its scripts among all), so all of
this runs in a pid namespace with a fixed number of them, where that is permitted.
"""

import argparse
import ast
import contextlib
import io
import itertools
import json
import os
import select
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import tokenize
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, Final, Self

ROOT: Final = Path(__file__).resolve().parent.parent
REPORT: Final = ROOT / "reports" / "walk.md"

BASE: Final = "c1f156f"
"""The lines of code are compared with this commit."""
MOST_LINES: Final = 0.92
"""Of those at `BASE`."""
UNCOUNTED: Final = "testing"
"""The package whose lines do not count: it is for tests."""
ADDED: Final = "host/macos"
"""Another operating system is no part of the comparison; its lines are shown."""

MOST_LATE: Final = 100
"""So many functions more may run in `brum up` while it waits `SLOW_S` longer for its instance and as long again for its
script: an event ends each wait. A program that polls calls thousands; events that differ between rounds, some dozens.
"""
SLOW_S: Final = 1.0
"""Less than the two seconds after which `brum up` says what it waits for."""

ROUNDS: Final = 9
CROWD: Final = 150
"""Processes beside the measured ones, as on the machine of a developer."""
PATIENCE_S: Final = 60.0
CALLS_S: Final = 0.02
"""Between two calls: enough for what the hub does after an answer, and less than its time between two looks at its
memory, which would be part of every call.
"""
QUIET_S: Final = 0.15
"""The same for what takes longer: a link that recovers, a script that starts."""
WAIT_S: Final = 0.02
"""For a file that another process writes."""


@dataclass(frozen=True)
class Walk:
    """One trip: ``functions`` called, in ``files``, and how many ``changes`` from one file to another."""

    functions: int
    files: int
    changes: int

    def __str__(self) -> str:
        return f"{self.functions:,} / {self.files} / {self.changes:,}"

    def is_within(self, goal: "Walk") -> bool:
        return self.functions <= goal.functions and self.files <= goal.files and self.changes <= goal.changes


@dataclass(frozen=True)
class Trip:
    """What is measured, how far it was at commit f244a83 by this tool, and how far it may be."""

    name: str
    before: Walk
    goal: Walk


FAST: Final = Trip("one `tools/call`, fast path", Walk(72, 24, 48), Walk(45, 14, 28))
SLOW: Final = Trip("one `tools/call`, slow path", Walk(107, 25, 69), Walk(60, 15, 35))
LOST: Final = Trip("one lost connection, and the call asked again", Walk(315, 39, 182), Walk(160, 22, 90))
RUN: Final = Trip("first `scripts_run` of a script → ready → answer", Walk(2_239, 54, 304), Walk(900, 40, 180))
PS: Final = Trip("`brum ps` with an instance running", Walk(942, 83, 519), Walk(400, 35, 150))
UP_BEFORE: Final = Walk(3_391, 91, 1_744)
LATE_BEFORE: Final = 3_080


class NotMeasuredError(Exception):
    """A program did not do what the trip needs."""


# --- in the measured process -----------------------------------------------------------------------------------------


class Notes:
    """The calls of functions of the package, in order, with their times."""

    def __init__(self, package: str) -> None:
        self._package = package
        self._calls: list[tuple[int, CodeType]] = []

    def begin(self) -> None:
        threading.setprofile(self._note)
        sys.setprofile(self._note)

    def _note(self, frame: FrameType, event: str, _: object) -> None:
        code = frame.f_code
        if event == "call" and code.co_filename.startswith(self._package) and not _is_made_by_import(code):
            self._calls.append((time.monotonic_ns(), code))

    def write(self, path: Path) -> None:
        sys.setprofile(None)
        threading.setprofile(None)
        skipped = len(self._package)
        rows = [(at_ns, code.co_filename[skipped:], code.co_qualname) for at_ns, code in self._calls]
        path.write_text(json.dumps(rows))


def _is_made_by_import(code: CodeType) -> bool:
    """Whether it is the body of a module or of a class."""
    return code.co_name == "<module>" or not code.co_flags & 0x2  # inspect.CO_NEWLOCALS, which every function has


def traced(notes_path: Path, source: str, commands: Sequence[Sequence[str]]) -> int:
    """Run these commands of ``brum`` in this process, one after the other, and note the calls.

    ``source``: the folder with the package. Returns the exit status of the last command.
    """
    sys.path[0] = source  # in place of the folder of this file; PYTHONPATH would give `brum` work that is not its own
    import brummer
    from brummer.__main__ import main

    notes = Notes(f"{Path(brummer.__file__).parent}/")
    notes.begin()
    status = 0
    try:
        for command in commands:
            began_ns = time.monotonic_ns()
            sys.argv = ["brum", *command]
            try:
                status = main()
            except SystemExit as end:
                status = end.code if isinstance(end.code, int) else 1
            print(f"{began_ns} {time.monotonic_ns()}", file=sys.stderr, flush=True)
    finally:
        notes.write(notes_path)
    return status


# --- around it -------------------------------------------------------------------------------------------------------


class Traced:
    """A program whose calls are noted. Its notes are there once it has ended."""

    def __init__(self, world: "World", name: str, *commands: Sequence[str], **environment: str) -> None:
        self.name = name
        self._notes = world.folder / f"{name}.json"
        self._stderr = world.folder / f"{name}.stderr"
        command = [
            sys.executable,
            __file__,
            "--traced",
            str(self._notes),
            str(world.tree / "src"),
            json.dumps(commands),
        ]
        with self._stderr.open("wb") as stderr:
            self.process = subprocess.Popen(
                command,
                env={**world.environment, **environment},
                cwd=world.project,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
            )
        assert self.process.stdin
        assert self.process.stdout
        self.stdin, self.stdout = self.process.stdin, self.process.stdout

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stdin.close()
        self.process.terminate()
        try:
            self.process.wait(PATIENCE_S)
        finally:
            self.process.kill()
            self.process.wait()
            self.stdout.close()

    def finished(self) -> list[tuple[int, int]]:
        """Wait for its end. Returns when each of its commands began and ended."""
        self.stdin.close()
        self.stdout.read()
        self.process.wait(PATIENCE_S)
        said = self._stderr.read_text().splitlines()
        times = [line.split() for line in said if line[:1].isdigit() and line.replace(" ", "").isdigit()]
        if not times:
            raise NotMeasuredError(f"{self.name}: {' '.join(said[-3:])}")
        return [(int(began), int(ended)) for began, ended in times]

    def walks(self, windows: Iterable[tuple[int, int]], details: Path | None = None) -> Walk:
        """The shortest walk in one of these times. With ``details`` its calls are written there."""
        if not self._notes.exists():
            raise NotMeasuredError(f"{self.name}: {self._stderr.read_text()[-500:]}")
        calls = json.loads(self._notes.read_text())
        found = [[call for call in calls if began <= call[0] <= ended] for began, ended in windows]
        shortest = min(found, key=len)
        if details is not None:
            lines = [f"{(at_ns - shortest[0][0]) / 1e6:9.3f}  {file}  {name}" for at_ns, file, name in shortest]
            (details / f"{self.name}.txt").write_text("\n".join(lines) + "\n")
        files = [file for _, file, _ in shortest]
        changes = sum(one != next_ for one, next_ in itertools.pairwise(files))
        return Walk(len(files), len(set(files)), changes)


class Hub:
    """The client of a traced hub."""

    def __init__(self, program: Traced) -> None:
        self.program = program
        self._received = b""
        self._last_id = 0
        params = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "walk", "version": "0"}}
        self.ask("initialize", params)
        self._write({"method": "notifications/initialized"})

    def call(self, tool: str, /, **arguments: Any) -> dict[str, Any]:
        """Raises NotMeasuredError if the answer is an error."""
        answer = self.ask("tools/call", {"name": tool, "arguments": arguments})
        if "error" in answer or answer["result"].get("isError"):
            raise NotMeasuredError(f"{tool}: {json.dumps(answer)[:300]}")
        content: dict[str, Any] = answer["result"]["structuredContent"]
        return content

    def timed(self, quiet_s: float, tool: str, /, **arguments: Any) -> tuple[int, int]:
        """The time of one call, and of ``quiet_s`` for what the program still does after its answer, in ns."""
        began_ns = time.monotonic_ns()
        self.call(tool, **arguments)
        time.sleep(quiet_s)
        return began_ns, time.monotonic_ns()

    def ask(self, method: str, params: dict[str, Any]) -> dict[str, Any]:
        self._last_id += 1
        self._write({"id": self._last_id, "method": method, "params": params})
        while True:
            line, separator, rest = self._received.partition(b"\n")
            if separator:
                self._received = rest
                answer: dict[str, Any] = json.loads(line)
                if answer.get("id") == self._last_id and "method" not in answer:
                    return answer
                continue
            if not select.select([self.program.stdout], [], [], PATIENCE_S)[0]:
                raise NotMeasuredError(f"{method}: no answer within {PATIENCE_S} s")
            if not (data := os.read(self.program.stdout.fileno(), 1 << 16)):
                raise NotMeasuredError(f"{method}: the hub has ended")
            self._received += data

    def _write(self, message: dict[str, Any]) -> None:
        self.program.stdin.write(json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n")
        self.program.stdin.flush()

    def until_ready(self) -> None:
        deadline_s = time.monotonic() + PATIENCE_S
        while True:
            try:
                self.call("scripts_status")
            except NotMeasuredError:
                if time.monotonic() > deadline_s:
                    raise
                time.sleep(WAIT_S)
            else:
                return


class Proxy:
    """Passes bytes on to an instance; on demand it resets a connection in place of passing on the next answer."""

    def __init__(self, port: int) -> None:
        self._to = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._loses_next = threading.Event()
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def lose_next_answer(self) -> None:
        self._loses_next.set()

    @property
    def has_lost_it(self) -> bool:
        return not self._loses_next.is_set()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self._to))
                for end in (client, server):
                    end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                threading.Thread(target=self._pass_on, args=(client, server, False), daemon=True).start()
                threading.Thread(target=self._pass_on, args=(server, client, True), daemon=True).start()

    def _pass_on(self, source: socket.socket, sink: socket.socket, are_answers: bool) -> None:  # noqa: FBT001
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                if are_answers and self._loses_next.is_set():
                    self._loses_next.clear()
                    break
                sink.sendall(data)
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


SERVER: Final = """\
import http.server
import os
import time

time.sleep(float(os.environ.get("WALK_SLOW_S", "0")))
server = http.server.HTTPServer(("127.0.0.1", 0), http.server.SimpleHTTPRequestHandler)
print(f"ready on http://127.0.0.1:{server.server_port}/", flush=True)
server.serve_forever()
"""


LATE: Final = """\
import os
import sys
import time

if "--no-tui" in sys.orig_argv:
    time.sleep(float(os.environ.get("WALK_SLOW_S", "0")))
"""
"""A sitecustomize.py: an instance that takes its time to come up."""


@dataclass
class World:
    """A project, and directories of our own for everything that the programs keep."""

    tree: Path
    folder: Path
    details: Path | None = None
    project: Path = field(init=False)
    environment: dict[str, str] = field(init=False)

    def __post_init__(self) -> None:
        self.project = self.folder / "home" / "shop"
        self.project.mkdir(parents=True)
        (self.project / "server.py").write_text(SERVER)
        names = ["dev", *(f"dev{number}" for number in range(ROUNDS + 1))]
        (self.project / "Procfile").write_text("".join(f"{name}: {sys.executable} server.py\n" for name in names))
        (self.folder / "sitecustomize.py").write_text(LATE)
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("BRUMMER_", "XDG_"))}
        home = self.folder / "home"
        own = {"HOME": str(home), "XDG_STATE_HOME": str(home / "state"), "XDG_CONFIG_HOME": str(home / "config")}
        own["BRUMMER_INSTANCES_DIR"] = str(self.instances)
        self.environment = {**kept, **own}

    @property
    def instances(self) -> Path:
        return self.folder / "instances"

    def record(self) -> dict[str, Any]:
        """The record of the one instance that runs here."""
        deadline_s = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline_s:
            for path in self.instances.glob("*.json"):
                record: dict[str, Any] = json.loads(path.read_bytes())
                return record
            time.sleep(WAIT_S)
        raise NotMeasuredError("no instance has come up")

    @contextlib.contextmanager
    def instance(self) -> Iterator[Traced]:
        with Traced(self, "instance", ["--no-tui", "-d", str(self.project)]) as program:
            program.stdout.close()  # scripts' lines
            self.record()
            yield program

    @contextlib.contextmanager
    def hub(self, name: str, **environment: str) -> Iterator[Hub]:
        with Traced(self, name, ["--mcp"], **environment) as program:
            hub = Hub(program)
            hub.until_ready()
            time.sleep(1)  # what belongs to its start
            yield hub
            program.finished()


def calls(world: World) -> dict[Trip, Walk]:
    """The trips of a call through the hub, and of a script through the instance."""
    found: dict[Trip, Walk] = {}
    with world.instance() as instance:
        with world.hub("fast") as hub:
            rounds = [hub.timed(CALLS_S, "scripts_status") for _ in range(ROUNDS)]
        found[FAST] = hub.program.walks(rounds, world.details)
        with world.hub("slow") as hub:
            inner = {"tool": "scripts_status", "arguments": {}}
            rounds = [hub.timed(CALLS_S, "instance_call", **inner) for _ in range(ROUNDS)]
        found[SLOW] = hub.program.walks(rounds, world.details)
        found[LOST] = _lost(world)
        with world.hub("running") as hub:
            hub.timed(QUIET_S, "scripts_run", name="dev")
            rounds = [hub.timed(QUIET_S, "scripts_run", name=f"dev{number}") for number in range(ROUNDS)]
    found[RUN] = instance.walks(rounds, world.details)
    return found


def _lost(world: World) -> Walk:
    """The hub knows the instance by a record with the address of a proxy, in a directory that no instance mends."""
    record = world.record()
    host, port = record["url"].removeprefix("http://").partition("/")[0].rsplit(":", 1)
    proxy = Proxy(int(port))
    seen = world.folder / "seen-by-hub"
    seen.mkdir(mode=0o700)
    path = seen / f"{record['instance_id']}.json"
    path.write_text(json.dumps({**record, "url": record["url"].replace(f"{host}:{port}", f"{host}:{proxy.port}")}))
    path.chmod(0o600)
    with world.hub("lost", BRUMMER_INSTANCES_DIR=str(seen)) as hub:
        rounds = []
        for _ in range(ROUNDS):
            proxy.lose_next_answer()
            rounds.append(hub.timed(QUIET_S, "scripts_status"))
            if not proxy.has_lost_it:
                raise NotMeasuredError("no connection was lost")
    return hub.program.walks(rounds[1:], world.details)


def ps(world: World) -> Walk:
    with world.instance(), Traced(world, "ps", *([["ps"]] * ROUNDS)) as program:
        times = program.finished()
    return program.walks(times[1:], world.details)


def up(world: World, name: str, slow_s: float) -> Walk:
    """`brum up dev` where nothing runs, and where the instance and the script each take ``slow_s`` longer."""
    commands: list[Sequence[str]] = [["up", "dev"], ["down"]] * 4
    path = os.pathsep.join([str(world.tree / "src"), str(world.folder)])
    with Traced(world, name, *commands, WALK_SLOW_S=str(slow_s), PYTHONPATH=path) as program:
        times = program.finished()
    if len(times) != len(commands):
        raise NotMeasuredError("brum up and brum down did not work")
    return program.walks(times[2::2], world.details)


# --- lines of code ---------------------------------------------------------------------------------------------------


def code_lines(source: str) -> int:
    """Lines that are not blank, hold more than a comment, and belong to no docstring (attributes have some, too)."""
    used: set[int] = set()
    skipped = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in skipped:
            used.update(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            used.difference_update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    return len(used)


def lines_by_package(sources: Iterable[tuple[str, str]]) -> Counter[str]:
    """``sources``: paths below src/brummer, with their text."""
    found: Counter[str] = Counter()
    for path, text in sources:
        package = path.partition("/")[0] if "/" in path else "(top)"
        if path.startswith(f"{ADDED}/"):
            package = ADDED
        if package != UNCOUNTED:
            found[package] += code_lines(text)
    return found


def compared(lines: Counter[str]) -> int:
    """The lines that the goal is about."""
    return lines.total() - lines[ADDED]


def sources_of(tree: Path) -> Iterator[tuple[str, str]]:
    package = tree / "src" / "brummer"
    for path in sorted(package.rglob("*.py")):
        yield path.relative_to(package).as_posix(), path.read_text()


def sources_at(commit: str) -> Iterator[tuple[str, str]]:
    def git(*arguments: str) -> str:
        return subprocess.run(["git", "-C", ROOT, *arguments], check=True, stdout=subprocess.PIPE, text=True).stdout

    for path in git("ls-tree", "-r", "--name-only", commit, "src/brummer").splitlines():
        if path.endswith(".py"):
            yield path.removeprefix("src/brummer/"), git("show", f"{commit}:{path}")


# --- the report ------------------------------------------------------------------------------------------------------


@dataclass
class Measured:
    walks: dict[Trip, Walk]
    up: Walk
    late: int
    """Functions that `brum up` calls more when it has to wait longer."""


def measured(tree: Path, details: Path | None) -> Measured:
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="brummer-walk-")))
        if is_alone():
            for _ in range(CROWD):
                stack.callback(subprocess.Popen(["sleep", "infinity"]).kill)
        world = World(tree.resolve(), folder, details)
        walks = calls(world)
        walks[PS] = ps(world)
        soon = up(world, "up", 0)
        return Measured(walks, soon, up(world, "up-slow", SLOW_S).functions - soon.functions)


def is_alone() -> bool:
    """Whether this is a pid namespace of our own."""
    return os.getpid() == 1


def alone() -> list[str]:
    """The command that gives another one a pid namespace of its own; empty where that is not permitted."""
    if not (unshare := shutil.which("unshare")):
        return []
    command = [unshare, "--pid", "--fork", "--mount-proc", "--kill-child"]
    for way in (command, [*command, "--user", "--map-root-user"]):
        if subprocess.run([*way, "true"], check=False, stderr=subprocess.DEVNULL).returncode == 0:
            return way
    return []


def trips_table(found: Measured) -> Iterator[str]:
    yield "| trip | at f244a83 | now | goal | |"
    yield "|---|---|---|---|---|"
    for trip, walk in found.walks.items():
        yield f"| {trip.name} | {trip.before} | {walk} | {trip.goal} | {verdict(walk.is_within(trip.goal))} |"
    yield f"| `brum up dev` | {UP_BEFORE} | {found.up} | | |"
    late = f"{LATE_BEFORE:,} more | {found.late:,} more | ≤ {MOST_LATE} more | {verdict(found.late <= MOST_LATE)}"
    yield f"| the same, waiting {2 * SLOW_S:g} s longer | {late} |"


def lines_table(now: Counter[str], base: Counter[str], commit: str) -> Iterator[str]:
    yield f"| package | lines at {commit} | now |"
    yield "|---|---:|---:|"
    for package in sorted(now | base):
        yield f"| {package} | {base[package]:,} | {now[package]:,} |"
    share = compared(now) / compared(base)
    goal = f"{share:.3f}, goal ≤ {MOST_LINES}: {verdict(share <= MOST_LINES)}"
    yield f"| all but {ADDED} | {compared(base):,} | {compared(now):,} ({goal}) |"


def verdict(is_reached: bool) -> str:  # noqa: FBT001
    return "reached" if is_reached else "not reached"


def report(text: Sequence[str], where: str) -> str:
    made = f"`make walk` measured this with Python {sys.version.split()[0]}, {where}."
    return "\n".join(["# How far a reader has to walk", "", made, "", *INTRODUCTION.splitlines(), "", *text, ""])


INTRODUCTION: Final = """\
A trip is counted as functions called / files they are in / changes from one file to another. A resumed coroutine counts
as a call. The calls through the hub and the commands count in their own process; the first run of a script counts in
the instance. Lines of code are those with neither only a comment nor a docstring; `testing` does not count."""


def main() -> int:
    parser = argparse.ArgumentParser(description="How far a reader has to walk.")
    parser.add_argument("--tree", type=Path, default=ROOT, help="another tree of Brummer")
    parser.add_argument("--base", default=BASE, help="compare the lines of code with this commit")
    parser.add_argument("--details", type=Path, help="write the calls of each trip into this directory")
    parser.add_argument("--only-lines", action="store_true", help="count lines of code and measure nothing")
    options = parser.parse_args()
    if not options.only_lines and not is_alone() and (command := alone()):
        return subprocess.run([*command, sys.executable, __file__, *sys.argv[1:]], check=False).returncode
    now, base = lines_by_package(sources_of(options.tree)), lines_by_package(sources_at(options.base))
    is_reached = compared(now) <= MOST_LINES * compared(base)
    text = [*lines_table(now, base, options.base)]
    if not options.only_lines:
        if options.details:
            options.details.mkdir(parents=True, exist_ok=True)
        found = measured(options.tree, options.details)
        are_within = [walk.is_within(trip.goal) for trip, walk in found.walks.items()]
        is_reached = is_reached and all(are_within) and found.late <= MOST_LATE
        text = [*trips_table(found), "", *text]
        where = f"among {CROWD} idle processes" if is_alone() else "among all processes of the machine"
        if options.tree == ROOT:
            REPORT.write_text(report(text, where))
    print("\n".join(text))
    return 0 if is_reached else 1


if __name__ == "__main__":
    if sys.argv[1:2] == ["--traced"]:
        sys.exit(traced(Path(sys.argv[2]), sys.argv[3], json.loads(sys.argv[4])))
    sys.exit(main())
