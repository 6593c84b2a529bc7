"""One random schedule: calls and faults in any order, and then a quiet time, in which everything must recover."""

import asyncio
import contextlib
import errno
from collections.abc import Callable, Coroutine
from typing import Any, Final

from brummer.link.state import LinkState
from brummer.network.snapshot import Snapshot
from brummer.testing.process_table import Process
from brummer.testing.simulation import leaks, status
from brummer.testing.simulation.clients import Asked, SimulatedClient
from brummer.testing.simulation.parts import DIRECTORY, Foreign, HubRun, Job, SimulatedInstance, Stranger
from brummer.testing.simulation.world import SystemFault, World, new_call

STEPS: Final = (8, 24)
GAPS_S: Final = (0.0, 0.0, 0.0, 0.01, 0.1, 0.5, 2.0)
TAKES_S: Final = (0.0, 0.0, 0.0, 0.02, 0.2, 1.0, 3.0)
SIZES: Final = (0,) * 260 + (5_000,) * 30 + (300_000,) * 4 + (1_500_000,)

TOOLS: Final = {
    "scripts_run": 10,
    "scripts_restart": 2,
    "scripts_status": 6,
    "logs_tail": 3,
    "wait_for": 3,
    "scripts_stop": 2,
    "count": 3,
    "peek": 2,
}

HAPPENINGS: Final = {
    "calls": 40,
    "cancel": 5,
    "kill_instance": 4,
    "restart_instance": 3,
    "stop_instance": 4,
    "slow_instance": 2,
    "impostor": 2,
    "reuse_pid": 1,
    "kill_foreign": 2,
    "kill_hub": 2,
    "stop_hub": 1,
    "sleep": 2,
    "pause": 1,
    "set_clock": 1,
    "lose_loopback": 1,
    "go_offline": 1,
    "drop_packets": 1,
    "cut_connections": 3,
    "fail_calls": 6,
    "fail_threads": 1,
    "damage_records": 2,
    "remove_directory": 1,
    "fill_disk": 1,
    "fill_memory": 1,
    "stop_reading": 2,
    "raise_in_a_long_task": 1,
}
"""The weight of each action."""

OF_SOCKETS: Final = frozenset({"addresses", "connect", "accept", "listen"})
OF_FILES: Final = frozenset({
    "open", "read", "write", "ftruncate", "fsync", "fchmod", "fstat", "stat", "rename", "link", "unlink", "mkdir",
    "scandir", "statfs", "statvfs", "flock", "watch",
})  # fmt: skip
OF_PROCESSES: Final = frozenset({"proc", "pidfd", "network"})
CALLS_THAT_FAIL: Final = {
    "sockets": OF_SOCKETS,
    "files": OF_FILES,
    "processes": OF_PROCESSES,
    "everything": OF_SOCKETS | OF_FILES | OF_PROCESSES,
    "one": OF_SOCKETS | OF_FILES | OF_PROCESSES,
}
"""The system calls of each kind, by the names under which `Process.check` knows them. ``one``: only one of them fails,
so that calls are reached that come after others.
"""

ERRORS: Final = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOSPC, errno.EIO, errno.EACCES)

ANSWERED_S: Final = 400.0
"""Longer than any call may take."""
QUIET_S: Final = 65.0
"""After the last answer; longer than the grace of a lost call, and longer than a cancellation may take."""
LOOK_S: Final = 5.0
"""Longer than work may take that must not begin any more."""
AGAIN_S: Final = 3.0
"""Longer than a probe takes, and no divisor of any interval."""
READY_S: Final = 6.0
"""From the end of the last fault until every link is ready."""
READY_REMOTE_S: Final = 40.0


class Schedule:
    """Call `play`; then `judge` checks the result."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.rng = world.rng
        self._lasting: set[asyncio.Task[None]] = set()
        self.not_ready: list[str] = []
        self._copies: set[str] = set()
        self.wrong_status: list[str] = []
        self.held: list[str] = []
        self.ended_s = 0.0

    async def play(self) -> None:
        world, rng = self.world, self.rng
        await world.start()
        await asyncio.sleep(rng.choice((0.05, 0.5, 2.0)))
        names, weights = [*HAPPENINGS], [*HAPPENINGS.values()]
        for _ in range(rng.randint(*STEPS)):
            getattr(self, rng.choices(names, weights)[0])()
            if gap_s := rng.choice(GAPS_S):
                await asyncio.sleep(gap_s)
                self._look_at_status()
        await self._end_faults()
        await self._become_ready()
        await self._become_quiet()

    def _look_at_status(self) -> None:
        run = self._client().hub
        if run is not None and (wrong := status.look(self.world, run)) is not None:
            self.wrong_status.append(wrong)
            self.world.trace(run.name, wrong)

    async def _end_faults(self) -> None:
        if self._lasting:
            await asyncio.gather(*self._lasting)
        world = self.world
        world.cut_rate = 0.0
        world.end_connection_faults()
        for name in self._copies:
            with contextlib.suppress(OSError, KeyError):
                del world.machine.disk.find(DIRECTORY).names[name]
        for instance in world.instances:  # an instance that had to end while it was stopped ends only now
            await self._bring_back(instance)
        self.ended_s = world.loop.time()
        world.trace("world", "all faults have ended")

    async def _become_ready(self) -> None:
        """Wait until the links of each hub are ready, for a bounded time."""
        world = self.world
        local_until_s, until_s = self.ended_s + READY_S, self.ended_s + READY_REMOTE_S
        while world.loop.time() < until_s:
            late = self._not_ready()
            if not late:
                world.trace("world", "all links are ready")
                return
            if world.loop.time() > local_until_s and any("docs" not in name for name in late):
                break
            await asyncio.sleep(0.1)
        self.not_ready = self._not_ready()

    def _not_ready(self) -> list[str]:
        found = []
        for client in self.world.clients:
            run = client.hub
            if run is None or run.hub is None:
                found.append(f"{client.name} has no hub")
                continue
            known = {each.id: each.link for each in run.hub.instances}
            for name in [*(each.id for each in self.world.instances), "docs"]:
                link = known.get(name)
                if link is None or link.state is not LinkState.READY:
                    found.append(f"{run.name} {name} {link.state.value if link else 'unknown'}")
        return found

    async def _become_quiet(self) -> None:
        """Wait until all calls are answered."""
        loop = self.world.loop
        until_s = loop.time() + ANSWERED_S
        while loop.time() < until_s and self._open_calls():  # noqa: ASYNC110 — in virtual time a look costs nothing
            await asyncio.sleep(0.5)
        until_s = loop.time() + QUIET_S
        await asyncio.sleep(LOOK_S)
        while loop.time() < until_s and not self._is_quiet():  # noqa: ASYNC110 — as above
            await asyncio.sleep(LOOK_S)
        held = leaks.held(self.world)
        if held:  # perhaps only by a probe that is under way
            await asyncio.sleep(AGAIN_S)
            self.held = sorted(held & leaks.held(self.world))

    def _is_quiet(self) -> bool:
        runs = [client.hub for client in self.world.clients if client.hub is not None]
        return not leaks.held(self.world) and not any(status.lasting(self.world, run) for run in runs)

    def _open_calls(self) -> list[tuple[SimulatedClient, Asked]]:
        return [(client, asked) for client in self.world.clients for asked in client.asked if not asked.is_over]

    # Choices.

    def _instance(self) -> SimulatedInstance:
        return self.rng.choice(self.world.instances)

    def _processes(self) -> list[Process]:
        """Those of hubs and instances."""
        programs = [*(client.hub for client in self.world.clients), *self.world.instances]
        return [each.process for each in programs if each is not None and each.process is not None]

    def _client(self) -> SimulatedClient:
        return self.rng.choice(self.world.clients)

    def _last(self, work: Coroutine[Any, Any, None]) -> None:
        task = self.world.spawn(work)
        self._lasting.add(task)

    # Actions.

    def calls(self) -> None:
        rng, world = self.rng, self.world
        client, target = self._client(), self._instance().id
        for _ in range(rng.choice((1, 4, 8, 12, 24))):
            tool = rng.choices([*TOOLS], [*TOOLS.values()])[0]
            to = "docs" if tool in ("count", "peek") else target
            job = Job(next(world.numbers), rng.choice(TAKES_S), rng.choice(SIZES))
            made = new_call(world, client, tool, to, job)
            if made is not None:
                asked, arguments = made
                world.trace(client.name, f"call {asked.number}: {tool} to {to}, takes {job.takes_s:g} s")
                client.ask(asked, arguments)

    def cancel(self) -> None:
        if open_calls := self._open_calls():
            client, asked = self.rng.choice(open_calls)
            self.world.trace(client.name, f"cancels call {asked.number}")
            client.cancel(asked)

    def kill_instance(self) -> None:
        self._last(self._away(self._instance(), kill=True))

    def restart_instance(self) -> None:
        self._last(self._away(self._instance(), kill=False))

    async def _away(self, instance: SimulatedInstance, *, kill: bool) -> None:
        world, process = self.world, instance.process
        if process is None or not process.is_running:
            return
        fault = world.begin("killed" if kill else "ended", instance.id)
        if kill:
            await world.kill(instance)
        else:
            instance.end()
        await asyncio.sleep(self.rng.choice((0.0, 0.05, 0.3, 1.5, 10.0)))
        await self._bring_back(instance)
        world.end(fault)

    async def _bring_back(self, instance: SimulatedInstance) -> None:
        """Restart it until it serves: some faults prevent that."""
        while True:
            if instance.process is not None and instance.process.is_dead:
                instance.process = None
            if instance.process is None:
                instance.problem = ""
                instance.start(self.world.machine.spawn(instance.id))
            await asyncio.sleep(0.5)
            if instance.process is not None:
                return

    def kill_foreign(self) -> None:
        self._last(self._foreign_away(self.world.foreign))

    async def _foreign_away(self, foreign: Foreign) -> None:
        if foreign.process is None:
            return
        fault = self.world.begin("killed", foreign.id)
        await self.world.kill(foreign)
        await asyncio.sleep(self.rng.choice((0.0, 0.3, 3.0)))
        foreign.start(self.world.machine.spawn("docs"))
        self.world.end(fault)

    def stop_instance(self) -> None:
        instance = self._instance()
        if instance.process is not None:
            self._last(self._stop(instance, self.rng.choice((0.1, 1.0, 5.0, 25.0, 50.0))))

    async def _stop(self, instance: SimulatedInstance, seconds: float) -> None:
        process = instance.process
        if process is None or not process.is_running:
            return
        fault = self.world.begin("stopped", instance.id)
        process.stop()
        await asyncio.sleep(seconds)
        process.go_on()
        self.world.end(fault)

    def slow_instance(self) -> None:
        self._last(self._slow(self._instance()))

    async def _slow(self, instance: SimulatedInstance) -> None:
        """A slow process: it runs in one turn of twenty."""
        process = instance.process
        if process is None or not process.is_running:
            return
        fault = self.world.begin("slow", instance.id)
        for _ in range(self.rng.randint(3, 12)):
            process.stop()
            await asyncio.sleep(0.4)
            process.go_on()
            await asyncio.sleep(0.02)
        self.world.end(fault)

    def impostor(self) -> None:
        self._last(self._take_port(self._instance()))

    async def _take_port(self, instance: SimulatedInstance) -> None:
        """The instance dies, and a stranger takes its port before a hub notices."""
        world = self.world
        process = instance.process
        if process is None or not process.is_running:
            return
        ports = [held.address[1] for held in process.descriptors.values() if hasattr(held, "waiting")]
        if not ports:
            return
        manner = self.rng.choice(("refuses", "silent", "talks"))
        fault = world.begin(f"impostor that {manner}", instance.id)
        stranger = Stranger(f"stranger on {instance.id}", world.trace, manner)
        world.strangers.append(stranger)
        if self.rng.random() < 0.5:  # noqa: PLR2004
            await world.kill(instance)
            other = world.machine.spawn("stranger")
        else:  # its record stays, with a pid that is in use again
            await world.kill(instance)
            world.machine.next_pid = process.pid
            other = world.machine.spawn("stranger")
        other.start(stranger.serve(other, ports[0]))
        await asyncio.sleep(self.rng.choice((0.5, 3.0)))
        await self._bring_back(instance)
        await asyncio.sleep(self.rng.choice((0.0, 3.0)))
        await other.kill()
        world.end(fault)

    def reuse_pid(self) -> None:
        self._last(self._reuse_pid(self._instance()))

    async def _reuse_pid(self, instance: SimulatedInstance) -> None:
        process = instance.process
        if process is None or not process.is_running:
            return
        fault = self.world.begin("killed, its pid reused", instance.id)
        await self.world.kill(instance)
        self.world.machine.next_pid = process.pid
        other = self.world.machine.spawn("stranger")
        await asyncio.sleep(self.rng.choice((0.01, 2.0)))
        await self._bring_back(instance)
        await other.kill()
        self.world.end(fault)

    def kill_hub(self) -> None:
        self._last(self._restart_hub(self._client()))

    async def _restart_hub(self, client: SimulatedClient) -> None:
        if client.hub is None or client.hub.process.is_dead:
            return
        fault = self.world.begin("hub killed", client.name)
        await self.world.kill_hub(client)
        await asyncio.sleep(self.rng.choice((0.0, 0.2, 2.0)))
        client.start_hub()
        self.world.end(fault)

    def stop_hub(self) -> None:
        client = self._client()
        if client.hub is not None:
            self._last(self._stop_hub(client.hub, self.rng.choice((0.3, 4.0, 20.0))))

    async def _stop_hub(self, hub: HubRun, seconds: float) -> None:
        process = hub.process
        if process.is_dead or not process.is_running:
            return
        fault = self.world.begin("hub stopped", hub.name)
        began_s = self.world.loop.time()
        process.stop()
        await asyncio.sleep(seconds)
        process.go_on()
        self.world.not_run.append((hub.name, began_s, self.world.loop.time()))
        self.world.end(fault)

    def sleep(self) -> None:
        seconds = self.rng.choice((0.3, 20.0, 7200.0))
        self.world.end(self.world.begin(f"sleep of {seconds:g} s"))
        self.world.machine.clock.asleep_s += seconds
        self.world.surroundings.hint_of_clocks()

    def pause(self) -> None:
        seconds = self.rng.choice((1.0, 6.0, 40.0))
        fault = self.world.begin(f"pause of {seconds:g} s")
        began_s = self.world.loop.time()
        self.world.loop.stand_still(seconds)
        self.world.not_run.append(("all", began_s, self.world.loop.time()))
        self.world.end(fault)

    def set_clock(self) -> None:
        self.world.end(self.world.begin("clock set"))
        self.world.machine.clock.set_forth_s += self.rng.choice((-86_400.0, -30.0, 3600.0))
        self.world.surroundings.hint_of_clocks()

    def lose_loopback(self) -> None:
        self._last(self._network("loopback down", lambda now: Snapshot(now.sources, now.carrier, loopback=False)))

    def go_offline(self) -> None:
        self._last(self._network("offline", lambda now: Snapshot((None, None), carrier=False, loopback=now.loopback)))

    async def _network(self, what: str, change: Callable[[Snapshot], Snapshot]) -> None:
        around = self.world.surroundings
        if any(fault.kind == what and fault.ended_s is None for fault in self.world.faults):
            return
        fault = self.world.begin(what)
        before, around.network = around.network, change(around.network)
        around.hint_of_network()
        await asyncio.sleep(self.rng.choice((0.1, 1.0, 6.0)))
        if what == "offline":
            around.network = Snapshot(("192.168.7.9", None), carrier=True, loopback=around.network.loopback)
        else:
            around.network = Snapshot(around.network.sources, around.network.carrier, loopback=before.loopback)
        around.hint_of_network()
        self.world.end(fault)

    def drop_packets(self) -> None:
        self._last(self._drop(self._instance()))

    async def _drop(self, instance: SimulatedInstance) -> None:
        """A firewall rule: no new connection reaches its port, and none is answered."""
        process = instance.process
        if process is None:
            return
        ports = [held.address[1] for held in process.descriptors.values() if hasattr(held, "waiting")]
        if not ports or ports[0] in self.world.dropped:
            return
        fault = self.world.begin("packets dropped", instance.id)
        self.world.dropped.add(ports[0])
        await asyncio.sleep(self.rng.choice((0.4, 4.0)))
        self.world.dropped.discard(ports[0])
        self.world.end(fault)

    def cut_connections(self) -> None:
        """From now on new connections have faults, and some of the present ones get faults."""
        rng, world = self.rng, self.world
        world.cut_rate = rng.choice((0.1, 0.3, 0.6))
        for connection in world.machine.network.connections.values():
            if not connection.is_over and rng.random() < world.cut_rate:
                flow = rng.choice((connection.requests, connection.answers))
                flow.cut_at = flow.passed + rng.randrange(1, 1500)
                world.begin("connection cut", str(connection.number))

    def fail_calls(self) -> None:
        self._last(self._fail_calls())

    async def _fail_calls(self) -> None:
        rng, world = self.rng, self.world
        processes = self._processes()
        if not processes:
            return
        what = rng.choice([*CALLS_THAT_FAIL])
        calls = CALLS_THAT_FAIL[what]
        if what == "one":
            what, calls = f"one of {(call := rng.choice(sorted(calls)))}", frozenset({call})
        process = rng.choice(processes)
        is_of_instance = any(process is each.process for each in world.instances)
        likelihood = rng.choice((0.05, 0.5, 1.0))
        failing = SystemFault(process, calls, rng.choice(ERRORS), likelihood, is_inherited=is_of_instance)
        name = errno.errorcode[failing.number]
        fault = world.begin(f"{name} for {what}", failing.process.name)
        world.system_faults.append(failing)
        await asyncio.sleep(rng.choice((0.01, 0.3, 3.0, 12.0)))
        world.system_faults.remove(failing)
        world.end(fault)

    def fail_threads(self) -> None:
        self._last(self._fail_threads())

    async def _fail_threads(self) -> None:
        processes = self._processes()
        if not processes:
            return
        process = self.rng.choice(processes)
        fault = self.world.begin("no thread starts", process.name)
        failing = SystemFault(process, frozenset({"thread"}), errno.EAGAIN, 1.0)
        self.world.system_faults.append(failing)
        await asyncio.sleep(self.rng.choice((0.1, 3.0)))
        self.world.system_faults.remove(failing)
        self.world.end(fault)

    def damage_records(self) -> None:
        world, rng = self.world, self.rng
        disk = world.machine.disk
        try:
            directory = disk.find(DIRECTORY)
        except OSError:
            return
        names = [name for name in directory.names if name.endswith(".json")]
        if not names:
            return
        name, how = rng.choice(names), rng.choice(("torn", "missing", "duplicated", "emptied"))
        world.end(world.begin(f"record {how}", name))
        inode = directory.names[name]
        match how:
            case "torn":
                del inode.content[rng.randrange(len(inode.content) + 1) :]
                inode.changed_ns = disk.now_ns()
            case "emptied":
                inode.content.clear()
                inode.changed_ns = disk.now_ns()
            case "missing":
                del directory.names[name]
            case _:
                copy = disk.new_inode(inode.mode)
                copy.content = bytearray(inode.content)
                name = f"copy-{name}"
                directory.names[name] = copy
                self._copies.add(name)
        disk.tell(directory, "changed", name)

    def remove_directory(self) -> None:
        try:
            self.world.machine.disk.remove_tree(DIRECTORY)
        except OSError:
            return
        self.world.end(self.world.begin("directory removed"))

    def fill_disk(self) -> None:
        self._last(self._fill_disk())

    async def _fill_disk(self) -> None:
        disk = self.world.machine.disk
        if disk.is_full:
            return
        fault = self.world.begin("disk full")
        disk.is_full = True
        await asyncio.sleep(self.rng.choice((0.3, 6.0)))
        disk.is_full = False
        self.world.end(fault)

    def fill_memory(self) -> None:
        self._last(self._fill_memory())

    async def _fill_memory(self) -> None:
        world, rng = self.world, self.rng
        processes = self._processes()
        if not processes:
            return
        process = rng.choice(processes)
        fault = world.begin("memory full", process.name)
        process.resident_bytes = rng.choice((world.limits.memory_soft_bytes + 1, world.limits.memory_hard_bytes + 1))
        await asyncio.sleep(rng.choice((0.2, 4.0)))
        process.resident_bytes = 50 << 20
        world.end(fault)

    def stop_reading(self) -> None:
        client, seconds = self.world.clients[0], self.rng.choice((0.5, 8.0, 20.0))
        self._last(self._stop_reading(client, seconds))

    async def _stop_reading(self, client: SimulatedClient, seconds: float) -> None:
        fault = self.world.begin("client does not read", client.name)
        client.stop_reading(seconds)
        await asyncio.sleep(seconds)
        self.world.end(fault)

    def raise_in_a_long_task(self) -> None:
        self._last(self._raise())

    async def _raise(self) -> None:
        """A function that the heartbeat, or the directory's reader, calls raises an unexpected exception."""
        hub = self._client().hub
        if hub is None or hub.hub is None:  # its long tasks have not begun yet
            return
        fault = self.world.begin("a defect", hub.name)
        failing = SystemFault(hub.process, frozenset({self.rng.choice(("network", "scandir", "listener"))}), -1, 1.0)
        self.world.system_faults.append(failing)
        await asyncio.sleep(self.rng.choice((0.2, 6.0)))
        self.world.system_faults.remove(failing)
        self.world.end(fault)
