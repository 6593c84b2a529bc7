"""One instance on one page: manager + server + registrar.

Start: take the life lock (a second run is refused here), listen, end what a killed predecessor has left, serve, and
only then publish the record: its readers can call at once. Stop, in the opposite order: withdraw the record, stop
serving, stop the processes; the next run of the same project waits for the last step.
"""

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from brummer import __version__
from brummer.contract.tools import COMMAND_LINE, READ_ONLY
from brummer.core.errors import BrummerError
from brummer.core.lost_calls import LOST_CALL_GRACE_S
from brummer.core.memory import Memory
from brummer.core.supervisor import Supervisor
from brummer.discovery.directory import black_box_directory, instances_directory
from brummer.discovery.record import NAME_LENGTH, TROUBLES, Record, Trouble, displayable, instance_id_for
from brummer.discovery.registrar import Registrar, describe_self, last_port
from brummer.host.clocks import elapsed
from brummer.host.descriptors import descriptor_limit, prepare_descriptors_of_instance
from brummer.host.memory import give_back, resident_bytes, trim
from brummer.host.threads import start_all_threads
from brummer.instance import ports
from brummer.instance.black_box import BlackBoxWriter, Past
from brummer.instance.counting import FAMILIES_PATH, CountedCalls, Counting
from brummer.instance.keyed_calls import KeyedCalls
from brummer.instance.ledger import Ledger
from brummer.instance.leftovers import succession
from brummer.instance.manager import Manager
from brummer.instance.scripts import ScriptList
from brummer.instance.tools import instance_tools
from brummer.logs.output import Output
from brummer.process.guard import Guard
from brummer.settings.limits import DEFAULTS, Limits
from brummer.wire.http.server import Exchange, HttpRequest, HttpServer, ServerLimits
from brummer.wire.mcp import eras, identity
from brummer.wire.mcp.server import McpServer, ToolServer
from brummer.wire.mcp.streamable_http import StreamableHttp
from brummer.wire.mcp.tools import Tool, ToolTable

if TYPE_CHECKING:
    from brummer.core.metrics import Family

ATTACH_PATH: Final = b"/attach"
"""`brummer.contract.attaching.PATH`, which only who attaches needs to load."""
INSTRUCTIONS: Final = (
    "Runs the scripts of one project. scripts_run makes sure that a script runs; wait_for beats polling."
)


class Options(msgspec.Struct, frozen=True):
    """The options of the command line. ``port`` None: this project's previous one, else the first free one.

    ``started_by``: the agent for which it was started, if that is so.
    """

    project: Path
    port: int | None = None
    name: str | None = None
    started_by: str | None = None


class Instance:
    """A serving instance. Made by `running_instance`."""

    def __init__(
        self, record: Record, manager: Manager, scripts: ScriptList, counting: Counting, supervisor: Supervisor
    ) -> None:
        self._counting = counting
        self._supervisor = supervisor
        self.record = record
        self.manager = manager
        self.scripts = scripts

    async def families(self) -> "list[Family]":
        """Its metrics, now."""
        return await _families(self._counting)

    def when_idle(self, idle_s: float, end: Callable[[], None]) -> None:
        """Call ``end`` after ``idle_s`` in which no script ran and no call came."""
        from brummer.instance.idle import Signs, until_idle  # noqa: PLC0415 - only for instances that agents start

        calls, manager = self._counting.calls, self.manager
        signs = Signs(lambda: manager.is_busy or calls.running > 0, lambda: calls.count, manager.has_daemons)

        async def ends() -> None:
            await until_idle(idle_s, signs)
            end()

        self._supervisor.start("end when idle", ends, may_end=True)

    async def start_scripts(self, names: Iterable[str], *, autostart: bool = True) -> list[BrummerError]:
        """Start each, and with ``autostart`` those that have it set. Returns the errors: one bad script must not
        stop the others.
        """
        problems: list[BrummerError] = []
        named, listing = list(names), await asyncio.to_thread(self.scripts.read)
        automatic = [script.name for script in listing.scripts.values() if script.autostart and autostart]
        for name in dict.fromkeys([*automatic, *named]):
            try:
                is_known = name in listing.scripts
                script = listing.scripts[name] if is_known else await asyncio.to_thread(self.scripts.find, name)
                await self.manager.ensure(script, by=COMMAND_LINE if name in named else None)
                await asyncio.sleep(0)  # each start takes a millisecond of the loop
            except BrummerError as error:
                problems.append(error)
        return problems


@contextlib.asynccontextmanager
async def running_instance(
    options: Options, environ: Mapping[str, str], *, limits: Limits = DEFAULTS, further_tools: Iterable[Tool] = ()
) -> AsyncIterator[Instance]:
    """An instance that serves and is published while the block runs.

    Raises AlreadyRunning, DirectoryUnusable, PortTaken. ``further_tools`` are served beside its own.
    """
    prepare_descriptors_of_instance()
    project = options.project.resolve()
    generation, token = secrets.token_urlsafe(12), secrets.token_urlsafe(32)
    directory, instance_id = instances_directory(environ), instance_id_for(project, options.name)
    registrar = Registrar(directory, instance_id)
    supervisor = Supervisor()
    guard = Guard(generation)
    guard.start()
    try:
        await registrar.acquire()
        listener = ports.listen(options.port, last_port(directory, instance_id))
        described = describe_self(
            project,
            generation=generation,
            url=f"http://{ports.HOST}:{listener.getsockname()[1]}/mcp",
            token=token,
            name=options.name,
            protocols=eras.SUPPORTED,
        )
        record = msgspec.structs.replace(described, started_by=_shown(options.started_by))
        scripts = ScriptList(project)
        output = Output(generation, max_bytes=limits.output_bytes)
        async with (
            succession(directory, instance_id, generation),
            BlackBoxWriter(record, lambda: black_box_directory(environ), limits) as black_box,
            Manager(
                generation, guard, output=output, find=scripts.find, supervisor=supervisor, open_journal=black_box.open
            ) as manager,
        ):
            past = Past(lambda: black_box_directory(environ) / instance_id, generation)
            tools = ToolTable([*instance_tools(manager, scripts, past), *further_tools])
            ledger = Ledger(
                max_entries=limits.ledger_entries, max_bytes=limits.ledger_bytes, max_age_s=limits.ledger_age_s
            )
            memory = _memory(limits, ledger)
            calls = KeyedCalls(tools, READ_ONLY, ledger, memory.admit)
            counted = CountedCalls(calls)
            counting = Counting(manager, counted, ledger, memory)
            server = _server(record, counted, counting, manager, limits)
            await server.start([listener])
            registrar.find_troubles = partial(_troubles, supervisor, black_box)
            try:
                async with _published(registrar, record, supervisor):
                    yield Instance(record, manager, scripts, counting, supervisor)
            finally:
                await server.close()
                await calls.close()
    finally:
        registrar.unpublish()
        await supervisor.close()
        await guard.close()
        registrar.withdraw()


def _shown(agent: str | None) -> str | None:
    return displayable(agent)[:NAME_LENGTH] if agent else None


@contextlib.asynccontextmanager
async def _published(registrar: Registrar, record: Record, supervisor: Supervisor) -> AsyncIterator[None]:
    await registrar.publish(record)
    await start_all_threads()
    trim()  # loading modules takes memory for a moment, and an instance runs for hours
    keeping = supervisor.start("keep published", registrar.keep_published)
    try:
        yield
    finally:
        keeping.cancel()
        registrar.unpublish()


def _troubles(supervisor: Supervisor, black_box: BlackBoxWriter) -> tuple[Trouble, ...]:
    """The instance's own faults."""
    found = [Trouble.of(failure.code, f"{failure.name}: {failure.detail}") for failure in supervisor.failures()]
    if black_box.problem is not None:
        found.append(Trouble.of("journal_failed", black_box.problem))
    return tuple(found[:TROUBLES])


def _memory(limits: Limits, ledger: Ledger) -> Memory:
    loop = asyncio.get_running_loop()

    def shed() -> None:
        """A hub that has not come back for a result by now does not come any more."""
        ledger.shed(loop.time(), older_than_s=LOST_CALL_GRACE_S)
        give_back()

    return Memory(limits.memory_soft_bytes, limits.memory_hard_bytes, resident_bytes, shed)


def _server(record: Record, tools: ToolServer, counting: Counting, manager: Manager, limits: Limits) -> HttpServer:
    def prove(request: HttpRequest) -> tuple[int, bytes]:
        return identity.answer(
            record.token,
            record.instance_id,
            record.generation,
            request.target,
            ledger_position=counting.ledger.position,
            clock_s=elapsed(),
        )

    async def tell(_: HttpRequest) -> tuple[int, bytes]:
        return 200, msgspec.json.encode(await _families(counting))

    def proves_token(request: HttpRequest) -> bool:
        shown = request.headers.get(identity.ASKER_HEADER.encode(), b"")
        return identity.asker_is_proven(record.token, request.target, shown)

    async def attach(exchange: Exchange) -> None:
        from brummer.instance.attaching import serve  # noqa: PLC0415 - loaded by the first request

        await serve(exchange, manager)

    mcp = McpServer(tools, name="brummer", version=__version__, instructions=INSTRUCTIONS)
    handler = StreamableHttp(
        mcp,
        token=record.token,
        routes={identity.PATH: prove},
        private_routes={FAMILIES_PATH: tell},
        private_handlers={ATTACH_PATH: attach},
        proves_token=proves_token,
    )
    server_limits = ServerLimits(open_files=descriptor_limit())
    return HttpServer(handler, body_limit_bytes=limits.request_bytes, admit=handler.admit, limits=server_limits)


async def _families(counting: Counting) -> "list[Family]":
    from brummer.instance.metrics import families  # noqa: PLC0415 — loaded by the first request, not at the start

    if counting.manager.runs_now:
        await counting.manager.usage.measure()
    return families(counting)
