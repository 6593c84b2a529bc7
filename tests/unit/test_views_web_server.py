"""The page's server: what is open, what needs the session's secret, and who is refused whatever they show."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from brummer.discovery.directory import VARIABLE
from brummer.host.locks import FileLock
from brummer.hub.service import running_hub
from brummer.hub.transports import NotServed
from brummer.views.web import server as module
from brummer.views.web.page_file import page
from brummer.views.web.server import LOCK_NAME, PROVEN_AS, PageServer, ServedPage, serving_page
from brummer.views.web.session import WebSession, kept_session
from brummer.wire.mcp import identity
from brummer.wire.mcp.streamable_http import StreamableHttp

from .wire_support import TOKEN, WAIT_S, Answer, Tools, call, connected, serving

PORT = 4321
HOST = f"127.0.0.1:{PORT}"
OWN = {"host": HOST, "origin": f"http://{HOST}"}
BEARER = {"authorization": f"Bearer {TOKEN}"}


class Opened:
    """A page's server, and how a browser would speak to it."""

    def __init__(self, server: PageServer, tools: Tools, port: int) -> None:
        self.server = server
        self.tools = tools
        self.port = port

    @property
    def ticket(self) -> str:
        return self.server.new_address().partition("#")[2]

    async def ask(self, method: str, path: str, body: bytes = b"", /, **headers: str) -> Answer:
        """Over a connection of its own."""
        named = {"host": HOST, **{name.replace("_", "-"): value for name, value in headers.items()}}
        if body:
            named["content-length"] = str(len(body))
        async with connected(self.port) as client:
            client.send(
                f"{method} {path} HTTP/1.1\r\n".encode()
                + b"".join(f"{name}: {value}\r\n".encode() for name, value in named.items())
                + b"\r\n"
                + body
            )
            return await client.answer(has_body=method != "HEAD")


@pytest.fixture
async def opened() -> AsyncIterator[Opened]:
    await asyncio.to_thread(page)  # as the program does before it listens
    tools = Tools()
    mcp = StreamableHttp(tools.server(), token=TOKEN)
    server = PageServer(mcp, WebSession(PORT, TOKEN, 0.0))
    async with serving(server, admit=server.admit) as (_, port):
        yield Opened(server, tools, port)


def test_the_address_has_the_secret_where_no_server_is_sent_it(opened: Opened) -> None:
    address, _, ticket = opened.server.new_address().partition("#")
    assert address == f"http://{HOST}/"
    assert len(ticket) >= 32
    assert TOKEN not in opened.server.new_address()


async def test_the_page_is_open_and_holds_no_secret(opened: Opened) -> None:
    answer = await opened.ask("GET", "/")
    assert answer.status == 200
    assert b"<!doctype html>" in answer.body
    assert TOKEN.encode() not in answer.body
    assert (await opened.ask("HEAD", "/")).status == 401
    assert (await opened.ask("GET", "/?anything")).status == 200


async def test_the_pages_headers_shut_every_door_that_it_does_not_need(opened: Opened) -> None:
    answer = await opened.ask("GET", "/")
    headers = answer.headers
    policy = dict(part.strip().split(" ", 1) for part in headers["content-security-policy"].split(";"))
    nonce = policy["script-src"].removeprefix("'nonce-").removesuffix("'")
    assert len(nonce) >= 20
    assert policy == {
        "default-src": "'none'",
        "script-src": f"'nonce-{nonce}'",
        "style-src": f"'nonce-{nonce}'",
        "connect-src": "'self'",
        "img-src": "data:",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
        "require-trusted-types-for": "'script'",
        "trusted-types": "'none'",
    }
    assert f'nonce="{nonce}"'.encode() in answer.body
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cache-control"] == "no-store"
    assert headers["cross-origin-opener-policy"] == "same-origin"
    assert headers["cross-origin-resource-policy"] == "same-origin"
    assert "set-cookie" not in headers
    assert nonce.encode() not in (await opened.ask("GET", "/")).body


async def test_the_secret_of_an_address_is_changed_for_the_sessions_once(opened: Opened) -> None:
    ticket = opened.ticket
    first, second = [await opened.ask("POST", "/enter", authorization=f"Bearer {ticket}", **OWN) for _ in range(2)]
    assert (first.status, first.body) == (200, TOKEN.encode())
    assert first.headers["cache-control"] == "no-store"
    assert "set-cookie" not in first.headers
    assert second.status == 401


@pytest.mark.parametrize(
    "shown", ["", "Bearer", "Bearer ", "Bearer x", "Basic {ticket}", "{ticket}", "Bearer {ticket}x"]
)
async def test_what_is_not_the_secret_of_an_address_opens_nothing(opened: Opened, shown: str) -> None:
    ticket = opened.ticket
    assert (await opened.ask("POST", "/enter", authorization=shown.format(ticket=ticket))).status == 401
    assert (await opened.ask("POST", "/enter", authorization=f"Bearer {ticket}")).status == 200


async def test_a_secret_is_taken_from_the_header_only(opened: Opened) -> None:
    ticket = opened.ticket
    assert (await opened.ask("GET", "/enter", authorization=f"Bearer {ticket}")).status == 401
    assert (await opened.ask("POST", f"/enter?{ticket}")).status == 401
    assert (await opened.ask("POST", "/enter", ticket.encode())).status == 401
    assert (await opened.ask("POST", "/enter", b"x", authorization=f"Bearer {ticket}")).status == 401


@pytest.mark.promise("the-page-is-its-users", "a-token-at-every-port")
@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "OPTIONS", "HEAD"])
@pytest.mark.parametrize("path", ["/mcp", "/favicon.ico", "/usage", "/page.js", "/..", "//", "/enter/", "/identity"])
async def test_every_other_route_needs_the_sessions_secret(opened: Opened, method: str, path: str) -> None:
    assert (await opened.ask(method, path)).status == 401
    assert (await opened.ask(method, path, authorization=f"Bearer {TOKEN[:-1]}")).status == 401
    assert (await opened.ask(method, path, authorization=f"Bearer {opened.ticket}")).status == 401


async def test_with_the_secret_the_tools_answer(opened: Opened) -> None:
    async with connected(opened.port) as client:
        answer = await client.post(call("echo", {"n": 7}), **BEARER, **OWN)
    assert answer.json["result"]["structuredContent"] == {"n": 7}


async def test_a_call_that_changes_something_is_carried_out_once_however_often_it_is_sent(opened: Opened) -> None:
    statuses = []
    for once in ("first", "first", "second"):
        async with connected(opened.port) as client:
            statuses.append((await client.post(call("echo", {"n": 7}), x_brummer_once=once, **BEARER, **OWN)).status)
    assert statuses == [200, 409, 200]
    assert len(opened.tools.calls) == 2


async def test_the_names_of_calls_are_forgotten_in_time(opened: Opened, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ONCE_LIMIT", 2)
    statuses = []
    for once in ("a", "b", "c", "a"):
        async with connected(opened.port) as client:
            statuses.append((await client.post(call("echo", {"n": 7}), x_brummer_once=once, **BEARER, **OWN)).status)
    assert statuses == [200] * 4


@pytest.mark.parametrize(
    "wrong",
    [
        {"host": "evil.example"},
        {"host": f"evil.example:{PORT}"},
        {"host": ""},
        {"host": f"127.0.0.1.evil.example:{PORT}"},
        {"host": f"127.0.0.1:{PORT}@evil.example"},
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:5173"},
        {"origin": f"https://{HOST}"},
        {"origin": f"http://localhost:{PORT}"},
        {"origin": f"http://{HOST}/"},
    ],
    ids=str,
)
@pytest.mark.promise("the-page-is-its-users")
@pytest.mark.parametrize(("method", "path"), [("GET", "/"), ("POST", "/enter"), ("GET", "/proof"), ("POST", "/mcp")])
async def test_a_foreign_host_or_origin_is_refused_whatever_it_shows(
    opened: Opened, wrong: dict[str, str], method: str, path: str
) -> None:
    ticket = opened.ticket
    shown = f"Bearer {ticket if path == '/enter' else TOKEN}"
    assert (await opened.ask(method, path, authorization=shown, **wrong)).status == 403
    assert (await opened.ask("POST", "/enter", authorization=f"Bearer {ticket}")).status == 200


@pytest.mark.parametrize("host", ["localhost:9000", "127.0.0.1", "[::1]:80"])
async def test_a_forwarded_port_is_of_this_server(opened: Opened, host: str) -> None:
    headers = {"host": host, "origin": f"http://{host}"}
    assert (await opened.ask("POST", "/enter", authorization=f"Bearer {opened.ticket}", **headers)).status == 200


async def test_the_server_proves_that_it_knows_the_secret_without_showing_it(opened: Opened) -> None:
    nonce = "0123456789abcdef"
    answer = await opened.ask("GET", f"/proof?nonce={nonce}")
    assert answer.json["proof"] == identity.proof(TOKEN, nonce, *PROVEN_AS)
    assert TOKEN.encode() not in answer.body
    assert (await opened.ask("GET", "/proof?nonce=short")).status == 400


# The server within a hub.


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    return {VARIABLE: str(tmp_path / "instances"), "HOME": str(tmp_path), "XDG_STATE_HOME": str(tmp_path)}


@contextlib.asynccontextmanager
async def page_of(environ: dict[str, str], **more: Any) -> AsyncIterator[ServedPage]:
    async with asyncio.timeout(WAIT_S), running_hub(environ, Path("/")) as hub, serving_page(hub, **more) as page:
        yield page


async def test_a_tab_stays_open_over_a_restart_of_the_server(environ: dict[str, str]) -> None:
    directory = Path(environ[VARIABLE])
    async with page_of(environ) as page:
        first = await page.new_address()
        kept = await asyncio.to_thread(kept_session, directory, 2e9)
    before = await asyncio.to_thread((directory / "web.session").read_bytes)
    async with page_of(environ) as page:
        assert (await page.new_address()).partition("#")[0] == first.partition("#")[0]
    assert await asyncio.to_thread((directory / "web.session").read_bytes) == before
    assert kept is None  # by then it was too old


async def test_another_process_gets_an_address_of_the_same_page(environ: dict[str, str]) -> None:
    async with page_of(environ) as page, page_of(environ) as second:
        assert page.server_pid is None
        assert second.server_pid is not None
        first, further = await page.new_address(), await second.new_address()
        assert first.partition("#")[0] == further.partition("#")[0]
        assert first != further


async def test_a_server_whose_port_was_taken_has_another_secret(environ: dict[str, str]) -> None:
    directory = Path(environ[VARIABLE])
    async with page_of(environ) as page:
        port = int((await page.new_address()).split(":")[2].partition("/")[0])
    before = await asyncio.to_thread((directory / "web.session").read_bytes)
    taker = await asyncio.start_server(lambda _, __: None, "127.0.0.1", port)
    async with taker, page_of(environ) as page:
        assert f":{port}/" not in await page.new_address()
        after = await asyncio.to_thread((directory / "web.session").read_bytes)
        assert before.partition(b"secret")[2] != after.partition(b"secret")[2]


async def test_a_port_that_was_asked_for_and_is_taken_is_an_error(environ: dict[str, str]) -> None:
    taker = await asyncio.start_server(lambda _, __: None, "127.0.0.1", 0)
    async with taker:
        port = taker.sockets[0].getsockname()[1]
        with pytest.raises(NotServed):
            async with page_of(environ, port=port):
                pass
    async with page_of(environ, port=port) as page:
        assert f":{port}/" in await page.new_address()


async def test_the_lock_is_free_after_the_end(environ: dict[str, str]) -> None:
    async with page_of(environ):
        path = Path(environ[VARIABLE]) / LOCK_NAME
        assert await asyncio.to_thread(FileLock.try_acquire, path) is None
    lock = await asyncio.to_thread(FileLock.try_acquire, path)
    assert lock is not None
    lock.release()
