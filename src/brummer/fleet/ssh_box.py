"""One box: another machine whose instances are reached over SSH, for as long as the hub runs.

Theory of operation: a connection brings the box's whole roster whenever it changes. Each instance in it gets a port
here, and then its record, with that port and the name of the box, is passed on like that of a local instance. The end
of a run is passed on only if the box says so: while the box is silent, its instances may run, and their records stay.
A new connection gives all of them new ports, so every link dials anew as soon as the box is back.
"""

import asyncio
import contextlib
import logging
import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from random import Random
from typing import Final, Literal, Protocol

import msgspec

from brummer.core.clock import Clock
from brummer.core.errors import BrummerError
from brummer.discovery.events import Appeared, Changed, DirectoryEvent, Gone
from brummer.discovery.record import Record, Via
from brummer.fleet.bridge_lines import UNSEEN, NotABridge, RosterLine, read_greeting, read_line

_log = logging.getLogger(__name__)

BoxState = Literal["connecting", "ready", "unreachable", "failed"]
"""``unreachable``: it was ready before. ``failed``: it never was, so probably someone has to set something right."""

ASK_EVERY_S: Final = 5.0
UNANSWERED_S: Final = 30.0
"""Without an answer the bridge, or its machine, is stopped. ssh itself notices a cut path in ten seconds; here a large
answer over a slow path may be ahead.
"""
CHECKED_S: Final = 3.0
"""After a wake or a change of the network the old path is often dead, and no large answer is under way."""
GREETING_S: Final = 30.0
"""A login with slow name servers takes ten seconds, and Python on a cold disk a few."""
LINES_BEFORE_GREETING: Final = 100
"""The start-up files of some shells print lines."""

BOX_PAUSE_S: Final = 0.5
BOX_PAUSE_CAP_S: Final = 15.0
WANTED_PAUSE_S: Final = 1.0
"""The longest pause while a call waits for one of the box's instances."""
REOPEN_S: Final = 5.0
"""Until an instance without a forwarded port is tried again."""


class BoxConnection(Protocol):
    """`brummer.fleet.ssh.SshConnection`."""

    async def line(self) -> bytes: ...

    def ask(self) -> None: ...

    async def forward(self, far: Record) -> int: ...

    async def cancel(self, port: int, far: Record) -> None: ...

    async def close(self, *, has_greeted: bool) -> str: ...


class BoxLost(BrummerError):
    """The connection to the box has ended, or there is none."""

    code = "box_lost"


@dataclass(slots=True)
class _Door:
    """An instance of the box, and the way to it. ``near``: the record that was passed on last; ``port``: open now."""

    far: Record
    near: Record | None = None
    port: int = 0


@dataclass(slots=True)
class _Session:
    """What belongs to one connection."""

    connection: BoxConnection
    roster: dict[str, Record] = field(default_factory=dict)
    """By generation."""
    has_roster: bool = False
    refused: int = 0
    closing: list[tuple[int, Record]] = field(default_factory=list)
    """Ports that lead nowhere any more."""
    changed: asyncio.Event = field(default_factory=asyncio.Event)


class SshBox:
    """Keeps the connection to one box: await `run` in a task of its own. `pass_on` gets the events of its instances.

    ``connect`` starts a connection. ``is_wanted``: whether a call waits for one of its instances.
    """

    def __init__(
        self,
        name: str,
        connect: Callable[[], Awaitable[BoxConnection]],
        pass_on: Callable[[DirectoryEvent], None],
        clock: Clock,
        *,
        rng: Random,
        is_wanted: Callable[[], bool] = lambda: False,
    ) -> None:
        self.name = name
        self.carrier: Final = "ssh"
        self.state: BoxState = "connecting"
        self.detail = ""
        """Why it is not ready, or what is wrong with its roster."""
        self.rtt_s: float | None = None
        self._connect = connect
        self._pass_on = pass_on
        self._clock = clock
        self._rng = rng
        self._is_wanted = is_wanted
        self._loop = asyncio.get_running_loop()
        self._via = Via(name, "ssh")
        self._doors: dict[str, _Door] = {}
        self._since_s = self._heard_s = clock.elapsed()
        self._settled = asyncio.Event()
        self._hinted = asyncio.Event()
        self._reading: asyncio.Timeout | None = None
        self._asked_s: float | None = None
        self._ask_at_s = self._answer_by_s = math.inf

    def __repr__(self) -> str:
        return f"<SshBox {self.name} {self.state} {len(self._doors)} instances>"

    @property
    def since_s(self) -> float:
        """How long its state has lasted; of an unreachable one, since it was last heard."""
        return self._clock.elapsed() - self._since_s

    @property
    def instances(self) -> int:
        return sum(door.near is not None for door in self._doors.values())

    async def settled(self) -> None:
        """Wait until the first attempt has a result."""
        await self._settled.wait()

    def hint(self) -> None:
        """The machine woke, or the network changed: connect now, or check soon that the connection is alive."""
        self._hinted.set()
        if self._reading is not None:
            self._ask_at_s = self._loop.time()
            self._answer_by_s = min(self._answer_by_s, self._loop.time() + CHECKED_S)
            self._reading.reschedule(self._loop.time())

    async def run(self) -> None:
        """For ever; when it is cancelled, no process is left."""
        pause_s = BOX_PAUSE_S
        while True:
            has_greeted, why = await self._attempt()
            self._lost(why)
            pause_s = BOX_PAUSE_S if has_greeted else min(BOX_PAUSE_CAP_S, 2 * pause_s)
            await self._pause(pause_s * self._rng.uniform(0.5, 1.0))

    async def _pause(self, seconds: float) -> None:
        """Also ends by a hint, or soon if a call waits."""
        until_s = self._loop.time() + seconds
        self._hinted.clear()
        while not self._hinted.is_set() and (left_s := until_s - self._loop.time()) > 0:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(left_s, WANTED_PAUSE_S)):
                    await self._hinted.wait()
            if self._is_wanted():
                return

    # One connection.

    async def _attempt(self) -> tuple[bool, str]:
        """Whether the bridge has answered, and why the connection has ended."""
        try:
            connection = await self._connect()
        except BrummerError as error:
            return False, error.message
        has_greeted, why, ended = False, "", ""
        try:
            await self._greet(connection)
            has_greeted = True
            await self._serve(_Session(connection))
        except BrummerError as error:
            why = error.message
        finally:
            for door in self._doors.values():
                door.port = 0
            ended = await asyncio.shield(connection.close(has_greeted=has_greeted))
        return has_greeted, ended or why

    async def _greet(self, connection: BoxConnection) -> None:
        """Raises NotABridge, BoxLost."""
        try:
            async with asyncio.timeout(GREETING_S):
                for _ in range(LINES_BEFORE_GREETING):
                    line = await connection.line()
                    if not line:
                        raise BoxLost(f"{self.name} has closed the connection")
                    if line.startswith(b"{"):
                        read_greeting(line)
                        self._heard()
                        return
        except TimeoutError:
            raise BoxLost(f"no answer within {GREETING_S:g} s") from None
        raise NotABridge("what answers there is not brum bridge")

    async def _serve(self, session: _Session) -> None:
        """Until the connection ends. Raises BoxLost, NotABridge."""
        async with asyncio.TaskGroup() as group:
            doors = group.create_task(self._keep_doors(session), name=f"ports of {self.name}")
            lost: BrummerError | None = None
            try:
                await self._read(session)
            except BrummerError as error:
                lost = error
            doors.cancel()
        if lost is not None:
            raise lost

    async def _read(self, session: _Session) -> None:
        """Raises BoxLost, NotABridge, SshFailed."""
        self._asked_s, self._answer_by_s = None, math.inf
        self._ask_at_s = self._loop.time()
        while True:
            try:
                async with asyncio.timeout_at(min(self._ask_at_s, self._answer_by_s)) as self._reading:
                    line = await session.connection.line()
            except TimeoutError:
                self._ask(session.connection)
                continue
            finally:
                self._reading = None
            if not line:
                raise BoxLost(f"{self.name} has closed the connection")
            self._heard()
            if (roster := read_line(line)) is not None:
                self._take(session, roster)

    def _ask(self, connection: BoxConnection) -> None:
        """Raises BoxLost if the last question was not answered in time."""
        now_s = self._loop.time()
        if now_s >= self._answer_by_s:
            raise BoxLost(f"{self.name} does not answer")
        connection.ask()
        self._asked_s = now_s
        self._ask_at_s = now_s + ASK_EVERY_S
        self._answer_by_s = min(self._answer_by_s, now_s + UNANSWERED_S)

    def _heard(self) -> None:
        self._heard_s = self._clock.elapsed()
        self._answer_by_s = math.inf
        if self._asked_s is not None:
            self.rtt_s, self._asked_s = self._loop.time() - self._asked_s, None

    # The roster.

    def _take(self, session: _Session, roster: RosterLine) -> None:
        """What has ended, or changed, is passed on at once; what is new gets a port first."""
        session.refused = roster.refused
        session.roster = {record.generation: record for record in roster.records}
        session.has_roster = True
        for generation, door in list(self._doors.items()):
            far = session.roster.get(generation)
            if far is None:
                del self._doors[generation]
                if door.port:
                    session.closing.append((door.port, door.far))
                if door.near is not None:
                    self._pass_on(Gone(door.near, roster.gone.get(generation, UNSEEN)))
            elif far != door.far:
                self._update(session, door, far)
        session.changed.set()

    def _update(self, session: _Session, door: _Door, far: Record) -> None:
        if far.url != door.far.url and door.port:
            session.closing.append((door.port, door.far))
            door.port = 0
        door.far = far
        if door.port:
            self._announce(door)

    async def _keep_doors(self, session: _Session) -> None:
        """Open and close ports until it is cancelled."""
        while True:
            session.changed.clear()
            while session.closing:
                await session.connection.cancel(*session.closing.pop())
            failures = [await self._open(session, generation) for generation in list(session.roster)]
            failure = next(filter(None, failures), "")
            if session.has_roster and not session.changed.is_set():
                refused = f"{session.refused} of its records are not understood, or too many" * (session.refused > 0)
                self._ready(failure or refused)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(REOPEN_S if failure else None):
                    await session.changed.wait()

    async def _open(self, session: _Session, generation: str) -> str:
        """Make sure that a port leads to this run, if it is still there; returns why none does."""
        far = session.roster.get(generation)
        if far is None:
            return ""
        door = self._doors.setdefault(generation, _Door(far))
        if door.port:
            return ""
        try:
            port = await session.connection.forward(far)
        except BrummerError as error:
            return error.message
        if session.roster.get(generation) != far:  # the next turn opens the right one
            session.closing.append((port, far))
            return ""
        door.far, door.port = far, port
        self._announce(door)
        return ""

    def _announce(self, door: _Door) -> None:
        """Pass on the record as it is reached from here."""
        path = door.far.url.partition(f":{door.far.port}")[2]
        near = msgspec.structs.replace(door.far, url=f"http://127.0.0.1:{door.port}{path}", via=self._via)
        old, door.near = door.near, near
        self._pass_on(Appeared(near) if old is None else Changed(old, near))

    # The state.

    def _ready(self, detail: str) -> None:
        self.detail = detail
        if self.state != "ready":
            _log.info("%s is ready, with %d instances", self.name, self.instances)
            self.state, self._since_s = "ready", self._clock.elapsed()
        self._settled.set()

    def _lost(self, why: str) -> None:
        self.detail, self.rtt_s = why, None
        if self.state == "ready":
            self.state, self._since_s = "unreachable", self._heard_s
            _log.warning("%s can't be reached: %s", self.name, why)
        elif self.state == "connecting":
            self.state, self._since_s = "failed", self._clock.elapsed()
            _log.warning("%s can't be reached: %s", self.name, why)
        self._settled.set()
