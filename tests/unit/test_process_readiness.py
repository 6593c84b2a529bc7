"""When a server is ready: its processes, ports and URLs are fakes; `test_instance_lifecycle` has real ones."""

import asyncio
import errno
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from brummer.host.pids import ProcessIdentity
from brummer.process import readiness
from brummer.process.debuggers import announced_ports, debugged_ports
from brummer.process.guard_main import Scan
from brummer.process.process_tree import ProcessTree, Scans
from brummer.process.readiness import EarlierListener, Proof, Readiness

WITHIN_S = 30
GROUP = 700
"""The script's group and its leader, which started at 100."""


class OneScript(Scans):
    """The only process is the script's leader."""

    async def scan(self) -> Scan:
        return {GROUP: (GROUP, 1, 100, GROUP)}, {}


class Machine:
    """Who listens where, and since when. ``checks`` counts how often the script's own ports were looked up."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.own_ports: set[int] = set()
        self.listeners: dict[int, int] = {}
        """Port → pid."""
        self.started = {GROUP: 100}
        self.connections: list[int] = []
        self.printed_ports: list[int] = []
        self.arguments: list[str] = []
        self.checks = 0
        self._checked = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self.errors: list[OSError] = []
        monkeypatch.setattr(readiness, "listening_ports", self._listening_ports)
        monkeypatch.setattr(readiness, "arguments", lambda _: self.arguments)
        monkeypatch.setattr(readiness, "port_answers", self._port_answers)
        monkeypatch.setattr(readiness, "listeners", self._listeners)
        monkeypatch.setattr(readiness, "identify", self._identify)
        monkeypatch.setattr(readiness, "RETRY_S", 0.0)
        monkeypatch.setattr(readiness, "PROOF_PAUSES_S", (0.0,))

    def readiness(self, proof: Proof | None = None) -> Readiness:
        return Readiness(ProcessTree(GROUP, "BRUMMER_RUN=x", OneScript()), lambda: self.printed_ports, proof)

    async def until_checked(self, count: int) -> None:
        async with asyncio.timeout(WITHIN_S):
            while self.checks < count:
                self._checked.clear()
                await self._checked.wait()

    def _listening_ports(self, pids: list[int]) -> set[int]:
        assert pids == [GROUP]
        found = set(self.own_ports)  # before the check is reported: the test may change them then
        self.checks += 1
        self._loop.call_soon_threadsafe(self._checked.set)
        if self.errors:
            raise self.errors.pop(0)
        return found

    async def _port_answers(self, port: int) -> bool:
        self.connections.append(port)
        await asyncio.sleep(0)
        return port in self.listeners

    def _listeners(self, ports: range) -> dict[int, tuple[int, str]]:
        return {port: (pid, "server") for port, pid in self.listeners.items() if port in ports}

    def _identify(self, pid: int) -> ProcessIdentity | None:
        return ProcessIdentity("boot", 1, pid, self.started[pid]) if pid in self.started else None


@pytest.fixture
async def machine(monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(monkeypatch)


@asynccontextmanager
async def waiting(watch: Readiness) -> AsyncIterator[asyncio.Task[set[int]]]:
    task = asyncio.create_task(watch.wait())
    try:
        async with asyncio.timeout(WITHIN_S):
            yield task
    finally:
        task.cancel()
        await asyncio.wait([task])


async def test_a_script_whose_process_listens_is_ready_and_its_ports_are_known(machine: Machine) -> None:
    machine.own_ports = {5173, 5174}
    async with waiting(machine.readiness()) as ready:
        assert await ready == {5173, 5174}


async def test_the_port_of_a_debugger_makes_nothing_ready_and_is_no_port_of_the_script(machine: Machine) -> None:
    machine.own_ports, machine.arguments = {9229, 9339}, ["node", "--inspect", "server.js"]
    watch = machine.readiness()
    async with waiting(watch) as ready:
        watch.printed(["Debugger listening on ws://127.0.0.1:9339/0f2c936f"], new_url=False)
        await machine.until_checked(3)
        assert not ready.done()
        machine.own_ports = {9229, 9339, 3000}
        assert await ready == {3000}


NODE = "Debugger listening on ws://127.0.0.1:9230/0f2c936f-b1cd-4ac9-aab3-f63b0f33d55e"
JDWP = "-agentlib:jdwp=transport=dt_socket,server=y,suspend=n,address="


@pytest.mark.parametrize(
    ("line", "ports"),
    [
        (NODE, {9230}),
        ("Debugger listening on ws://[::1]:9229/x", {9229}),
        ("Listening for transport dt_socket at address: 5005", {5005}),
        ("API server listening at: 127.0.0.1:2345", {2345}),
        ("Listening on http://localhost:3000", set()),
        ("Server listening at: 127.0.0.1:8000", set()),
        ("x" * 600 + NODE, set()),
    ],
)
def test_a_debugger_is_known_by_what_it_prints(line: str, ports: set[int]) -> None:
    assert announced_ports(["before", line]) == ports


@pytest.mark.parametrize(
    ("arguments", "ports"),
    [
        (["node", "--inspect", "x.js"], {6499, 9229}),
        (["node", "--inspect-brk=9339", "x.js"], {9339}),
        (["node", "--inspect=0.0.0.0:9339", "x.js"], {9339}),
        (["node", "--inspect=localhost", "x.js"], {6499, 9229}),
        (["java", f"{JDWP}5005", "-jar", "x.jar"], {5005}),
        (["java", f"{JDWP}*:8787,quiet=y"], {8787}),
        (["python3", "-m", "debugpy", "--listen", "0.0.0.0:5678", "x.py"], {5678}),
        (["dlv", "debug", "--headless", "--listen=:2345"], {2345}),
        (["gunicorn", "--listen", "127.0.0.1:8000"], set()),
        (["python3", "-m", "debugpy", "--listen"], set()),
        (["vite", "--port", "9229"], set()),
        ([], set()),
    ],
)
def test_a_debugger_is_known_by_the_arguments_of_its_program(arguments: list[str], ports: set[int]) -> None:
    assert debugged_ports(arguments) == ports


@pytest.fixture
def the_early_checks_are_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readiness, "CHECK_AT_S", ())


async def test_after_the_last_of_the_early_checks_only_a_new_url_causes_a_check(
    machine: Machine, the_early_checks_are_over: None
) -> None:
    watch = machine.readiness()
    async with waiting(watch) as ready:
        watch.printed(["compiled"], new_url=False)
        await turns_of_the_loop_and_its_threads()
        assert machine.checks == 0
        watch.printed(["http://localhost:5173"], new_url=True)
        await turns_of_the_loop_and_its_threads()
        await machine.until_checked(1)
        assert not ready.done()
        machine.own_ports = {5173}
        watch.printed(["http://localhost:5174"], new_url=True)
        assert await ready == {5173}
    assert machine.checks == 2


async def turns_of_the_loop_and_its_threads() -> None:
    """Enough for a check that should not be made."""
    for _ in range(10):
        await asyncio.to_thread(int)


@pytest.mark.parametrize(
    "started",
    [{GROUP: 100, 9: 101}, {GROUP: 100}, {9: 99}],
    ids=["younger than the script", "hidden from us", "the leader has ended"],
)
async def test_a_printed_port_that_answers_makes_ready_though_no_process_of_the_group_listens(
    machine: Machine, started: dict[int, int]
) -> None:
    """As a server in a container, which is no member of the group."""
    machine.printed_ports = [5173, 5174]
    machine.listeners, machine.started = {5174: 9}, started
    watch = machine.readiness()
    async with waiting(watch) as ready:
        assert await ready == set()
    assert machine.connections == [5173, 5174]
    assert watch.taken_port is None


async def test_a_printed_port_of_an_older_process_is_reported_as_taken_and_proves_nothing(
    machine: Machine, the_early_checks_are_over: None
) -> None:
    machine.printed_ports, machine.listeners = [5173], {5173: 9}
    machine.started[9] = 99
    watch = machine.readiness()
    async with waiting(watch) as ready:
        for check in (1, 2):
            watch.printed(["http://localhost:5173"], new_url=True)
            await machine.until_checked(check)
        assert not ready.done()
    assert watch.taken_port == 5173


async def test_the_taken_port_is_looked_up_once_and_never_for_a_script_with_a_proof(machine: Machine) -> None:
    machine.printed_ports, machine.listeners = [5173], {5173: 9}
    machine.started[9] = 99
    proved = machine.readiness(Proof(port=5173))
    await proved.check_taken_port()
    assert (proved.taken_port, machine.connections) == (None, [])
    watch = machine.readiness()
    await watch.check_taken_port()
    await watch.check_taken_port()
    assert (watch.taken_port, machine.connections) == (5173, [5173])


async def test_a_shortage_delays_a_check_and_any_other_error_is_raised(machine: Machine) -> None:
    machine.own_ports = {5173}
    machine.errors = [OSError(errno.EMFILE, os.strerror(errno.EMFILE)), OSError(errno.EIO, os.strerror(errno.EIO))]
    async with waiting(machine.readiness()) as ready:
        with pytest.raises(OSError, match=os.strerror(errno.EIO)):
            await ready
    assert machine.checks == 2
    async with waiting(machine.readiness()) as ready:
        assert await ready == {5173}


async def test_a_named_port_is_tried_until_it_answers(machine: Machine) -> None:
    async with waiting(machine.readiness(Proof(port=5173))) as ready:
        while len(machine.connections) < 3 and not ready.done():
            await asyncio.sleep(0)
        assert not ready.done()
        machine.listeners[5173] = GROUP
        assert await ready == set()
    assert set(machine.connections) == {5173}


async def test_an_answer_of_the_process_that_had_the_named_port_before_proves_nothing(machine: Machine) -> None:
    machine.listeners[5173] = 9
    async with waiting(machine.readiness(Proof(port=5173, earlier=EarlierListener(9, 5173)))) as ready:
        while len(machine.connections) < 3 and not ready.done():
            await asyncio.sleep(0)
        assert not ready.done()
        machine.listeners[5173] = GROUP
        assert await ready == set()
