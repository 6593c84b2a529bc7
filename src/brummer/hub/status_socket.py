"""The hub's status for people: a private socket beside the records, for `brum status` and `brum metrics`.

Protocol: a client sends ``status`` or ``metrics`` and a newline, gets it as one line of JSON, and may ask again.
Bounds: `CLIENTS` at once (the next one replaces a client that has sent no request), `LINE_LIMIT_BYTES`
unanswered, one answer unread, `SILENT_S` without a request.

If the socket can't be opened, the hub only gets a problem in its status. Like an instance's record, the socket is made
again when it was removed, or when the directory is made again; a hub does not make the directory. No hint reports that
a parent of the directory was moved; only then the hub stays unseen.
"""

import asyncio
import contextlib
import logging
import os
import re
import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Final, cast

from brummer.core.errors import BrummerError
from brummer.core.json_text import encode
from brummer.core.supervisor import Supervisor
from brummer.host.directories import DirectoryUnusable, private_directory
from brummer.host.directory_watch import DirectoryWatch, Hint
from brummer.host.filesystems import filesystem_has_events
from brummer.host.private_sockets import (
    KEEPS_THE_NAME,
    Mark,
    listen_privately,
    own_socket,
    remove,
    remove_dead,
)
from brummer.host.threads import in_thread_if_possible

_log = logging.getLogger(__name__)

STATUS: Final = b"status"
METRICS: Final = b"metrics"
CLIENTS: Final = 8
LINE_LIMIT_BYTES: Final = 64
SILENT_S: Final = 60.0

RETURN_S: Final = 1.0
"""Before our socket is made again: a program that removes the directory, file by file, must find it empty."""

CHECK_EVERY_S: Final = 30.0
"""The interval without hints of the system: as often as the records are read anyway."""

NAMES: Final = 8
"""In containers that share the directory many hubs have one and the same pid."""

_NAME: Final = re.compile(r"hub-([0-9]{1,10})(-[0-9])?\.sock")


class StatusSocketFailed(BrummerError):
    """The socket can't be opened in the directory."""

    code = "status_socket_failed"


Describe = Callable[[], object]
"""Returns an object that msgspec can encode."""


def find(directory: Path) -> dict[Path, int]:
    """The sockets of hubs, whether they live or not, each with its hub's pid. Raises OSError."""
    with os.scandir(directory) as entries:
        named = [(Path(entry.path), found) for entry in entries if (found := _NAME.fullmatch(entry.name))]
    return {path: int(found[1]) for path, found in named if own_socket(path)}


def sweep(directory: Path) -> int:
    """Remove the sockets of hubs that are proven dead; says how many. Raises OSError."""
    if not filesystem_has_events(directory):
        return 0  # other machines may listen at them
    return sum(remove_dead(path, pid) for path, pid in find(directory).items())


@contextlib.asynccontextmanager
async def serving_status(
    directory: Path, supervisor: Supervisor, describe: Describe, metrics: Describe = dict
) -> AsyncIterator[None]:
    """Answer `brum status` with what ``describe`` returns, `brum metrics` with ``metrics``, until the block ends.

    A task opens the socket; the block does not wait for it.
    """
    status_server = _StatusServer(directory, {STATUS: describe, METRICS: metrics})
    keeping = supervisor.start("status socket", status_server.keep, may_end=True)
    try:
        yield
    finally:
        status_server.leave()
        if not status_server.is_kept:  # its task has not begun, or pauses after a failure
            keeping.cancel()
        await asyncio.wait([keeping])


class _Place:
    """Where we listen. Made in a thread: a directory may be on a disk that takes its time."""

    def __init__(self, path: Path, listener: socket.socket, mark: Mark) -> None:
        self.path = path
        self.listener = listener
        self._mark = mark

    @classmethod
    def taken(cls, directory: Path) -> "_Place":
        """The first of our names that is free once the dead are swept. Raises OSError, DirectoryUnusable."""
        private_directory(directory, create=False)
        sweep(directory)
        path = next((path for path in _names(directory) if not os.path.lexists(path)), None)
        if path is None:
            raise FileExistsError(f"all names of hub {os.getpid()} are taken in {directory}")
        return cls(path, *listen_privately(path, CLIENTS))

    def is_ours(self) -> bool:
        return own_socket(self.path) == self._mark

    def leave(self) -> None:
        if self.is_ours():
            remove(self.path, self._mark)


def _names(directory: Path) -> list[Path]:
    further = [f"-{number}" for number in range(2, NAMES + 1)]
    return [directory / f"hub-{os.getpid()}{suffix}.sock" for suffix in ("", *further)]


class _StatusServer:
    """Keeps the socket in the directory, and its clients."""

    def __init__(self, directory: Path, answers: dict[bytes, Describe]) -> None:
        self._directory = directory
        self._answers = answers
        self._loop = asyncio.get_running_loop()
        self._stirred = asyncio.Event()
        self._leaving = asyncio.Event()
        self.is_kept = False
        self._place: _Place | None = None
        self._server: asyncio.AbstractServer | None = None
        self.clients: dict[_Client, None] = {}  # the oldest first

    @property
    def is_leaving(self) -> bool:
        return self._leaving.is_set()

    def leave(self) -> None:
        """`keep` ends soon after, and leaves nothing behind."""
        self._leaving.set()
        self._stirred.set()

    async def keep(self) -> None:
        """Keep the socket in the directory: check after each event, and make it again if it is missing.

        The event of a removed directory comes only when no process has a socket or a file in it any more: so we close
        our socket, and verify the watched directory. Raises StatusSocketFailed if it can't be made, and cleans up.
        """
        self.is_kept = True
        watch = DirectoryWatch(self._loop, self._directory, self._on_hint)
        try:
            while not self.is_leaving:
                self._stirred.clear()
                if self._place is not None and not self._place.is_ours():
                    await self._close()
                    await self._rest()
                    continue
                if self._place is None:
                    await self._open()
                watch.verify()
                await _within(None if watch.kind != "polling" else CHECK_EVERY_S, self._stirred)
        finally:
            watch.close()
            await self._close()
            self.is_kept = False

    async def _rest(self) -> None:
        await _within(RETURN_S, self._leaving)

    def _on_hint(self, _: Hint) -> None:
        self._stirred.set()

    async def _open(self) -> None:
        """If the directory does not exist yet, wait for it. Raises StatusSocketFailed."""
        try:
            place = await in_thread_if_possible(_Place.taken, self._directory)
        except (BrummerError, OSError) as error:
            missing = isinstance(error, DirectoryUnusable) and error.reason == "missing"
            if missing or isinstance(error, FileNotFoundError):
                return
            raise StatusSocketFailed(f"brum status can't see this hub: {error}") from error
        self._place = place
        try:
            self._server = await self._loop.create_unix_server(
                self._client, sock=place.listener, backlog=CLIENTS, **KEEPS_THE_NAME
            )
        except BaseException:
            place.listener.close()
            raise

    async def _close(self) -> None:
        server, self._server = self._server, None
        if server is not None:
            server.close()
        for client in list(self.clients):
            client.drop()
        place, self._place = self._place, None
        if place is not None:
            await in_thread_if_possible(place.leave)
        while self.clients:  # noqa: ASYNC110 — the loop closes their sockets within its next turns
            await asyncio.sleep(0)

    def has_room(self) -> bool:
        """There is room for one more; if need be, close the oldest client that has sent no request."""
        there = [client for client in self.clients if client.is_open]
        if len(there) < CLIENTS:
            return True
        silent = next((client for client in there if not client.has_asked), None)
        if silent is not None:
            silent.drop()
        return silent is not None

    def _client(self) -> "_Client":
        return _Client(self)

    def answer(self, request: bytes) -> bytes | None:
        """The answer as one line; None for an unknown request, and if it fails: then the log has the reason."""
        describe = self._answers.get(request)
        if describe is None:
            return None
        try:
            return encode(describe()) + b"\n"
        except Exception:  # noqa: BLE001 — the barrier: as above
            _log.exception("the %s can't be described", request.decode())
            return None


async def _within(seconds: float | None, event: asyncio.Event) -> None:
    """Wait until it is set, or the time is over."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()


class _Client(asyncio.Protocol):
    """One client. Its timer starts with each request, so it ends clients that are silent or do not read."""

    def __init__(self, owner: _StatusServer) -> None:
        self._owner = owner
        self._asked = bytearray()
        self._has_read_all = True
        self.has_asked = False
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None

    @property
    def is_open(self) -> bool:
        return self._transport is not None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # what create_unix_server makes; uvloop's is no subclass
        has_room = self._owner.has_room()
        self._owner.clients[self] = None
        if not has_room or self._owner.is_leaving:
            self.drop()
            return
        self._transport.set_write_buffer_limits(0)
        self._restart_timer()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        self._transport = None
        self._stop_timer()
        self._owner.clients.pop(self, None)

    def data_received(self, data: bytes) -> None:
        self._asked += data
        if len(self._asked) > LINE_LIMIT_BYTES:
            self.drop()
        else:
            self._answer()

    def pause_writing(self) -> None:
        self._has_read_all = False

    def resume_writing(self) -> None:
        self._has_read_all = True
        self._answer()

    def _answer(self) -> None:
        while self._transport is not None and self._has_read_all and b"\n" in self._asked:
            line, _, self._asked = self._asked.partition(b"\n")
            answer = self._owner.answer(bytes(line.rstrip()))
            if answer is None:
                self.drop()
                return
            self._transport.write(answer)
            self.has_asked = True
            self._restart_timer()

    def drop(self) -> None:
        self._stop_timer()
        if self._transport is not None:
            self._transport.abort()
            self._transport = None

    def _restart_timer(self) -> None:
        self._stop_timer()
        self._timer = asyncio.get_running_loop().call_later(SILENT_S, self.drop)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
