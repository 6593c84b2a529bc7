"""The hub's socket for `brum status`: private, bounded, where it should be, and never the hub's undoing."""

import asyncio
import contextlib
import json
import logging
import os
import select
import shutil
import socket
import stat
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from brummer.core.supervisor import Supervisor
from brummer.host import private_sockets
from brummer.host.private_sockets import ADDRESS_LIMIT_BYTES, address_of, is_dead, own_socket, remove, remove_dead
from brummer.hub import status_socket
from brummer.hub.status_socket import CLIENTS, RETURN_S, find, serving_status, sweep
from tests.unit.discovery_support import bad_path, directory_in_memory

pytest_plugins = ("tests.unit.wire_loops",)

WAIT_S = 30.0
STATUS: dict[str, Any] = {"hub": {"pid": os.getpid()}, "problems": [], "links": []}
AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="platform: needs root to give a file away")


@pytest.fixture
def directory() -> Iterator[Path]:
    with directory_in_memory() as directory:
        yield directory


@pytest.fixture
def path(directory: Path) -> Path:
    return directory / f"hub-{os.getpid()}.sock"


def listening(path: Path, backlog: int = 8) -> socket.socket:
    """Somebody else's socket, made by other means than ours."""
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen(backlog)
    return listener


def left_by_the_dead(path: Path) -> None:
    listening(path).close()


class Client:
    """Asks as `brum status` does, or as nobody should."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self.writer = writer

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def line(self) -> bytes:
        """Empty when we were dropped."""
        async with asyncio.timeout(WAIT_S):
            try:
                return await self._reader.readline()
            except ConnectionError:
                return b""

    async def ask(self) -> Any:
        self.send(b"status\n")
        return json.loads(await self.line())

    async def is_dropped(self) -> bool:
        return await self.line() == b""


@contextlib.asynccontextmanager
async def client_of(path: Path) -> AsyncIterator[Client]:
    with address_of(path) as address:
        streams = await asyncio.open_unix_connection(address, limit=1 << 26)
    client = Client(*streams)
    try:
        yield client
    finally:
        client.writer.transport.abort()


async def ask(path: Path) -> Any:
    async with client_of(path) as client:
        return await client.ask()


def said(caplog: pytest.LogCaptureFixture) -> list[tuple[int, str]]:
    """By us: asyncio tells of every delay of a busy machine."""
    return [(each.levelno, each.message) for each in caplog.records if each.name.startswith("brummer")]


async def until(condition: Callable[[], object]) -> None:
    """What a thread does in a directory sets no event here."""
    async with asyncio.timeout(WAIT_S):
        while not condition():
            await asyncio.sleep(0.001)


@contextlib.asynccontextmanager
async def served(path: Path, describe: Callable[[], dict[str, Any]] = lambda: STATUS) -> AsyncIterator[None]:
    """The socket is there, under this name."""
    async with serving_status(path.parent, Supervisor(), describe):
        await until(lambda: own_socket(path))
        yield


async def test_who_asks_gets_the_status_as_often_as_it_asks(path: Path) -> None:
    counted = iter(range(3))
    async with served(path, lambda: {"n": next(counted)}), client_of(path) as client:
        assert [await client.ask() for _ in range(3)] == [{"n": 0}, {"n": 1}, {"n": 2}]


async def test_the_socket_goes_with_the_hub_and_takes_its_clients_along(path: Path) -> None:
    async with contextlib.AsyncExitStack() as stack:
        async with served(path):
            client = await stack.enter_async_context(client_of(path))
            assert await client.ask() == STATUS
        assert await client.is_dropped()
        assert list(path.parent.iterdir()) == []


async def test_a_hub_that_ends_before_its_socket_is_open_leaves_nothing(directory: Path) -> None:
    async with serving_status(directory, Supervisor(), lambda: STATUS):
        pass
    assert list(directory.iterdir()) == []


async def test_nobody_else_could_ever_enter_whatever_the_umask(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    modes: list[int] = []

    class Watched(socket.socket):
        def listen(self, *backlog: int) -> None:
            if threading.current_thread() is not threading.main_thread():  # the loop asks for it once more
                modes.extend(stat.S_IMODE(each.lstat().st_mode) for each in path.parent.iterdir())
            super().listen(*backlog)

    monkeypatch.setattr(socket, "socket", Watched)
    umask = os.umask(0)
    try:
        async with served(path):
            modes.append(stat.S_IMODE(path.lstat().st_mode))
    finally:
        os.umask(umask)
    assert len(modes) >= 2
    assert set(modes) == {0o600}


async def test_a_name_is_there_only_once_somebody_listens(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Or a hub that starts meanwhile would take it for a dead one's."""
    rename = os.rename
    alive_before_named: list[bool] = []

    def checked(source: Path, target: Path) -> None:
        alive_before_named.append(not path.exists() and not is_dead(Path(source)))
        rename(source, target)

    monkeypatch.setattr(os, "rename", checked)
    async with served(path):
        assert alive_before_named == [True]
        assert await ask(path) == STATUS  # after whoever looked whether it is alive


# What others left, and what is not ours to remove.


async def test_what_a_dead_hub_of_our_pid_left_is_replaced(path: Path) -> None:
    left_by_the_dead(path)
    dead = own_socket(path)
    async with serving_status(path.parent, Supervisor(), lambda: STATUS):
        await until(lambda: own_socket(path) not in (None, dead))
        assert await ask(path) == STATUS


async def test_a_living_hub_of_our_pid_in_another_container_keeps_its_name(path: Path) -> None:
    second = path.with_name(f"hub-{os.getpid()}-2.sock")
    with listening(path):
        theirs = own_socket(path)
        async with served(second):
            assert await ask(second) == STATUS
        assert own_socket(path) == theirs
    assert await asyncio.to_thread(find, path.parent) == {path: os.getpid()}


async def test_a_file_with_our_name_stays_and_costs_us_the_name_only(path: Path) -> None:
    path.write_text("precious")
    second = path.with_name(f"hub-{os.getpid()}-2.sock")
    async with served(second):
        assert await ask(second) == STATUS
    assert path.read_text() == "precious"


def test_sweeping_removes_the_dead_alone(directory: Path) -> None:
    for pid in (1, 2):
        left_by_the_dead(directory / f"hub-{pid}.sock")
    kept = [directory / name for name in ("hub-3.sock", "hub-4.sock", "hub-5.sock", "hub-x.sock", "web-1.sock")]
    kept[1].write_text("not a socket")
    kept[2].symlink_to(directory / "hub-3.sock")
    for path in kept[3:]:
        left_by_the_dead(path)
    with listening(kept[0]):
        assert sweep(directory) == 2
        assert sorted(directory.iterdir()) == sorted(kept)


def test_a_stopped_hub_whose_queue_is_full_is_not_dead(directory: Path) -> None:
    path = directory / "hub-1.sock"
    with listening(path, backlog=0), contextlib.ExitStack() as waiting:
        with pytest.raises(BlockingIOError):  # noqa: PT012 — which of them finds the queue full does not matter
            for _ in range(8):
                asking = waiting.enter_context(socket.socket(socket.AF_UNIX))
                asking.setblocking(False)
                asking.connect(str(path))
        assert not is_dead(path)
        assert sweep(directory) == 0


@AS_ROOT
def test_a_socket_of_another_user_is_neither_asked_nor_removed(directory: Path) -> None:
    path = directory / "hub-1.sock"
    left_by_the_dead(path)
    os.chown(path, 54321, 54321)
    assert find(directory) == {}
    assert sweep(directory) == 0
    assert path.is_socket()


def test_where_other_machines_may_listen_nothing_is_swept(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = directory / "hub-1.sock"
    left_by_the_dead(path)
    monkeypatch.setattr(status_socket, "filesystem_has_events", lambda _: False)
    assert sweep(directory) == 0
    assert path.is_socket()


def test_who_took_the_place_of_a_dead_one_in_the_last_moment_keeps_it(directory: Path) -> None:
    path = directory / "hub-1.sock"
    left_by_the_dead(path)
    dead = own_socket(path)
    assert dead is not None
    with listening(directory / "new"):
        (directory / "new").rename(path)
        assert not remove(path, dead)
        assert not is_dead(path)
    assert [each.name for each in directory.iterdir()] == [path.name]


def test_what_is_not_there_is_not_removed(directory: Path) -> None:
    assert not remove_dead(directory / "hub-1.sock")
    assert not is_dead(directory / "hub-1.sock")


# The directory.


@pytest.mark.parametrize("length", [ADDRESS_LIMIT_BYTES - 40, ADDRESS_LIMIT_BYTES, 1000])
async def test_the_path_may_be_of_any_length(directory: Path, length: int) -> None:
    while len(str(directory)) < length:
        directory /= "d" * min(200, length - len(str(directory)) - 1 or 1)
    directory.mkdir(parents=True, mode=0o700)
    path = directory / f"hub-{os.getpid()}.sock"
    left_by_the_dead_at_length(directory / "hub-1.sock")
    async with served(path):
        assert await ask(path) == STATUS
        assert await asyncio.to_thread(find, directory) == {path: os.getpid()}
    assert list(directory.iterdir()) == []


def left_by_the_dead_at_length(path: Path) -> None:
    with address_of(path) as address:
        left_by_the_dead(Path(address))


async def test_a_hub_makes_no_directory_and_is_there_once_somebody_has(
    directory: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = directory / "run" / "instances" / f"hub-{os.getpid()}.sock"
    async with serving_status(path.parent, Supervisor(), lambda: STATUS):
        await asyncio.sleep(0.02)
        assert list(directory.iterdir()) == []
        path.parent.mkdir(parents=True)
        await until(path.exists)
        assert await ask(path) == STATUS
        assert path.parent.stat().st_mode & 0o777 == 0o700
    assert said(caplog) == []


@pytest.mark.parametrize("name", ["", "instances"], ids=["its socket", "the directory"])
async def test_what_was_removed_comes_back(directory: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(status_socket, "RETURN_S", 0.01)
    (directory / "instances").mkdir()
    path = directory / "instances" / f"hub-{os.getpid()}.sock"
    async with served(path):
        for _ in range(3):
            async with client_of(path) as client:
                await client.ask()
                before = own_socket(path)
                if name:
                    shutil.rmtree(path.parent)
                    path.parent.mkdir()
                else:
                    path.unlink()
                await until(lambda before=before: own_socket(path) not in (None, before))  # type: ignore[misc]
                assert await client.is_dropped()
                assert await ask(path) == STATUS
    assert list(path.parent.iterdir()) == []


async def test_who_removes_the_directory_file_by_file_is_not_in_a_race_with_us(path: Path) -> None:
    async with served(path):
        before = own_socket(path)
        path.unlink()
        async with asyncio.timeout(WAIT_S):
            began = asyncio.get_running_loop().time()
            while own_socket(path) in (None, before):
                await asyncio.sleep(0.001)
        assert asyncio.get_running_loop().time() - began > RETURN_S * 0.9
        path.unlink()
        await asyncio.sleep(0.02)
        began = asyncio.get_running_loop().time()
    assert asyncio.get_running_loop().time() - began < RETURN_S * 0.9, "the pause holds up no end"
    assert not path.exists()


async def test_a_directory_that_cannot_be_used_is_reported_once(
    directory: Path, caplog: pytest.LogCaptureFixture
) -> None:
    place = directory / "instances"
    place.symlink_to(directory)
    supervisor = Supervisor()
    async with serving_status(place, supervisor, lambda: STATUS):
        await until(lambda: said(caplog))
        for number in range(3):
            bad_path(directory, number).touch()
            await asyncio.sleep(0.01)
        await until(lambda: any(each.count > 1 for each in supervisor.failures()))
        [failure] = supervisor.failures()
        assert (failure.name, failure.code) == ("status socket", "status_socket_failed")
        assert failure.count > 1
    assert [(level, "status socket" in message) for level, message in said(caplog)] == [(logging.WARNING, True)]


async def test_a_read_only_disk_is_reported(
    path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(30, os.strerror(30))

    monkeypatch.setattr(private_sockets, "_bind_privately", refuse)
    async with serving_status(path.parent, Supervisor(), lambda: STATUS):
        await until(lambda: said(caplog))
    assert "Read-only" in caplog.text


async def test_a_loop_without_unix_sockets_costs_nothing_but_a_word(
    path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(status_socket._StatusServer, "_client", property(lambda _: 1 / 0))
    async with serving_status(path.parent, Supervisor(), lambda: STATUS):
        await until(lambda: said(caplog))
        await until(lambda: not path.exists())
    assert "status socket failed" in caplog.text


# Bounds.


async def test_clients_that_ask_nothing_give_way_to_one_that_asks(path: Path) -> None:
    async with served(path), contextlib.AsyncExitStack() as stack:
        watcher = await stack.enter_async_context(client_of(path))
        assert await watcher.ask() == STATUS
        silent = [await stack.enter_async_context(client_of(path)) for _ in range(3 * CLIENTS)]
        silent[-1].send(b"stat")
        assert await ask(path) == STATUS
        assert await silent[0].is_dropped()
        assert await watcher.ask() == STATUS


async def test_the_ninth_client_is_turned_away_until_one_goes(path: Path) -> None:
    async with served(path), contextlib.AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(client_of(path)) for _ in range(CLIENTS)]
        assert [await client.ask() for client in clients] == [STATUS] * CLIENTS
        async with client_of(path) as ninth:
            assert await ninth.is_dropped()
        clients[0].writer.close()
        await clients[0].writer.wait_closed()
        assert await ask(path) == STATUS
        assert await clients[1].ask() == STATUS


@pytest.mark.parametrize("sent", [b"x" * 65, b"status" * 20, b"state\n", b"\n", b"{}\n", b"status\nstop\n"])
async def test_who_says_something_else_is_dropped(path: Path, sent: bytes) -> None:
    async with served(path), client_of(path) as client:
        client.send(sent)
        if sent.startswith(b"status\n"):
            assert json.loads(await client.line()) == STATUS
        assert await client.is_dropped()
        assert await ask(path) == STATUS


async def test_a_question_may_come_in_pieces_or_several_at_once(path: Path) -> None:
    async with served(path), client_of(path) as client:
        for piece in (b"sta", b"tus", b"\r\nstatus\nst"):
            client.send(piece)
            await asyncio.sleep(0.01)
        assert [json.loads(await client.line()) for _ in range(2)] == [STATUS] * 2
        client.send(b"atus\n")
        assert json.loads(await client.line()) == STATUS


async def test_who_is_silent_is_dropped(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(status_socket, "SILENT_S", 0.05)
    async with served(path), client_of(path) as mute, client_of(path) as sated:
        assert await sated.ask() == STATUS
        assert await mute.is_dropped()
        assert await sated.is_dropped()


async def test_who_does_not_read_gets_one_answer_and_is_dropped(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(status_socket, "SILENT_S", 0.2)
    told = 0

    def describe() -> dict[str, Any]:
        nonlocal told
        told += 1
        return {"filler": "x" * 3_000_000}

    async with served(path, describe):
        with socket.socket(socket.AF_UNIX) as deaf:
            deaf.setblocking(False)
            deaf.connect(str(path))
            deaf.send(b"status\n" * 9)
            await until(lambda: _peer_has_hung_up(deaf))
            assert told == 1


def _peer_has_hung_up(asking: socket.socket) -> bool:
    """Without reading what has come."""
    poll = select.poll()
    poll.register(asking, select.POLLOUT)
    return any(events & select.POLLHUP for _, events in poll.poll(0))


async def test_a_long_status_arrives_whole(path: Path) -> None:
    status = {"filler": "x" * 3_000_000}
    async with served(path, lambda: status), client_of(path) as client:
        client.send(b"status\nstatus\n")
        assert [json.loads(await client.line()) for _ in range(2)] == [status] * 2


async def test_a_defect_costs_this_answer_and_no_more(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    answers: Iterator[dict[str, Any]] = iter([STATUS])
    async with served(path, lambda: next(answers)):
        async with client_of(path) as client:
            assert await client.ask() == STATUS
            client.send(b"status\n")
            assert await client.is_dropped()
        answers = iter([STATUS])
        assert await ask(path) == STATUS
    assert "the status can't be described" in caplog.text


async def test_the_name_of_a_directory_need_not_be_text(path: Path) -> None:
    async with served(path, lambda: {"hub": {"directory": "/home/\udcff"}}):
        assert await ask(path) == {"hub": {"directory": "/home/?"}}
