"""The calls that an instance answers, as one table. Each can be cancelled at any time: its wait ends, but a process
that it started keeps running, because clients give up after seconds and then ask again. A run is stopped with the call
that started it only if the call waits for the run's end, and not if its client has merely disconnected.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from functools import cache, partial
from types import ModuleType
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from brummer.contract.tools import (
    INSTANCE_TOOLS,
    AskedBy,
    ChangesSince,
    PagedList,
    PickProcess,
    ReadLogs,
    RestartScript,
    RunScript,
    ScriptsStatus,
    ScriptsUsage,
    StopProcess,
    TypeIn,
    WaitFor,
    renderer,
)
from brummer.core.errors import BrummerError, InvalidArguments
from brummer.discovery.record import displayable
from brummer.host.clocks import wall
from brummer.host.patterns import meter_of_call
from brummer.instance.black_box import Past
from brummer.instance.detect import Script
from brummer.instance.environment import Environment, unpacked
from brummer.instance.manager import Manager, Until
from brummer.instance.run import Run
from brummer.instance.scripts import ScriptList, unknown
from brummer.logs.entries import twice_encoded
from brummer.logs.text import shortened
from brummer.wire.mcp.server import CLIENT_GONE
from brummer.wire.mcp.tool_results import BUDGET_BYTES, ENVELOPE_BYTES
from brummer.wire.mcp.tools import CallContext, Tool

if TYPE_CHECKING:
    pass

_log = logging.getLogger(__name__)

PROGRESS_EVERY_S = 3.0
"""Well inside the idle deadline that clients give a silent call."""
LAST_LINES = 20
LAST_LINE_LENGTH = 500
"""The last lines of a build must not cost an agent more than 10 KB; the logs have all of their text."""

CLIENT_LENGTH = 80
"""Of the name and version of an agent, in a line of a log."""
SOME_AGENT = "an agent"
"""Whoever calls without a name: a client of the instance itself, or the hub of an earlier version."""

Answer = dict[str, Any]
T = TypeVar("T")


class StillStopping(BrummerError):
    """A start was requested while the script was being stopped, and the stop took longer than the caller's
    ``timeout_s``.
    """

    code = "still_stopping"
    transient = True


def instance_tools(manager: Manager, scripts: ScriptList, past: Past | None = None) -> list[Tool]:
    """The instance's tools in the contract's order, working on these."""
    calls = _Calls(manager, scripts, past)
    functions: dict[str, Callable[[Any, CallContext], Awaitable[object]]] = {
        "scripts_list": calls.list_scripts,
        "scripts_run": calls.run,
        "scripts_stop": calls.stop,
        "scripts_restart": calls.restart,
        "scripts_status": calls.status,
        "logs_tail": calls.lines,
        "logs_search": calls.lines,
        "wait_for": calls.wait_for,
        "changes_since": calls.changes_since,
        "scripts_usage": calls.usage,
        "scripts_input": calls.type_in,
    }
    return [
        Tool(row.as_instance_tool(), row.arguments, functions[row.name], renderer(row.name), ("instance",))
        for row in INSTANCE_TOOLS
    ]


class _Calls:
    def __init__(self, manager: Manager, scripts: ScriptList, past: Past | None) -> None:
        self._manager = manager
        self._scripts = scripts
        self._past = past
        self._acting: set[asyncio.Task[Any]] = set()

    async def list_scripts(self, wanted: PagedList, _context: CallContext) -> Answer:
        """Problems of the project's files come first."""
        from brummer.contract.paging import ListEntry, key_of  # noqa: PLC0415 - no start needs it

        listing = await asyncio.to_thread(self._scripts.read)
        problems = [
            ListEntry(key_of(0, f"{each.source}:{each.line or 0:06}"), "problems", msgspec.structs.asdict(each))
            for each in listing.problems
        ]
        scripts = [ListEntry(key_of(1, name), "scripts", _shown(script)) for name, script in listing.listed.items()]
        answer: Answer = _paging().listed("scripts_list", [*problems, *scripts], wanted.cursor)
        return answer

    async def run(self, wanted: RunScript, context: CallContext) -> Answer:
        """A live run is returned even if its script has vanished from the files meanwhile."""
        run = self._manager.current(wanted.name)
        if run and not run.has_ended and run.state != "stopping" and run.restart_at_s is None:
            script = run.script
        else:
            script = await asyncio.to_thread(self._scripts.find, wanted.name)
        until_s = asyncio.get_running_loop().time() + wanted.timeout_s
        given = self._given(wanted.environment)
        run, already = await self._ensured(script, wanted, given, context)
        rest_s = max(0.0, until_s - asyncio.get_running_loop().time())
        by = _who_asks(wanted.asked_by, context)
        with contextlib.nullcontext() if already else self._ending_with_its_call(_done(run), wanted.wait, by):
            answer = await self._until(run, wanted.wait, rest_s, context)
        return {**answer, "already_running": already, **_age_of_environment(run, given), **self._at()}

    async def _ensured(
        self, script: Script, wanted: RunScript, given: Environment | None, context: CallContext
    ) -> tuple[Run, bool]:
        try:
            with _progress(context, wanted.timeout_s, f"{script.name}: waiting until the run before has stopped"):
                async with asyncio.timeout(wanted.timeout_s):
                    ends, by = wanted.wait == "exit", _who_asks(wanted.asked_by, context)
                    return await self._manager.ensure(script, environment=given, input_ends=ends, by=by)
        except TimeoutError:
            raise StillStopping(
                f"{script.name} was not started: the run before has not stopped within {wanted.timeout_s:g} s",
                name=script.name,
            ) from None

    def _given(self, packed: bytes | None) -> Environment | None:
        return None if packed is None else self._manager.environment_of(unpacked(packed))

    async def stop(self, wanted: StopProcess, context: CallContext) -> Answer:
        run = await self._picked(wanted)
        if isinstance(run, Script):
            raise InvalidArguments(f"{run.name} was never started by this instance", name=run.name)
        with _progress(context, run.latest.script.stop_timeout_s, f"{run.name}: stopping"):
            already = await self._manager.stop(run, wanted.asked_by, _who_asks(wanted.asked_by, context))
        return {**_facts(run.latest), "already_stopped": already, **self._at()}

    async def type_in(self, wanted: TypeIn, _context: CallContext) -> Answer:
        """Type to a run that waits for input. Written at once or not at all, so that no cancellation can tear it."""
        run = await self._picked(wanted)
        if isinstance(run, Script):
            raise InvalidArguments(
                f"{run.name} was never started by this instance; scripts_run starts it", name=run.name
            )
        return {"process_id": run.process_id, "written": self._manager.type_to(run, wanted), **self._at()}

    async def restart(self, wanted: RestartScript, context: CallContext) -> Answer:
        """With the script as it is in the files now, if it is still there."""
        picked = await self._picked(wanted)
        script = picked.script if isinstance(picked, Run) else picked
        if isinstance(picked, Run) and picked.latest is not self._manager.current(picked.name):
            raise InvalidArguments(f"{picked.process_id} is an earlier run of {picked.name}", name=picked.name)
        listing = await asyncio.to_thread(self._scripts.read)
        lived = isinstance(picked, Run) and not picked.latest.has_ended
        script, given = listing.scripts.get(script.name, script), self._given(wanted.environment)
        by, ends = _who_asks(wanted.asked_by, context), wanted.wait == "exit"
        restarting = self._carry_through(self._manager.restart(script, environment=given, input_ends=ends, by=by))
        with self._ending_with_its_call(restarting, wanted.wait, by):
            try:
                run = await asyncio.shield(restarting)
                answer = await self._until(run, wanted.wait, wanted.timeout_s, context)
                return {**answer, **_age_of_environment(run, given), **self._at()}
            except BrummerError as error:
                if lived:  # it was stopped, though it could not be started
                    error.outcome = "failed"
                raise

    async def status(self, wanted: ScriptsStatus, _context: CallContext) -> Answer:
        """Without a name the latest run of each script, failed ones first; with a name every remembered run of it,
        newest first, and runs of earlier generations last.
        """
        answer: Answer
        if self._manager.prints_an_error:  # agents ask this most, and a coroutine that finds nothing takes 1 µs
            await self._manager.errors_settled()
        if self._manager.runs_now:
            await self._manager.usage.measure()
        if wanted.name is None:
            found = [_facts(run) for run in self._manager.current_runs()]
            answer = _paging().latest_processes(found, wanted.cursor, self._manager.cursor(), now_s=wall())
            return answer
        runs = [_facts(run) for run in self._runs(wanted.name)]
        past = await self._past.processes(wanted.name) if self._past else []
        if not runs and not past:
            await self._check_process(wanted.name)
        answer = _paging().processes_of_one([*runs, *past], wanted.cursor, self._manager.cursor())
        return answer

    def _runs(self, process: str) -> list[Run]:
        """By name all of them, the latest first; else by id that very run."""
        found = self._manager.find(process)
        if found is None or found.name != process:
            return [found] if found else []
        return [run for run in reversed(self._manager.runs()) if run.name == process]

    async def usage(self, wanted: ScriptsUsage, _context: CallContext) -> Answer:
        """Of the latest run of each script, those that run first."""
        if wanted.name is None:
            runs = sorted(self._manager.current_runs(), key=lambda run: run.has_ended)
        else:
            picked = await self._picked(PickProcess(wanted.name))
            runs = [picked] if isinstance(picked, Run) else []
        answer: Answer = await self._manager.usage.answer(runs, wanted.since)
        return answer

    async def lines(self, wanted: ReadLogs, _context: CallContext) -> Answer:
        """For logs_tail and, with `SearchLogs`, for logs_search."""
        if wanted.level is not None:  # a stack trace belongs to its error once its last line has come
            await self._manager.errors_settled()
        if past := await self._past_of(wanted.process):
            return _lines(await past.lines(wanted))
        process, now = await self._process(wanted.process), wall()
        answer = _read_log(self._manager, wanted, process, now)
        if wanted.wait_s and wanted.before is None and not answer["lines"] and "cursor_reset" not in answer:
            from brummer.instance.news import until_line  # noqa: PLC0415 - no start needs it

            if await until_line(self._manager, wanted, process, now) and wanted.level is not None:
                await self._manager.errors_settled()
            answer = _read_log(self._manager, wanted, process, now)
        return _lines(answer)

    async def wait_for(self, wanted: WaitFor, context: CallContext) -> Answer:
        from brummer.instance.waiting import Waiting  # noqa: PLC0415 - no start needs it

        if wanted.log is None and not (wanted.port or wanted.ready or wanted.exit):
            raise InvalidArguments("wait_for needs at least one of log, ready, exit and port")
        if wanted.process is not None:
            await self._check_process(wanted.process)
        with _progress(context, wanted.timeout_s, f"waiting for {wanted.process or 'any process'}"):
            waiting = Waiting(self._manager, wanted)
            match = await waiting.result()
            await self._manager.errors_settled()
            answer: Answer = msgspec.to_builtins(waiting.with_errors(match))
            return answer

    async def changes_since(self, wanted: ChangesSince, _context: CallContext) -> Answer:
        await self._manager.errors_settled()
        log, left_bytes = self._manager.changes.log, BUDGET_BYTES - ENVELOPE_BYTES
        page = log.read(wanted.cursor, wanted.limit, limit_size=left_bytes, size_of=twice_encoded)
        if wanted.wait_s and not page.entries and not page.cursor_reset:
            last_n = log.last_n
            await self._manager.changes.until(lambda: log.last_n > last_n, wanted.wait_s)
            page = log.read(wanted.cursor, wanted.limit, limit_size=left_bytes, size_of=twice_encoded)
        return {"changes": msgspec.to_builtins(page.entries), **page.position()}

    def _at(self) -> Answer:
        """The place in output and changes at which an answer is made."""
        return {"cursor": self._manager.cursor()}

    def _carry_through(self, action: Coroutine[Any, Any, T]) -> "asyncio.Task[T]":
        """An action of several steps, which continues when the call that began it is cancelled."""
        task = asyncio.create_task(action)
        self._acting.add(task)
        task.add_done_callback(self._acted)
        return task

    def _acted(self, task: "asyncio.Task[Any]") -> None:
        self._acting.discard(task)
        if not task.cancelled():
            task.exception()  # retrieved even if its call was cancelled; otherwise asyncio logs a complaint

    @contextlib.contextmanager
    def _ending_with_its_call(self, begun: "asyncio.Future[Run]", wait: Until, by: str) -> Iterator[None]:
        """A cancelled call only ends its wait. It stops a run only if it waits for the run's end. ``by``: who calls.

        The cancellation does not wait for that stop.
        """
        try:
            yield
        except asyncio.CancelledError as error:
            if wait == "exit" and CLIENT_GONE not in error.args:
                self._carry_through(self._stop(begun, by))
            raise

    async def _stop(self, begun: "asyncio.Future[Run]", by: str) -> None:
        try:
            await self._manager.stop(await begun, "cancelled call", by)
        except BrummerError as error:
            _log.warning("a run whose call was cancelled: %s", error)

    async def _until(self, run: Run, until: Until, timeout_s: float, context: CallContext) -> Answer:
        await self._manager.prepared(run)
        listens = await self._listens(run) if until == "ready" else None
        if listens is not False:
            with _progress(context, timeout_s, f"{run.name}: waiting for {until}"):
                await self._manager.until(run, until, timeout_s)
        await self._manager.errors_settled()
        if until == "ready":
            run = run.latest
            await self._manager.find_port_owner(run)
        if until != "none" and run.start_error:
            raise run.start_error
        says_enough = until == "none" or (until == "ready" and run.state == "ready")
        last = [] if says_enough else self._manager.last_lines(run, LAST_LINES)
        answer = {**_facts(run), "last_lines": [shortened(text, LAST_LINE_LENGTH) for text in last]}
        if until == "ready" and run.state != "ready" and not run.has_ended:
            from brummer.instance.listening import why_not_ready  # noqa: PLC0415 - no start needs it

            answer |= {"ready": False, "why": why_not_ready(run, wall(), listens=listens, has_printed=bool(last))}
        elif until == "exit":
            answer |= _about_input(run, last)
        return answer

    async def _listens(self, run: Run) -> bool | None:
        """Whether its script does, judged by this run and earlier ones; None if that is not known, or if it has a
        `ready` setting.
        """
        if run.script.ready or run.latest.state == "ready":
            return None
        from brummer.instance.listening import listened, listens  # noqa: PLC0415 - no start needs it

        runs = [each for each in self._runs(run.name) if each.state != "pending"]
        known = listens(listened(each.ready_at, each.started_at, each.ended_at, wall()) for each in runs)
        if known is not None or self._past is None:
            return known
        try:
            past = await self._past.processes(run.name)
        except (BrummerError, OSError):  # a black box that can't be read is no reason to fail what has been started
            return None
        return listens(listened(each.get("ready_at"), each["started_at"], each.get("ended_at"), None) for each in past)

    async def _picked(self, wanted: PickProcess) -> Run | Script:
        """The run that was meant; the script itself when it has never run."""
        if wanted.process_id is not None:
            by_id = {run.process_id: run for run in self._manager.runs()}
            if (run := by_id.get(wanted.process_id)) is None:
                raise unknown("process", wanted.process_id, list(by_id))
            if wanted.name not in (None, run.name):
                raise InvalidArguments(f"{wanted.process_id} is a run of {run.name}, not of {wanted.name}")
            return run
        if wanted.name is None:
            raise InvalidArguments("name or process_id is needed")
        if current := self._manager.current(wanted.name):
            return current
        return await asyncio.to_thread(self._scripts.find, wanted.name)

    async def _check_process(self, process: str) -> None:
        """It has run, or could. Raises NotFound."""
        if self._manager.find(process) is None:
            await asyncio.to_thread(self._scripts.find, process)

    async def _past_of(self, process: str | None) -> Past | None:
        """The reader of earlier generations if a run of one is meant (``dev-1@GENERATION``)."""
        if self._past is None or process is None or "@" not in process or self._manager.find(process) is not None:
            return None
        return self._past if await self._past.processes(process) else None

    async def _process(self, process: str | None) -> Run | str | None:
        """The run of an id, or the name whose runs are all meant."""
        if process is None:
            return None
        await self._check_process(process)
        run = self._manager.find(process)
        return run if run is not None and run.process_id == process else process


def _about_input(run: Run, last_lines: Sequence[str]) -> Answer:
    """Of a run whose end was waited for: that it asks something, or has failed because it could not."""
    from brummer.instance.input_hints import INPUT_ENDED, asking, asks, failed_for_want_of_input  # noqa: PLC0415 - as above

    if asking([run]):
        return {"why": asks(run)}
    return {"why": INPUT_ENDED} if failed_for_want_of_input(run, last_lines) else {}


def _who_asks(asked_by: AskedBy, context: CallContext) -> str:
    """In words for people. The texts of an agent are its own, and go to terminals."""
    if asked_by != "call":
        return asked_by
    return displayable(context.client.strip())[:CLIENT_LENGTH] or SOME_AGENT


def _age_of_environment(run: Run, given: Environment | None) -> Answer:
    """From when the environment is in which a run was started, if it is older than the call."""
    started_in = run.surroundings.environment
    return {} if given and started_in.is_that_of(given) else {"environment_from": started_in.since}


def _done(run: Run) -> "asyncio.Future[Run]":
    begun: asyncio.Future[Run] = asyncio.get_running_loop().create_future()
    begun.set_result(run)
    return begun


@contextlib.contextmanager
def _progress(context: CallContext, total_s: float, message: str) -> Iterator[None]:
    """Report the seconds waited at intervals, so that no client takes the silence for a failure."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    timer: asyncio.TimerHandle

    def report() -> None:
        nonlocal timer
        timer = loop.call_later(PROGRESS_EVERY_S, report)
        context.report_progress(round(loop.time() - began, 1), total_s, message)

    timer = loop.call_later(PROGRESS_EVERY_S, report)
    try:
        yield
    finally:
        timer.cancel()


def _joined(arguments: Sequence[str]) -> str:
    import shlex  # noqa: PLC0415 - no start needs it

    return shlex.join(arguments)


def _shown(script: Script) -> Answer:
    command = script.command if isinstance(script.command, str) else _joined(script.command)
    shown: Answer = {"name": script.name, "command": command, "source": script.source, "directory": script.directory}
    if script.autostart:
        shown["autostart"] = True
    if script.ready:
        shown["ready"] = {how: value for how, value in msgspec.structs.asdict(script.ready).items() if value}
    return shown


@cache
def _paging() -> ModuleType:
    from brummer.contract import paging  # noqa: PLC0415 - no start needs it

    return paging


def _lines(answer: Answer) -> Answer:
    from brummer.contract.texts import compact  # noqa: PLC0415 - no start needs it

    return compact(answer)


def _facts(run: Run) -> Answer:
    facts: Answer = msgspec.to_builtins(run.status())
    return facts


def _read_log(manager: Manager, arguments: ReadLogs, process: Run | str | None, now: float) -> Answer:
    """The answer of logs_tail or logs_search. ``process`` is one run, or the name of a script whose runs are all meant.
    ``now`` in seconds since the epoch. Raises InvalidArguments, also for an expression that is invalid or too slow.
    """
    from brummer.logs import query  # noqa: PLC0415 - no start needs it

    wanted, log = query.wanted_by(arguments), manager.output.log
    name, since_n = (process.name, process.first_n) if isinstance(process, Run) else (process, 0)
    filters: list[query.Holds] = [process.owns] if isinstance(process, Run) else []
    read = partial(query.answer, log, wanted, now, manager.output.levels, process=name, since_n=since_n)
    if not wanted.regex:
        return read(filters)
    meter = meter_of_call(wanted.query, "query")
    matches = meter.pattern.matches
    return meter.search(len(log), log.size_bytes, lambda: read([*filters, lambda line: matches(line.text)]))
