"""Programs that ask, and all who can type to them: each row of `TYPISTS` answers each row of `PROGRAMS`.

A program is a table of what it asks and what is typed then. A typist sees what the program says in its own way, and
types in its own way: an agent by the tools, a person by `brum attach`, in the view, or on the page.
"""

import abc
import asyncio
import contextlib
import importlib
import json
import os
import re
import shlex
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol

from brummer.contract.texts import lines_of
from tests.integration.browser import FLAGS, chromium_path
from tests.integration.scenarios.persons_terminal import WAIT_S, PersonsTerminal
from tests.integration.scenarios.stdio import Client
from tests.integration.terminal import Terminal

BRUM: Final = Path(sys.executable).with_name("brum")
FRAMEWORKS: Final = Path(__file__).parent.parent / "frameworks" / "node_modules"
SECRET: Final = "correct horse battery"
POLL_S: Final = 0.05


@dataclass(frozen=True)
class Step:
    """``says``: an expression for what the program says; then ``types`` and Enter, or nothing after the last step."""

    says: str
    types: str | None = None


def _nothing_to_check(_: Path) -> None:
    pass


@dataclass(frozen=True)
class Program:
    """``command`` with ``NODE`` for Node and ``MODULES`` for its packages. ``prepare`` is run before in its directory;
    ``check`` looks there afterwards, and raises AssertionError.
    """

    name: str
    command: tuple[str, ...]
    steps: tuple[Step, ...]
    files: dict[str, str] = field(default_factory=dict)
    has_terminal: bool = True
    prepare: tuple[str, ...] = ()
    check: Callable[[Path], None] = _nothing_to_check

    @property
    def needs_node(self) -> bool:
        return "NODE" in self.command


ASKS: Final = """\
import getpass
print("hello", input("Name? "), flush=True)
print("it has", len(getpass.getpass()), "characters")
"""
ASK_STEPS: Final = (
    Step(r"Name\?", "Ada"),
    Step("hello Ada"),
    Step("Password:", SECRET),
    Step(f"it has {len(SECRET)} characters"),
)
PDB_STEPS: Final = (Step(r"\(Pdb\)", "p 6*7"), Step("42"), Step(r"\(Pdb\)", "q"))
APP_JS: Final = "console.log('started', process.pid); setInterval(() => {}, 1000);\n"
NODEMON_STEPS: Final = (Step(r"started \d+", "rs"), Step("starting `node app.js`"), Step(r"started \d+"))
SETTINGS_PY: Final = """\
SECRET_KEY = "x"
INSTALLED_APPS = ["django.contrib.auth", "django.contrib.contenttypes"]
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "db.sqlite3"}}
DEFAULT_AUTO_FIELD = "django.db.models.AutoField"
"""
MANAGE_PY: Final = """\
import os, sys
from django.core.management import execute_from_command_line
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "settings")
execute_from_command_line(sys.argv)
"""


def _has_a_superuser(directory: Path) -> None:
    with contextlib.closing(sqlite3.connect(directory / "db.sqlite3")) as database:
        found = database.execute("select username, email, is_superuser from auth_user").fetchall()
    assert found == [("ada", "ada@example.org", 1)], found


PROGRAMS: Final = (
    Program("input and getpass", (sys.executable, "asks.py"), ASK_STEPS, {"asks.py": ASKS}),
    Program("input and getpass", (sys.executable, "asks.py"), ASK_STEPS, {"asks.py": ASKS}, has_terminal=False),
    Program("pdb", (sys.executable, "-m", "pdb", "asks.py"), PDB_STEPS, {"asks.py": ASKS}),
    Program("pdb", (sys.executable, "-m", "pdb", "asks.py"), PDB_STEPS, {"asks.py": ASKS}, has_terminal=False),
    Program(
        "Django createsuperuser",
        (sys.executable, "manage.py", "createsuperuser"),
        (
            Step("Username.*:", "ada"),
            Step("Email address:", "ada@example.org"),
            Step("Password:", SECRET),
            Step(r"Password \(again\):", SECRET),
            Step("Superuser created successfully"),
        ),
        {"manage.py": MANAGE_PY, "settings.py": SETTINGS_PY},
        prepare=(sys.executable, "manage.py", "migrate", "-v", "0"),
        check=_has_a_superuser,
    ),
    Program(
        "Vite r",
        ("NODE", "MODULES/vite/bin/vite.js"),
        (Step("Local:", "r"), Step("server restarted")),
        {"index.html": "<h1>hello</h1>", "package.json": '{"type": "module"}'},
    ),
    Program("nodemon rs", ("NODE", "MODULES/nodemon/bin/nodemon.js", "app.js"), NODEMON_STEPS, {"app.js": APP_JS}),
    Program(
        "nodemon rs",
        ("NODE", "MODULES/nodemon/bin/nodemon.js", "app.js"),
        NODEMON_STEPS,
        {"app.js": APP_JS},
        has_terminal=False,
    ),
)


@dataclass(frozen=True)
class Place:
    """Where a program waits to be typed to: a project whose instance runs."""

    directory: Path
    environment: dict[str, str]
    script: str


class Hands(Protocol):
    """One typist at one script. Both raise AssertionError, after `WAIT_S` at the most."""

    async def says(self, pattern: str) -> None:
        """Wait until the program has said this, after what was waited for before."""

    async def types(self, text: str) -> None:
        """Type it, and Enter."""


Typist = Callable[[Place], AbstractAsyncContextManager[Hands]]


class _Agent:
    """An agent sees lines, and the question that has no end yet."""

    def __init__(self, client: Client, script: str) -> None:
        self._client = client
        self._script = script
        self._cursor: str | None = None
        self._said = ""

    async def says(self, pattern: str) -> None:
        until_s = time.monotonic() + WAIT_S
        while (found := re.search(pattern, text := await self._text())) is None:
            assert time.monotonic() < until_s, f"no {pattern!r} in {text!r}"
            await asyncio.sleep(POLL_S)
        self._said = self._said[found.end() :]

    async def _text(self) -> str:
        """What it has said since the last match; the question comes last."""
        new = await self._client.call("logs_tail", process=self._script, **self._since())
        self._cursor = new["cursor"]
        self._said += "".join(f"{line['text']}\n" for line in lines_of(new) if line["stream"] != "brum")
        status = (await self._client.call("scripts_status", name=self._script))["processes"][0]
        return self._said + str(status.get("unfinished_line", ""))

    async def types(self, text: str) -> None:
        answer = await self._client.call(
            "instance_call", tool="scripts_input", arguments={"name": self._script, "text": text}
        )
        assert "error" not in answer, answer

    def _since(self) -> dict[str, Any]:
        return {"cursor": self._cursor} if self._cursor else {}


@contextlib.asynccontextmanager
async def agent(place: Place) -> AsyncIterator[Hands]:
    """Through a hub."""
    async with Client.running(BRUM, "--mcp", env=place.environment) as client:
        yield _Agent(client, place.script)


class _Attached:
    def __init__(self, person: PersonsTerminal) -> None:
        self._person = person

    async def says(self, pattern: str) -> None:
        await asyncio.to_thread(self._person.until_matches, pattern)

    async def types(self, text: str) -> None:
        self._person.type(f"{text}\r")


@contextlib.asynccontextmanager
async def attached(place: Place) -> AsyncIterator[Hands]:
    """By `brum attach`; afterwards the person's terminal is as it was."""
    person = PersonsTerminal([BRUM, "attach", place.script], place.directory, place.environment)
    try:
        await asyncio.to_thread(person.until, "Ctrl-] leaves")
        yield _Attached(person)
        person.type("\x1d")
        await asyncio.to_thread(person.ends)
    finally:
        person.close()


class _Viewer(abc.ABC):
    """Who sees rows: those of the log, and below them the question that has no end yet. They only grow at the end."""

    def __init__(self) -> None:
        self._row = self._column = 0

    @abc.abstractmethod
    async def rows(self) -> list[str]: ...

    async def says(self, pattern: str) -> None:
        until_s = time.monotonic() + WAIT_S
        while True:
            rows = await self.rows()
            for at, row in enumerate(rows[self._row :], self._row):
                if found := re.compile(pattern).search(row, self._column if at == self._row else 0):
                    self._row, self._column = at, found.end()
                    return
            assert time.monotonic() < until_s, f"no {pattern!r} in {rows[self._row :]}"
            await asyncio.sleep(POLL_S)


class _InView(_Viewer):
    def __init__(self, terminal: Terminal) -> None:
        super().__init__()
        self._terminal = terminal

    async def rows(self) -> list[str]:
        screen = await asyncio.to_thread(self._terminal.screen)
        rows = [row.partition("▏")[2].rstrip() for row in screen.splitlines()]
        return [row for row in rows[1:] if row]

    async def types(self, text: str) -> None:
        await asyncio.to_thread(self._terminal.press, "i")
        assert await asyncio.to_thread(self._terminal.shows, "dev <")
        await asyncio.to_thread(self._terminal.type, text)


@contextlib.asynccontextmanager
async def in_view(place: Place) -> AsyncIterator[Hands]:
    """In the terminal view; the terminal is tmux."""
    with tempfile.TemporaryDirectory(prefix="t") as short, Terminal(Path(short), place.environment, (150, 50)) as shown:
        await asyncio.to_thread(shown.type, f"cd {shlex.quote(str(place.directory))}; clear; brum")
        assert await asyncio.to_thread(shown.shows, f"› {place.script}", "q leave")
        yield _InView(shown)


class _OnPage(_Viewer):
    def __init__(self, page: Any) -> None:
        super().__init__()
        self._page = page

    async def rows(self) -> list[str]:
        lines = await self._page.locator("#lines .row .text").all_inner_texts()
        question = await self._page.locator("#asks").inner_text()
        return [*lines, question]

    async def types(self, text: str) -> None:
        await self._page.locator("#typed").fill(text)
        await self._page.locator("#typed").press("Enter")


@contextlib.asynccontextmanager
async def on_page(place: Place) -> AsyncIterator[Hands]:
    """On the page, in Chromium."""
    async_playwright = importlib.import_module("playwright.async_api").async_playwright
    (record,) = Path(place.environment["BRUMMER_INSTANCES_DIR"]).glob("shop-*.json")
    async with async_playwright() as playwright, _page_address(place) as address:
        browser = await playwright.chromium.launch(executable_path=chromium_path(), args=FLAGS)
        try:
            page = await browser.new_page()
            await page.goto(f"{address}/{record.stem}/{place.script}")
            await page.locator("#typed").wait_for()
            yield _OnPage(page)
        finally:
            await browser.close()


@contextlib.asynccontextmanager
async def _page_address(place: Place) -> AsyncIterator[str]:
    server = await asyncio.create_subprocess_exec(
        BRUM, "web", cwd=place.directory, env=place.environment, stdout=asyncio.subprocess.PIPE
    )
    assert server.stdout is not None
    try:
        async with asyncio.timeout(WAIT_S):
            address = (await server.stdout.readline()).decode().strip()
        yield address
    finally:
        server.terminate()
        await server.wait()


TYPISTS: Final[dict[str, Typist]] = {
    "agent": agent,
    "brum attach": attached,
    "the view": in_view,
    "the page": on_page,
}


async def typed_to(program: Program, typist: Typist, folder: Path, node: Path | None) -> None:
    """Start the program, and answer all that it asks. Raises AssertionError if something is not as it should be."""
    environment = {name: value for name, value in os.environ.items() if name != "CI"}  # Vite takes no keys there
    environment["BRUMMER_INSTANCES_DIR"] = str(folder / "instances")
    environment["PYTHONUNBUFFERED"] = "1"
    if node is not None:
        environment["PATH"] = f"{node.parent}{os.pathsep}{environment['PATH']}"
    directory = folder / "shop"
    directory.mkdir()
    for name, content in program.files.items():
        (directory / name).write_text(content)
    command = [part.replace("MODULES", str(FRAMEWORKS)).replace("NODE", str(node)) for part in program.command]
    (directory / ".brum.toml").write_text(
        f"[scripts.dev]\ncommand = {json.dumps(command)}\nterminal = {str(program.has_terminal).lower()}\n"
    )
    if program.prepare:
        await asyncio.to_thread(subprocess.run, program.prepare, cwd=directory, check=True, env=environment)
    with _instance(directory, environment):
        await asyncio.to_thread(_brum, "up", "--no-wait", "dev", cwd=directory, env=environment)
        async with typist(Place(directory, environment, "dev")) as hands:
            for step in program.steps:
                await hands.says(step.says)
                if step.types is not None:
                    await hands.types(step.types)
    kept = [path for path in folder.rglob("*") if path.is_file() and SECRET.encode() in path.read_bytes()]
    assert kept == [], "no journal, log or record has the password"
    program.check(directory)


@contextlib.contextmanager
def _instance(directory: Path, environment: dict[str, str]) -> Iterator[None]:
    _brum("up", cwd=directory, env=environment, statuses=(0, 5))
    try:
        yield
    finally:
        _brum("down", cwd=directory, env=environment, statuses=(0, 1, 3))


def _brum(*arguments: str, cwd: Path, env: dict[str, str], statuses: tuple[int, ...] = (0,)) -> str:
    done = subprocess.run(
        [BRUM, *arguments],
        cwd=cwd,
        env=env,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode in statuses, done.stderr
    return done.stdout
