"""Accepting at the pace of the owner, and after errors of the system."""

import asyncio
import contextlib
import errno
import os
import socket
from collections.abc import Iterator

import pytest

from brummer.wire.http import accepting
from brummer.wire.http.accepting import Acceptor

from .wire_support import WAIT_S, until

pytest_plugins = ("tests.unit.wire_loops",)


class Listening:
    """An acceptor, what it has accepted, and how long the next one must wait."""

    def __init__(self) -> None:
        self.listener = Failing(socket.create_server(("127.0.0.1", 0)))
        self.accepted: list[socket.socket] = []
        self.wait_s = 0.0
        self.acceptor = Acceptor([self.listener], wait_s=lambda: self.wait_s, take=self.accepted.append)  # type: ignore[list-item]

    def connect(self) -> socket.socket:
        return socket.create_connection(self.listener.real.getsockname())


class Failing:
    """A listener whose next accepts fail with ``errors``."""

    def __init__(self, real: socket.socket) -> None:
        self.real = real
        self.errors: list[int] = []
        self.setblocking, self.listen, self.fileno, self.close = real.setblocking, real.listen, real.fileno, real.close

    def accept(self) -> tuple[socket.socket, object]:
        if self.errors:
            number = self.errors.pop(0)
            raise OSError(number, os.strerror(number))
        return self.real.accept()


@contextlib.contextmanager
def listening() -> Iterator[Listening]:
    it = Listening()
    try:
        yield it
    finally:
        it.acceptor.close()
        for each in it.accepted:
            each.close()


async def test_every_connection_is_accepted() -> None:
    with listening() as it, contextlib.ExitStack() as stack:
        for _ in range(100):
            stack.enter_context(it.connect())
        await until(lambda: len(it.accepted) == 100)
        assert not any(each.getblocking() for each in it.accepted)


async def test_the_owner_sets_the_pace() -> None:
    with listening() as it:
        it.wait_s = 0.01
        with it.connect() as client:
            client.sendall(b"early")
            await asyncio.sleep(0.05)
            assert it.accepted == []
            it.wait_s = 0.0
            await until(lambda: it.accepted)
            async with asyncio.timeout(WAIT_S):
                assert await asyncio.get_running_loop().sock_recv(it.accepted[0], 10) == b"early"


@pytest.mark.parametrize(
    "number", [errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.ECONNABORTED, errno.EPROTO, errno.EINTR]
)
async def test_an_error_of_one_accept_is_not_the_end(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accepting, "PAUSE_S", 0.01)
    with listening() as it:
        it.listener.errors = [number] * 3
        with it.connect():
            await until(lambda: it.accepted)


async def test_no_connection_is_accepted_after_the_end() -> None:
    with listening() as it:
        it.wait_s = 0.01
        with it.connect():
            await asyncio.sleep(0.02)
            address = it.listener.real.getsockname()
            it.acceptor.close()
            it.wait_s = 0.0
            await asyncio.sleep(0.03)
            assert it.accepted == []
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection(address)
