"""The hub on one page: registry → links → router → transport, and the monitor beside them.

The registry reports the records in the instances directory. Each instance gets a link, which its own task keeps. The
router finds the link for a call. A transport (stdio or HTTP) takes calls and sends answers. The monitor reports sleeps
and network changes, and recovery then checks the links.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from functools import partial
from itertools import chain
from pathlib import Path

from brummer.core.errors import BrummerError
from brummer.core.supervisor import Supervisor
from brummer.discovery.directory import black_box_directory, instances_directory
from brummer.discovery.events import WITHDRAWN, Appeared, Changed, DirectoryEvent, Gone
from brummer.discovery.registry import Registry
from brummer.health.catalog import Observed
from brummer.health.observe import of_directory, of_supervisor
from brummer.health.status import HubStatus, Status
from brummer.host.directories import DirectoryUnusable
from brummer.host.logind import watch_sleep
from brummer.host.real_system import REAL
from brummer.host.settings_files import read_settings
from brummer.host.system import System
from brummer.host.threads import in_thread_if_possible
from brummer.hub.black_box import BlackBoxes
from brummer.hub.finder import Finder, Start
from brummer.hub.recovery import Recovery
from brummer.hub.router import Router
from brummer.hub.server_info import INSTRUCTIONS, SERVER_INFO
from brummer.hub.shown_page import BrowserPage, PageResource
from brummer.hub.tools import hub_tools
from brummer.network.monitor import MachineEvent, Monitor, Sources
from brummer.network.wake import ClockSet, GoingToSleep
from brummer.peers.instances import Concerns, Instances
from brummer.settings.servers import Server
from brummer.settings.table import NO_FLAGS, Flags, Settings
from brummer.telemetry.event_log import log_events
from brummer.telemetry.metrics import HubMetrics
from brummer.telemetry.traces import TracesUnavailable, tracing
from brummer.wire.mcp.server import McpServer
from brummer.wire.mcp.tools import Tool

_log = logging.getLogger(__name__)


class WorkingDirectoryGone(BrummerError):
    """The directory in which the hub was started does not exist any more."""

    code = "working_directory_gone"

    def __init__(self, path: Path) -> None:
        super().__init__(f"the hub was started in {path}, which is not there any more", path=str(path))


class Hub:
    """Everything behind the transport. Made by `running_hub`."""

    def __init__(  # noqa: PLR0913 — what a hub is made of
        self,
        registry: Registry,
        instances: Instances,
        directory: Path,
        finder: Finder,
        supervisor: Supervisor,
        further_tools: Iterable[Tool] = (),
        system: System = REAL,
        *,
        page: PageResource | None = None,
    ) -> None:
        self._system = system
        self.registry = registry
        self.supervisor = supervisor
        self.instances = instances
        self._clock = clock = system.clock
        self._started_s = clock.elapsed()
        self.recovery = Recovery(instances, self._scan, clock, rng=system.random)
        log_events(instances, self.recovery.timeline)
        self.metrics = HubMetrics(instances, self.recovery.timeline, registry)
        self._status = Status(instances, self.recovery.timeline, clock, directory, system.descriptors)
        self.problems: list[BrummerError] = []
        """Those of the start."""
        self.finder = finder
        self.page = page
        resources = page if page is not None and page.is_listed else None
        own_tools = hub_tools(instances, self.status, self.finder, self.page)
        tools = [*own_tools, *further_tools]
        self.router = Router(instances, tools, finder.black_boxes, finder, with_resources=resources is not None)
        self.server = McpServer(
            self.router,
            **SERVER_INFO,
            instructions=INSTRUCTIONS,
            start_call=self.router.start_call,
            resources=resources,
        )

    async def follow_registry(self) -> None:
        """Pass on the records of the directory, for ever. After a failure it starts with the records of that moment."""
        await self._scan()
        records = self.registry.snapshot()  # includes the event with which passing on failed
        self.instances.keep_only(records)
        for record in records.values():
            self.instances.appeared(record)
        self.instances.scanned()
        self.instances.resolver.rescan = self._scan_all
        async for event in self.registry:
            self.pass_on(event)

    def pass_on(self, event: DirectoryEvent) -> None:
        match event:
            case Appeared(record) | Changed(_, record):
                self.instances.appeared(record)
            case Gone(record, reason):
                self.instances.gone(record, reason, withdrew=reason == WITHDRAWN)

    async def listen_to_logind(self, monitor: Monitor) -> None:
        """Note sleeps that logind announces. Raises LogindUnavailable, which is only shown as a problem."""
        await watch_sleep(lambda: self.on_event(GoingToSleep()), monitor.check_clocks)

    def on_event(self, event: MachineEvent) -> None:
        """The machine slept or woke, this process was not run, or the network changed."""
        self.recovery.on_event(event)
        if not isinstance(event, ClockSet | GoingToSleep):
            for machine in self.instances.machines:
                machine.hint()

    async def _scan_all(self) -> None:
        """Before an instance is reported as missing."""
        await self._scan()
        await self.instances.first_machines()

    async def _scan(self) -> None:
        """Scan now. Events keep their order, so the end of an old run never comes after its successor."""
        await self.registry.scan()
        self.registry.take(self.pass_on)

    def status(self) -> HubStatus:
        uptime_s = self._clock.elapsed() - self._started_s
        of_start = (Observed(each.code, each.message, uptime_s) for each in self.problems)
        of_tasks = of_supervisor(self.supervisor, asyncio.get_running_loop().time())
        return self._status.describe(chain(of_start, of_directory(self.registry), of_tasks))

    def described_metrics(self) -> object:
        """The answer to `brum metrics`."""
        return {"hub": self._system.processes.own_identity(), "families": self.metrics.families()}


MakePage = Callable[[Hub], BrowserPage]


@contextlib.asynccontextmanager
async def running_hub(
    environ: Mapping[str, str],
    working_directory: Path,
    *,
    flags: Flags = NO_FLAGS,
    further_tools: Iterable[Tool] = (),
    concerns: Concerns = lambda _: True,
    start: Start | None = None,
    make_page: MakePage | None = None,
) -> AsyncIterator[Hub]:
    """A hub that watches and links to those it ``concerns``, and leaves nothing behind when the block ends.

    ``flags``: what the command line sets. ``start`` starts an instance for an agent. ``make_page``: None if it has no
    page to show.
    """
    chosen = await in_thread_if_possible(read_settings, working_directory, environ, flags)
    is_there = await in_thread_if_possible(working_directory.is_dir)
    async with hub_on(
        REAL, chosen, environ, working_directory, further_tools, concerns, start=start, make_page=make_page
    ) as hub:
        if not is_there:
            hub.problems.append(WorkingDirectoryGone(working_directory))
        yield hub


@contextlib.asynccontextmanager
async def hub_on(  # noqa: PLR0913, PLR0917 — what a hub is made of
    system: System,
    chosen: Settings,
    environ: Mapping[str, str],
    working_directory: Path,
    further_tools: Iterable[Tool] = (),
    concerns: Concerns = lambda _: True,
    sources: Sources | None = None,
    black_boxes: BlackBoxes | None = None,
    start: Start | None = None,
    make_page: MakePage | None = None,
) -> AsyncIterator[Hub]:
    """As `running_hub`, on this system and with these settings. ``sources``: the sources of its monitor."""
    problems = _problems(chosen)
    supervisor = Supervisor()
    instances = Instances(
        working_directory,
        supervisor=supervisor,
        use_robust_networking=chosen.use_robust_networking,
        limits=chosen.limits,
        concerns=concerns,
        system=system,
    )
    try:
        if (traces := tracing(environ)) is not None:
            instances.make_caller = traces.caller
    except TracesUnavailable as error:
        problems.append(error)
    system.descriptors.set_descriptor_limit(chosen.limits.open_files)
    boxes = [server for server in chosen.servers if server.is_box and concerns(server)]
    for server in chosen.servers:
        if not server.is_box:
            instances.add_server(server)
    black_boxes = black_boxes or BlackBoxes(lambda: black_box_directory(environ))
    registry = _registry(environ, system)
    finder = Finder(instances, black_boxes, start, chosen.start_instances, working_directory)
    page = make_page and PageResource(lambda: make_page(hub), is_listed=chosen.resources)
    hub = Hub(registry, instances, working_directory, finder, supervisor, further_tools, system, page=page)
    hub.problems = problems
    following = supervisor.start("registry", hub.follow_registry)
    for box in boxes:
        _start_box(hub, box, environ, system)
    try:
        if chosen.use_robust_networking:
            monitor = Monitor(
                hub.on_event,
                sources=sources,
                endpoints=chosen.connectivity_endpoints,
                on_beat=instances.memory.sample,
            )
            monitor.start(supervisor)
            if chosen.logind:
                supervisor.start("logind", partial(hub.listen_to_logind, monitor))
        yield hub
    finally:
        following.cancel()
        if hub.page is not None:
            await hub.page.close()
        await hub.finder.close()
        await hub.recovery.close()
        await hub.instances.close()
        await supervisor.close()
        registry.close()


def _start_box(hub: Hub, box: Server, environ: Mapping[str, str], system: System) -> None:
    """Reach the instances of another machine, for as long as the hub runs."""
    from brummer.fleet.ssh import SshConnection  # noqa: PLC0415 - few have another machine
    from brummer.fleet.ssh_box import SshBox  # noqa: PLC0415 - as above

    instances = hub.instances
    machine = SshBox(
        box.name,
        partial(SshConnection.start, box, hub.registry.directory, environ),
        hub.pass_on,
        system.clock,
        rng=system.random,
        is_wanted=lambda: any(entry.is_waited_for for entry in instances if entry.host == box.name),
    )
    instances.machines.append(machine)
    hub.supervisor.start(f"machine {box.name}", machine.run)


def _registry(environ: Mapping[str, str], system: System) -> Registry:
    """Without a valid directory the hub serves all the same, and reports why it knows no instance."""
    try:
        return Registry(instances_directory(environ), system)
    except DirectoryUnusable as error:
        _log.warning("%s", error.message)
        return Registry(error.path, system, refusal=error)


def _problems(chosen: Settings) -> list[BrummerError]:
    """A typo must not end the connection: invalid settings become problems, and the others hold."""
    found: list[BrummerError] = [*chosen.problems, *chosen.warnings]
    for error in found:
        _log.warning("%s", error.message)
    return found
