"""When is a server ready: one of its processes listens on a TCP port, which is not that of a debugger, or a local URL
that it printed answers, and not from a process that is older than the script: such a process has the port that the
script wanted, or is another service that it uses. Or, if the script names a proof, when that comes true.

Nothing polls busily. A check follows output (at once for a new URL, else at most four times a second) and a few moments
after the start; after the last of them only a new URL causes a check. A port or a URL that is named as proof causes no
event when it answers, so it is checked once a second.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence

import msgspec

from brummer.core.errors import SHORTAGES
from brummer.host.patterns import Meter, PatternTooSlow
from brummer.host.pids import identify
from brummer.host.ports import listeners, listening_ports, port_answers
from brummer.host.process_facts import arguments
from brummer.process.debuggers import announced_ports, debugged_ports
from brummer.process.process_tree import RETRY_S, ProcessTree

CHECK_AT_S = (0.05, 0.15, 0.3, 0.6, 1, 2, 4, 8, 15, 30, 60, 120)
"""After the start. A dev server listens within a second, behind a large build within two minutes."""
PAUSE_S = 0.25
PROOF_PAUSES_S = (0.05, 0.1, 0.2, 0.4, 0.8, 1.0)
"""Between two checks of a named port or URL; the last for ever."""
BUDGET_S = 0.02
"""CPU time for the lines of one chunk: it is spent on the loop."""
MATCHED_CHARACTERS = 2_000
"""Of a line, from its beginning: messages of a ready server are short, and an expression with ``.*`` takes time that
grows with the square of the length.
"""


class EarlierListener(msgspec.Struct, frozen=True):
    """The process that had the port before the start: an answer from it proves nothing."""

    pid: int
    port: int


class Proof(msgspec.Struct, frozen=True):
    """What must come true; all of it, if it is several. ``earlier`` had the port, or that of the URL."""

    log: Meter | None = None
    port: int | None = None
    http: str | None = None
    earlier: EarlierListener | None = None


class Readiness:
    """Watches the processes of a script until it is ready. ``printed_ports()``: the ports of its local URLs so far."""

    def __init__(
        self, tree: ProcessTree, printed_ports: Callable[[], Collection[int]], proof: Proof | None = None
    ) -> None:
        self._tree = tree
        self._printed_ports = printed_ports
        self._proof = proof
        self._output = asyncio.Event()
        self._new_url = asyncio.Event()
        self._matched = asyncio.Event()
        self._log = proof.log if proof else None
        """None once it has matched, or was too slow."""
        self._announced: set[int] = set()
        """Ports on which a debugger has said that it listens."""
        self.taken_port: int | None = None
        """One of the printed ports, on which an older process listens."""

    def printed(self, lines: Sequence[str], *, new_url: bool) -> None:
        """Check new output. Raises PatternTooSlow, once: after that no line is a proof."""
        self._announced |= announced_ports(lines)
        self._output.set()
        if new_url:
            self._new_url.set()
        if self._log is not None:
            self._match(self._log, [line[:MATCHED_CHARACTERS] for line in lines])

    def _match(self, log: Meter, lines: Sequence[str]) -> None:
        try:
            found = log.search(
                len(lines), sum(map(len, lines)), lambda: any(map(log.pattern.matches, lines)), most_s=BUDGET_S
            )
        except PatternTooSlow:
            if not log.is_refused:  # too slow on these lines only; the next may be shorter
                return
            self._log = None
            raise
        if found:
            self._log = None
            self._matched.set()

    @property
    def waits_for_a_line(self) -> bool:
        """A line is the proof, and may still come."""
        return self._log is not None

    async def wait(self) -> set[int]:
        """Returns when ready, with the ports on which the group itself listens (Linux; may be empty). Else never."""
        if self._proof:
            await self._proved(self._proof)
            return await self._ports()
        loop = asyncio.get_running_loop()
        began = loop.time()
        for moment in CHECK_AT_S:
            while (rest := began + moment - loop.time()) > 0:
                await self._reason_to_check(rest)
                if (ports := await self._check()) is not None:
                    return ports
        while True:
            await self._new_url.wait()
            self._new_url.clear()
            if (ports := await self._check()) is not None:
                return ports

    async def check_taken_port(self) -> None:
        """Find out if another process has one of the printed ports: `wait` may not have checked that yet."""
        if self.taken_port is None and not self._proof:
            await self._check()

    async def _proved(self, proof: Proof) -> None:
        port, http, earlier = proof.port, proof.http, proof.earlier
        if proof.log:
            await self._matched.wait()
        if port:
            await _until(lambda: _answers(port, earlier))
        if http:
            from brummer.process.http_probe import http_answers  # noqa: PLC0415 - for this alone

            if earlier and await http_answers(http):  # so soon? A proxy would have no server behind it yet
                await _until(lambda: _answers(earlier.port, earlier))
            await _until(lambda: http_answers(http))

    async def _reason_to_check(self, at_the_latest_s: float) -> None:
        """Output is followed by a pause, in which only a new URL is more urgent."""
        try:
            async with asyncio.timeout(at_the_latest_s):
                await self._output.wait()
                async with asyncio.timeout(PAUSE_S):
                    await self._new_url.wait()
        except TimeoutError:
            pass
        self._output.clear()
        self._new_url.clear()

    async def _check(self) -> set[int] | None:
        ports = await self._ports()
        if ports:
            return ports
        for port in self._printed_ports():
            if not await port_answers(port):
                continue
            if not await asyncio.to_thread(_is_older, port, self._tree.group):
                return ports
            self.taken_port = port
        return None

    async def _ports(self) -> set[int]:
        """Without those of debuggers."""
        while True:
            try:
                ports = await asyncio.to_thread(_ports_of, await self._tree.pids())
                return ports - self._announced  # also what was announced meanwhile
            except OSError as error:
                if error.errno not in SHORTAGES:
                    raise
                await asyncio.sleep(RETRY_S)


def _ports_of(pids: list[int]) -> set[int]:
    """The ports on which these processes listen, but for those that their arguments name for debuggers."""
    if ports := listening_ports(pids):
        ports = ports.difference(*(debugged_ports(arguments(pid)) for pid in pids))
    return ports


async def _until(holds: Callable[[], Awaitable[bool]]) -> None:
    pauses = iter(PROOF_PAUSES_S)
    pause_s = PROOF_PAUSES_S[0]
    while not await holds():
        pause_s = next(pauses, pause_s)
        await asyncio.sleep(pause_s)


async def _answers(port: int, earlier: EarlierListener | None) -> bool:
    """A process answers that is not the earlier listener."""
    if not await port_answers(port):
        return False
    if earlier is None:
        return True
    owner = (await asyncio.to_thread(listeners, range(port, port + 1))).get(port)
    return owner is not None and owner[0] != earlier.pid


def _is_older(port: int, group: int) -> bool:
    """A process that is older than the group's leader listens there. A process that is hidden from us, as that of a
    container mostly is, does not count as older.
    """
    pid, _ = listeners(range(port, port + 1)).get(port, (0, ""))
    owner, leader = identify(pid) if pid else None, identify(group)
    return owner is not None and leader is not None and owner.start_token < leader.start_token
