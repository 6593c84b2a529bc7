"""The routing socket, route(4): a message for every change of addresses, interfaces and routes."""

import asyncio
import errno
import socket
from collections.abc import Callable
from typing import Final

from brummer.host.macos.notifications import Notifier, watch_notifications
from brummer.host.readers import read_when_ready

AF_ROUTE: Final = 17
"""The module `socket` has it on macOS only."""
_TYPE_AT: Final = 3
_NO_CHANGE: Final = frozenset({0x7, 0xF, 0x10})
"""RTM_MISS, a lookup without an answer; RTM_NEWMADDR and RTM_DELMADDR, memberships of multicast groups."""
_MESSAGE_BYTES: Final = 4096
_CONFIGURATION: Final = b"com.apple.system.config.network_change"


def open_routes() -> socket.socket:
    """Raises OSError where a sandbox refuses it."""
    return socket.socket(AF_ROUTE, socket.SOCK_RAW, 0)


def watch_routes(
    loop: asyncio.AbstractEventLoop,
    on_hint: Callable[[], None],
    on_failed: Callable[[OSError], None],
    notifier: Notifier,
    open_socket: Callable[[], socket.socket] = open_routes,
) -> Callable[[], None]:
    """Call ``on_hint()`` after a change, also of the configuration; returns a stop function. Raises OSError."""
    routes = open_socket()
    routes.setblocking(False)

    def read() -> None:
        try:
            message = routes.recv(_MESSAGE_BYTES)
        except OSError as error:
            if error.errno != errno.ENOBUFS:  # then messages were lost: all the more reason for a check
                raise
        else:
            if len(message) > _TYPE_AT and message[_TYPE_AT] in _NO_CHANGE:
                return
        on_hint()

    try:
        read_when_ready(loop, routes.fileno(), read, on_failed)
        stop_notifications = watch_notifications(loop, [_CONFIGURATION], on_hint, notifier)
    except BaseException:
        loop.remove_reader(routes)
        routes.close()
        raise

    def stop() -> None:
        stop_notifications()
        loop.remove_reader(routes)
        routes.close()

    return stop
