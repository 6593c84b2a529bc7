"""What a view knows, and a hub and a command line as it uses them, which a test fills with answers."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import UTC, datetime
from typing import Any

from brummer.core.errors import BrummerError
from brummer.core.supervisor import Supervisor
from brummer.views.model import Answer, Now, ViewedInstanceFacts, ViewModel
from brummer.views.sentences import LogFacts
from brummer.views.source import AskFailed, Source

AT = datetime(2026, 11, 30, 21, 28, 30, tzinfo=UTC)
NOW = Now(100.0, AT)
FOLLOWING = LogFacts(has_answer=True)
SHOP = "shop-1"

Asked = tuple[str, dict[str, Any]]


def facts(name: str = "shop", state: str = "ready", since_s: float = 3.0) -> ViewedInstanceFacts:
    return ViewedInstanceFacts(f"{name}-1", name, f"/home/ann/{name}", state, since_s)


def process(name: str, status: str = "ready", **members: Any) -> dict[str, Any]:
    return {"name": name, "status": status, "process_id": f"{name}-1", "urls": [], **members}


def line(n: int, text: str = "", script: str = "dev", **members: Any) -> dict[str, Any]:
    at = f"2026-11-30T21:{n // 60 % 60:02}:{n % 60:02}.000Z"
    return {"n": n, "at": at, "process": script, "stream": "stdout", "text": text or f"line {n}", **members}


def error(title: str, n: int = 7, script: str = "dev", **members: Any) -> dict[str, Any]:
    change = {"kind": "error", "process": script, "process_id": f"{script}-1", "title": title, "first_n": n}
    return {**change, "at": "2026-11-30T21:28:28Z", "count": 1, "where": "serve.py:10", **members}


def world(*processes: dict[str, Any], scripts: tuple[str, ...] = (), **members: Any) -> ViewModel:
    """One project, in which these run."""
    found = ViewModel(own=SHOP)
    found.take_instances([facts(**members)], NOW)
    found.take_scripts(SHOP, {"scripts": [{"name": name} for name in scripts]})
    found.take_processes(SHOP, {"processes": list(processes)})
    return found


def shown(found: ViewModel, **how: bool) -> list[str]:
    """The rows as text."""
    lines = []
    for project in found.rows(**how):
        lines.append(" ".join(filter(None, (project.row.name, project.row.note))))
        for row in project.scripts:
            count = f"{row.errors}!" if row.errors else ""
            lines.append(" ".join(filter(None, (f"  {row.sign} {row.name}", row.port, count))))
    return lines


class FakeInstance:
    """What one instance answers. `news` ends a wait for changes, `lines_came` one for lines."""

    def __init__(self, *processes: dict[str, Any], scripts: Sequence[str] = ()) -> None:
        self.processes = list(processes)
        self.scripts = list(scripts) or [str(each["name"]) for each in processes]
        self.changes: list[dict[str, Any]] = []
        self.lines: list[dict[str, Any]] = []
        self.usage: list[dict[str, Any]] = []
        self.news = asyncio.Event()
        self.lines_came = asyncio.Event()
        self.black_box = False
        self.error: AskFailed | None = None
        self.hangs = False
        self.generation = "g"
        self.gate: asyncio.Event | None = None
        """Nothing gets to it before this is set."""
        self.unknown: set[str] = set()
        """Arguments that it does not know."""
        self.dropped = 0

    def change(self, *changes: dict[str, Any]) -> None:
        self.changes += changes
        self.news.set()

    def say(self, *lines: dict[str, Any]) -> None:
        self.lines += lines
        self.lines_came.set()

    def say_up_to(self, n: int) -> None:
        last = self.lines[-1]["n"] if self.lines else 0
        self.say(*(line(each) for each in range(last + 1, n + 1)))

    async def answer(self, tool: str, given: dict[str, Any]) -> Answer:
        if self.hangs:
            await asyncio.Event().wait()
        if self.error:
            raise self.error
        if wrong := sorted(self.unknown & given.keys()):
            raise AskFailed(f"unknown field `{wrong[0]}`", "invalid_arguments", wrong[0])
        answer: Answer = await getattr(self, f"_{tool}")(given)
        return {**answer, "from": "black box"} if self.black_box else answer

    async def _changes_since(self, given: dict[str, Any]) -> Answer:
        done = self._after(given)
        if given.get("wait_s") and done == len(self.changes) and not self.black_box:
            self.news.clear()
            await self.news.wait()
        reset = {"cursor_reset": True} if self._is_of_another_run(given) else {}
        return {"changes": self.changes[done:], "cursor": f"{self.generation}.{len(self.changes)}", **reset}

    async def _scripts_list(self, _: dict[str, Any]) -> Answer:
        return {"scripts": [{"name": name} for name in self.scripts]}

    async def _scripts_status(self, _: dict[str, Any]) -> Answer:
        return {"processes": self.processes}

    async def _logs_tail(self, given: dict[str, Any]) -> Answer:
        after = self._after(given)
        if given.get("wait_s") and not self._of(given, after) and not self.black_box:
            self.lines_came.clear()
            await self.lines_came.wait()
            after = self._after(given)
        if given.get("process") not in {None, *(each["name"] for each in self.processes)}:
            raise AskFailed(f"no process {given['process']!r} has run", "not_found")
        return self._page(given, after)

    async def _logs_search(self, given: dict[str, Any]) -> Answer:
        return self._page(given, self._after(given))

    def _page(self, given: dict[str, Any], after: int) -> Answer:
        found, limit = self._of(given, after), int(given["limit"])
        cursor = f"{self.generation}.{self.lines[-1]['n'] if self.lines else 0}"
        if (before := given.get("before")) is not None:
            if self._is_of_another_run(given):
                return {"lines": [], "cursor": cursor, "cursor_reset": True}
            found = [each for each in self._of(given, 0) if each["n"] < before]
            return {"lines": found[-limit:], "more": len(found) > limit, "cursor": cursor}
        dropped, self.dropped = self.dropped, 0
        more = {"cursor_reset": True} if self._is_of_another_run(given) else {"dropped": dropped} if dropped else {}
        if given.get("cursor") is None:
            return {"lines": found[-limit:], "omitted": max(0, len(found) - limit), "cursor": cursor, **more}
        if len(found) > limit:
            more |= {"more": True}
            cursor = f"{self.generation}.{found[limit - 1]['n']}"
        return {"lines": found[:limit], "cursor": cursor, **more}

    def _of(self, given: dict[str, Any], after: int) -> list[dict[str, Any]]:
        process, level, query = given.get("process"), given.get("level"), given.get("query", "")
        return [
            each
            for each in self.lines
            if each["n"] > after
            and process in {None, each["process"]}
            and level in {None, each.get("level")}
            and query in each["text"]
        ]

    def _is_of_another_run(self, given: dict[str, Any]) -> bool:
        return given.get("cursor") is not None and not given["cursor"].startswith(f"{self.generation}.")

    def _after(self, given: dict[str, Any]) -> int:
        if given.get("cursor") is None or self._is_of_another_run(given):
            return 0
        return int(given["cursor"].rpartition(".")[2])

    async def _acted(self, given: dict[str, Any]) -> Answer:
        return next(
            (each for each in self.processes if each["name"] == given["name"]), process(given["name"], "running")
        )

    _scripts_run = _scripts_stop = _scripts_restart = _acted

    async def _scripts_usage(self, _: dict[str, Any]) -> Answer:
        return {"scripts": self.usage}

    async def _scripts_input(self, _: dict[str, Any]) -> Answer:
        return {"written": 1}


class FakeHub:
    """A `Backend`: its instances, its problems, and what was asked of it."""

    def __init__(self, **instances: FakeInstance) -> None:
        self.supervisor = Supervisor()
        self.instances_by_name = instances
        self.listed = [facts(name) for name in instances]
        self.of_hub: list[Answer] = []
        self.asked: list[Asked] = []
        self._listeners: list[Callable[[], None]] = []

    async def ask(self, tool: str, /, **arguments: object) -> Answer:
        given = {name: value for name, value in arguments.items() if value is not None}
        instance = self.instances_by_name[str(given.pop("instance")).removesuffix("-1")]
        if tool == "instance_call":
            tool, inner = str(given["tool"]), given["arguments"]
            assert isinstance(inner, dict)
            given = inner
        if instance.gate:
            await instance.gate.wait()
        self.asked.append((tool, given))
        return await instance.answer(tool, given)

    def instances(self) -> list[ViewedInstanceFacts]:
        return self.listed

    def problems(self) -> list[Answer]:
        return self.of_hub

    def listen(self, listener: Callable[[], None]) -> Callable[[], None]:
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def now_is(self, *listed: ViewedInstanceFacts) -> None:
        """Links have moved."""
        self.listed = list(listed)
        for listener in self._listeners:
            listener()

    def calls(self, *tools: str) -> list[Asked]:
        """Those of these tools; without any, those that change something."""
        wanted = tools or ("scripts_run", "scripts_stop", "scripts_restart", "scripts_input")
        return [each for each in self.asked if each[0] in wanted]


class FakeOutside:
    """An `OutsideHelp`: what `brum up` would start, and what was done."""

    def __init__(self, *scripts: str) -> None:
        self.scripts = scripts
        self.done: list[tuple[str, ...]] = []
        self.error: BrummerError | None = None
        self.of_hubs: list[Answer] = []

    async def scripts_to_start(self, whose: ViewedInstanceFacts) -> Sequence[str]:
        return self.scripts

    async def start(self, whose: ViewedInstanceFacts, scripts: Sequence[str]) -> None:
        self._do("start", whose.directory, *scripts)

    async def end(self, instance: str) -> None:
        self._do("end", instance)

    async def hubs(self) -> list[Answer]:
        return self.of_hubs

    async def page_address(self) -> str:
        if self.error:
            raise self.error
        return "http://127.0.0.1:7/#once"

    def _do(self, *what: str) -> None:
        if self.error:
            raise self.error
        self.done.append(what)


@contextlib.asynccontextmanager
async def following(hub: FakeHub, outside: FakeOutside | None = None) -> AsyncIterator[Source]:
    found = Source(hub, ViewModel(own=SHOP), outside or FakeOutside(), b"environment")
    found.start()
    try:
        yield found
    finally:
        found.close()
        await hub.supervisor.close()


async def until(holds: Callable[[], bool]) -> None:
    """Let the loop turn until it holds."""
    async with asyncio.timeout(20):
        while not holds():
            await asyncio.sleep(0)


async def settle() -> None:
    """Let everything come to rest that does not wait for a timer."""
    for _ in range(50):
        await asyncio.sleep(0)


def has_all(found: Source) -> bool:
    """Every instance has answered."""
    known = found.model.instances.values()
    return bool(known) and all(each.has_answered for each in known)
