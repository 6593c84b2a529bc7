"""The page's server: a hub's MCP endpoint on a port of its own, and the page beside it.

Nothing but the page itself is open, and the page holds no data. Its address has a one-time secret behind the ``#``,
which no log of a server, no history of a proxy and no Referer ever has. The page changes it for the session's secret,
and sends that with each call, in a header: there is no cookie, so a foreign page can't call in the user's name. Before
it sends the secret to a server that was away, it has the server prove that it knows it.
"""

import contextlib
import secrets
import socket
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Final, NamedTuple

from brummer.host.clocks import elapsed, wall
from brummer.host.descriptors import descriptor_limit
from brummer.host.directories import private_directory
from brummer.host.locks import FileLock, holder_pid
from brummer.host.threads import in_thread_if_possible
from brummer.hub.service import Hub
from brummer.hub.transports import NotServed
from brummer.views.web.address import Tickets, address_from, giving_addresses
from brummer.views.web.page_file import page
from brummer.views.web.session import WebSession, keep_session, kept_session, new_session
from brummer.wire.http.auth import FOREIGN, TOKEN_NEEDED, is_of_this_server
from brummer.wire.http.server import Exchange, HttpRequest, HttpServer, Refusal, ServerLimits
from brummer.wire.mcp import identity
from brummer.wire.mcp.streamable_http import JSON, StreamableHttp

HOST: Final = "127.0.0.1"
LOCK_NAME: Final = "web.lock"

_POLICY: Final = (
    "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; connect-src 'self'; img-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)
"""No script but ours, no address but ours, and no text becomes markup (Trusted Types)."""

_NOT_KEPT: Final = (b"cache-control", b"no-store")
_PAGE_HEADERS: Final = (
    (b"content-type", b"text/html; charset=utf-8"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    _NOT_KEPT,
)

_PAGE: Final = b"/"
_ENTER: Final = b"/enter"
_PROOF: Final = b"/proof"
_OPEN: Final = {_PAGE: b"GET", _ENTER: b"POST", _PROOF: b"GET"}
"""What needs no token, and its method."""

_ONCE: Final = b"x-brummer-once"
"""The name that the page gives to a call that changes something. A browser sends a request again whose connection was
lost before its answer; the call may have run by then.
"""
ONCE_LIMIT: Final = 1_000
"""Names that are remembered: a browser repeats a request within milliseconds."""
_SENT_ALREADY: Final = Refusal(409, b'{"error":"this call was sent already"}', (JSON,))

PROVEN_AS: Final = ("web", "page")
"""What `identity.proof` names in place of an instance and its generation."""


class ServedPage(NamedTuple):
    """The page, as a program shows it. ``server_pid``: the process that serves it, if it is another one.

    ``new_address``: an address that opens the page once; raises PageUnreachable.
    """

    server_pid: int | None
    new_address: Callable[[], Awaitable[str]]


class PageServer:
    """The handler for an `HttpServer`, which must be given its `admit`."""

    def __init__(self, mcp: StreamableHttp, session: WebSession) -> None:
        self._mcp = mcp
        self._session = session
        self._tickets = Tickets()
        self._once: OrderedDict[bytes, None] = OrderedDict()

    def new_address(self) -> str:
        return f"http://{HOST}:{self._session.port}/#{self._tickets.issue(elapsed())}"

    def admit(self, request: HttpRequest) -> bool | Refusal:
        """See `brummer.wire.http.server.Admit`."""
        if not is_of_this_server(request):
            return FOREIGN
        verdict = self._mcp.admit(request)
        return False if verdict is TOKEN_NEEDED and _is_open(request) else verdict

    async def __call__(self, exchange: Exchange) -> None:
        request = exchange.request
        match _path_of(request) if _is_open(request) else None:
            case b"/":
                nonce = secrets.token_urlsafe(16)
                policy = (b"content-security-policy", _POLICY.format(nonce=nonce).encode())
                shown = await in_thread_if_possible(page, nonce)  # the first time it reads files
                exchange.respond(200, shown.encode(), (*_PAGE_HEADERS, policy))
            case b"/enter":
                self._enter(exchange)
            case b"/proof":
                status, body = identity.answer(self._session.secret, *PROVEN_AS, request.target)
                exchange.respond(status, body, (JSON, _NOT_KEPT))
            case _ if request.is_authorized and self._is_repeated(request):
                exchange.refuse(_SENT_ALREADY)
            case _:
                await self._mcp(exchange)

    def _is_repeated(self, request: HttpRequest) -> bool:
        name = request.headers.get(_ONCE)
        if name is None or name in self._once:
            return name is not None
        while len(self._once) >= ONCE_LIMIT:
            self._once.popitem(last=False)
        self._once[name] = None
        return False

    def _enter(self, exchange: Exchange) -> None:
        scheme, _, ticket = exchange.request.headers.get(b"authorization", b"").decode("latin-1").partition(" ")
        if scheme == "Bearer" and self._tickets.redeem(ticket, elapsed()):
            exchange.respond(200, self._session.secret.encode(), ((b"content-type", b"text/plain"), _NOT_KEPT))
        else:
            exchange.refuse(TOKEN_NEEDED)


def _path_of(request: HttpRequest) -> bytes:
    return request.target.partition(b"?")[0]


def _is_open(request: HttpRequest) -> bool:
    """It needs no token, and has no body: no bytes are kept for who does not show the token."""
    has_body = request.headers.get(b"content-length", b"0") != b"0" or b"transfer-encoding" in request.headers
    return not has_body and _OPEN.get(_path_of(request)) == request.method


@contextlib.asynccontextmanager
async def serving_page(hub: Hub, port: int | None = None) -> AsyncIterator[ServedPage]:
    """Serve the page of this hub while the block runs, or find the page that another process of the user serves.

    ``port``: None: that of the last server, or else one that the system chooses. Raises NotServed, DirectoryUnusable,
    and what `FileLock.try_acquire` raises.
    """
    directory = hub.registry.directory
    await in_thread_if_possible(private_directory, directory)
    lock = await in_thread_if_possible(FileLock.try_acquire, directory / LOCK_NAME)
    if lock is None:
        server_pid = await in_thread_if_possible(holder_pid, directory / LOCK_NAME)
        yield ServedPage(server_pid or 0, lambda: address_from(directory))
        return
    try:
        async with _served(hub, directory, port) as own:
            yield own
    finally:
        lock.release()


@contextlib.asynccontextmanager
async def _served(hub: Hub, directory: Path, port: int | None) -> AsyncIterator[ServedPage]:
    listener, session = await in_thread_if_possible(_opened, directory, port)
    mcp = StreamableHttp(hub.server, token=session.secret)
    front = PageServer(mcp, session)
    limit_bytes = hub.instances.pool.limits.request_bytes
    limits = ServerLimits(open_files=descriptor_limit())
    server = HttpServer(front, body_limit_bytes=limit_bytes, admit=front.admit, limits=limits)
    await server.start([listener])

    async def new_address() -> str:
        return front.new_address()

    try:
        async with giving_addresses(directory, front.new_address):
            yield ServedPage(None, new_address)
    finally:
        await server.close()


def _opened(directory: Path, port: int | None) -> tuple[socket.socket, WebSession]:
    """The listener and the session, which is kept. Raises NotServed."""
    page()  # so that it is in memory before it is asked for
    kept = kept_session(directory, wall())
    wanted = kept.port if kept and port is None else port or 0
    try:
        listener = socket.create_server((HOST, wanted))
    except OSError as error:
        if port is not None:
            raise NotServed(f"can't listen on {HOST}:{port}: {error.strerror}", host=HOST, port=port) from None
        listener = socket.create_server((HOST, 0))
    found = listener.getsockname()[1]
    if kept is None or kept.port != found:
        kept = new_session(found, wall())
        try:
            keep_session(directory, kept)
        except BaseException:
            listener.close()
            raise
    return listener, kept
