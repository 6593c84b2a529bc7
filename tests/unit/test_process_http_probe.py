"""Which answers to its one GET prove that a URL serves."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator

import pytest

from brummer.process.http_probe import http_answers


@contextlib.asynccontextmanager
async def serving(answer: bytes) -> AsyncIterator[tuple[int, list[bytes]]]:
    """A server that gives each request this answer: its port, and the heads of the requests that came."""
    heads: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(answer)
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1], heads


@pytest.mark.parametrize(
    ("status", "proves"),
    [(200, True), (204, True), (302, True), (399, True), (400, False), (401, False), (404, False), (500, False)],
)
async def test_a_status_below_400_proves_that_a_script_is_ready(status: int, *, proves: bool) -> None:
    async with serving(b"HTTP/1.1 %d As It Is\r\ncontent-length: 0\r\n\r\n" % status) as (port, _):
        assert await http_answers(f"http://127.0.0.1:{port}/health") is proves


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1", b"HTTP/1.1 \r\n", b"HTTP/1.1 soon\r\n", b"220 mail ready\r\n"])
async def test_what_is_no_status_line_proves_nothing(answer: bytes) -> None:
    async with serving(answer) as (port, _):
        assert not await http_answers(f"http://127.0.0.1:{port}/")


async def test_no_server_and_no_port_that_could_be_one_prove_nothing() -> None:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    assert not await http_answers(f"http://127.0.0.1:{port}/")
    assert not await http_answers("http://127.0.0.1:99999/")


@pytest.mark.parametrize(
    ("path", "target"), [("", b"/"), ("/health", b"/health"), ("/health?deep=1", b"/health?deep=1")]
)
async def test_the_path_and_the_query_are_asked_for_at_the_host_of_the_url(path: str, target: bytes) -> None:
    async with serving(b"HTTP/1.1 200 OK\r\n\r\n") as (port, heads):
        assert await http_answers(f"http://127.0.0.1:{port}{path}")
    (head,) = heads
    assert head.startswith(b"GET " + target + b" HTTP/1.0\r\n")
    assert b"Host: 127.0.0.1:%d\r\n" % port in head
