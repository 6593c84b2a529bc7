"""The address of the page: each has a secret that opens it once, and any process of this user may have a new one.

The server listens at a socket beside the records, which only this user can reach, and answers each connection with one
line: a new address. So `brum web`, the terminal view and an agent's hub show one and the same page, whoever serves it.
"""

import asyncio
import contextlib
import hmac
import secrets
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Final

from brummer.core.errors import BrummerError
from brummer.host.private_sockets import KEEPS_THE_NAME, address_of, listen_privately, remove
from brummer.host.threads import in_thread_if_possible

SOCKET_NAME: Final = "web.sock"
LASTS_S: Final = 600.0
"""A person reads the address in an answer, goes for coffee, and opens it."""
LIMIT: Final = 16
"""Addresses that were given out and not opened yet; a further one replaces the oldest."""
ANSWER_S: Final = 5.0
"""The server answers within milliseconds; a machine with a load of 30 needs seconds."""
BACKLOG: Final = 8
LINE_LIMIT_BYTES: Final = 4_096


class PageUnreachable(BrummerError):
    """Another process serves the page, and gives no address of it."""

    code = "page_unreachable"
    transient = True


class Tickets:
    """The one-time secrets that are in addresses. Pure: ``now_s`` is passed in."""

    def __init__(self) -> None:
        self._until_s: OrderedDict[str, float] = OrderedDict()

    def issue(self, now_s: float) -> str:
        """A new one."""
        while len(self._until_s) >= LIMIT:
            self._until_s.popitem(last=False)
        ticket = secrets.token_urlsafe(24)
        self._until_s[ticket] = now_s + LASTS_S
        return ticket

    def redeem(self, shown: str, now_s: float) -> bool:
        """Whether it is valid; it is not valid any more then."""
        found = [each for each in self._until_s if hmac.compare_digest(each.encode(), shown.encode())]
        return any(now_s < self._until_s.pop(each) for each in found)


@contextlib.asynccontextmanager
async def giving_addresses(directory: Path, new_address: Callable[[], str]) -> AsyncIterator[None]:
    """Answer `address_from` while the block runs. Raises OSError."""
    path = directory / SOCKET_NAME
    listener, mark = await in_thread_if_possible(listen_privately, path, BACKLOG)

    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(new_address().encode() + b"\n")
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()

    server = await asyncio.start_unix_server(answer, sock=listener, **KEEPS_THE_NAME)
    try:
        yield
    finally:
        server.close()
        await in_thread_if_possible(remove, path, mark)


async def address_from(directory: Path) -> str:
    """A new address of the page that another process serves. Raises PageUnreachable."""
    try:
        async with asyncio.timeout(ANSWER_S):
            with address_of(directory / SOCKET_NAME) as path:
                reader, writer = await asyncio.open_unix_connection(path, limit=LINE_LIMIT_BYTES)
            try:
                line = await reader.readline()
            finally:
                writer.transport.abort()
    except (OSError, TimeoutError, ValueError) as error:
        raise PageUnreachable(f"another process serves the page, and gives no address of it: {error!r}") from None
    if not line.endswith(b"\n"):
        raise PageUnreachable("another process serves the page, and gives no address of it: it hung up")
    return line.decode("latin-1").strip()
