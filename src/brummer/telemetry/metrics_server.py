"""``--metrics HOST:PORT``: the metrics for a Prometheus server, at ``/metrics``, on a port of their own.

A failure of that port is a problem and has no other effect: counting continues without it. The library that makes the
text is loaded with the first request.
"""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final, TypeVar

from brummer.core.errors import BrummerError
from brummer.core.metrics import Family
from brummer.host.descriptors import descriptor_limit
from brummer.wire.http.auth import Auth
from brummer.wire.http.listening import Port, listen
from brummer.wire.http.server import Exchange, HttpServer, ServerLimits

PATH: Final = b"/metrics"
BODY_LIMIT_BYTES: Final = 4096
"""A scrape has no body."""

T = TypeVar("T")
ReadFamilies = Callable[[], Awaitable[list[Family]]]


class MetricsNotServed(BrummerError):
    """The port for metrics can't be opened."""

    code = "metrics_not_served"


@contextlib.asynccontextmanager
async def serving_metrics(
    port: Port | None, snapshot: ReadFamilies, pid: int
) -> AsyncIterator[MetricsNotServed | None]:
    """Serve the result of ``snapshot`` while the block runs; yields the error, if it can't be served.

    ``pid``: the process whose memory and CPU time are added. Without a ``port`` nothing is served.
    """
    if port is None:
        yield None
        return
    try:
        token, listeners = await _in_thread_if_possible(_opened, port)
    except MetricsNotServed as error:
        yield error
        return
    auth = Auth(token, frozenset({port.address[0]}))
    front, server_limits = _Front(snapshot, pid), ServerLimits(open_files=descriptor_limit())
    server = HttpServer(front, body_limit_bytes=BODY_LIMIT_BYTES, admit=auth.admit, limits=server_limits)
    await server.start(listeners)
    try:
        yield None
    finally:
        await server.close()


async def _in_thread_if_possible(work: Callable[..., T], *arguments: object) -> T:
    """As `asyncio.to_thread`; on the loop if no thread can be started: the work usually takes milliseconds."""
    try:
        return await asyncio.to_thread(work, *arguments)
    except RuntimeError:
        return work(*arguments)


def _opened(asked: Port) -> tuple[str, list[socket.socket]]:
    """The token and the listeners. Raises MetricsNotServed."""
    host, port = asked.address
    try:
        return asked.token(), listen(host, port)
    except BrummerError as error:
        raise MetricsNotServed(f"metrics are not served: {error.message}") from None
    except OSError as error:
        raise MetricsNotServed(
            f"metrics are not served: can't listen on {host}:{port}: {error.strerror}; choose another with --metrics",
            host=host,
            port=port,
        ) from None


class _Front:
    """The snapshot is taken on the loop, whose numbers they are; the text is made in a thread."""

    def __init__(self, snapshot: ReadFamilies, pid: int) -> None:
        self._snapshot = snapshot
        self._pid = pid

    async def __call__(self, exchange: Exchange) -> None:
        request = exchange.request
        if request.target.partition(b"?")[0] != PATH:
            exchange.respond(404, b"metrics are at /metrics\n")
        elif request.method not in (b"GET", b"HEAD"):
            exchange.respond(405, b"", [(b"allow", b"GET, HEAD")])
        else:
            content_type, text = await _in_thread_if_possible(_text, await self._snapshot(), self._pid)
            exchange.respond(200, text, [(b"content-type", content_type)])


def _text(families: list[Family], pid: int) -> tuple[bytes, bytes]:
    from brummer.telemetry import exposition  # noqa: PLC0415 — the library takes tens of milliseconds to load

    return exposition.CONTENT_TYPE, exposition.render([*families, *exposition.process_families(pid)])
