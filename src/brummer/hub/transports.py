"""A hub with its transport: one client on stdio, or any number of them over HTTP.

Apart from `brummer.hub.service`, because the hubs of commands and views have no transport, and start without these
imports.
"""

import asyncio
import contextlib
import logging
import os
import signal
import socket
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from pathlib import Path

from brummer.core.errors import BrummerError
from brummer.core.metrics import Family
from brummer.host import parent
from brummer.host.descriptors import descriptor_limit
from brummer.host.hangups import watch_hangup
from brummer.host.threads import in_thread_if_possible
from brummer.hub.finder import Start
from brummer.hub.service import Hub, MakePage, running_hub
from brummer.hub.status_socket import serving_status
from brummer.settings.table import NO_FLAGS, Flags
from brummer.telemetry.metrics_server import serving_metrics
from brummer.wire.http.listening import Address, Port, listen
from brummer.wire.http.server import HttpServer, ServerLimits
from brummer.wire.mcp.early_answer import EarlyAnswer
from brummer.wire.mcp.stdio import StdioServer
from brummer.wire.mcp.streamable_http import StreamableHttp
from brummer.wire.mcp.tools import Tool

_log = logging.getLogger(__name__)


class NotServed(BrummerError):
    """The port for `--http` can't be opened."""

    code = "not_served"


@contextlib.asynccontextmanager
async def _observable(hub: Hub, metrics: Port | None) -> AsyncIterator[None]:
    """Serve `brum status`, `brum metrics`, and a Prometheus server at ``metrics``."""

    async def families() -> list[Family]:
        return hub.metrics.families()

    async with (
        serving_status(hub.registry.directory, hub.supervisor, hub.status, hub.described_metrics),
        serving_metrics(metrics, families, os.getpid()) as problem,
    ):
        if problem is not None:
            _log.warning("%s", problem.message)
            hub.problems.append(problem)
        yield


async def serve_stdio(  # noqa: PLR0913 - what a hub is made of
    stdin: int,
    stdout: int,
    early_answer: EarlyAnswer,
    environ: Mapping[str, str],
    working_directory: Path,
    *,
    flags: Flags = NO_FLAGS,
    metrics: Port | None = None,
    start: Start | None = None,
    make_page: MakePage | None = None,
) -> int:
    """Serve one client until EOF, a broken pipe, SIGTERM, or the end of the process that started this one."""
    async with (
        running_hub(environ, working_directory, flags=flags, start=start, make_page=make_page) as hub,
        _observable(hub, metrics),
    ):
        front = StdioServer(hub.server, stdin=stdin, stdout=stdout, limit_bytes=hub.instances.pool.limits.request_bytes)
        front.session.capabilities, front.session.version = early_answer.capabilities, early_answer.version
        front.session.client, front.session.client_version = early_answer.client, early_answer.client_version
        with ending_on_signals(front.close), _ending_with_parent(front.close), _ending_unread(stdout, front.close):
            await front.serve(early_answer.rest)
    return 0


async def serve_http(  # noqa: PLR0913 - what a hub is made of
    port: Port,
    environ: Mapping[str, str],
    working_directory: Path,
    *,
    announce: Callable[[str], None],
    flags: Flags = NO_FLAGS,
    further_tools: Iterable[Tool] = (),
    metrics: Port | None = None,
    start: Start | None = None,
    make_page: MakePage | None = None,
) -> int:
    """Serve any number of clients, until SIGTERM or Ctrl-C. Raises NotServed, TokenUnusable.

    ``further_tools`` are served after the frozen ones; no command line reaches that.
    """
    host = port.address[0]
    token = await in_thread_if_possible(port.token)
    ended = asyncio.Event()
    async with (
        running_hub(
            environ, working_directory, flags=flags, further_tools=further_tools, start=start, make_page=make_page
        ) as hub,
        _observable(hub, metrics),
    ):
        handler = StreamableHttp(hub.server, token=token, extra_hosts=frozenset({host}))
        limit_bytes = hub.instances.pool.limits.request_bytes
        server_limits = ServerLimits(open_files=descriptor_limit())
        server = HttpServer(handler, body_limit_bytes=limit_bytes, admit=handler.admit, limits=server_limits)
        listeners = await in_thread_if_possible(_listen, port.address)
        await server.start(listeners)
        shown = f"[{host}]" if ":" in host else host
        with ending_on_signals(ended.set, also=(signal.SIGINT,)):
            announce(f"http://{shown}:{listeners[0].getsockname()[1]}/mcp")
            await ended.wait()
        await server.close()
    return 0


def _listen(address: Address) -> list[socket.socket]:
    host, port = address
    try:
        return listen(host, port)
    except OSError as error:
        raise NotServed(f"can't listen on {host}:{port}: {error.strerror}", host=host, port=port) from None


@contextlib.contextmanager
def ending_on_signals(end: Callable[[], object], *, also: tuple[int, ...] = ()) -> Iterator[None]:
    """SIGTERM, and those ``also``, call ``end``."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, *also):
        loop.add_signal_handler(number, end)
    yield


@contextlib.contextmanager
def _ending_with_parent(end: Callable[[], None]) -> Iterator[None]:
    """Some launchers die and leave our stdin open; then only the parent's death shows it."""
    stop = parent.watch_parent(asyncio.get_running_loop(), end)
    try:
        yield
    finally:
        stop()


@contextlib.contextmanager
def _ending_unread(stdout: int, end: Callable[[], None]) -> Iterator[None]:
    """A client behind a shell may die while the shell and our stdin stay open: then no process reads our answers."""
    stop = watch_hangup(asyncio.get_running_loop(), stdout, end)
    try:
        yield
    finally:
        stop()
