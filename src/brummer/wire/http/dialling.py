"""A TCP connection to a server, made without blocking: found by name, secured if need be, and watched by the kernel."""

import asyncio
import errno
import os
import socket
import ssl
from collections.abc import Callable
from typing import Any, Final, Protocol

from brummer.core.errors import NameNotFound, TlsFailed, TransportError, shown, transport_error
from brummer.wire.http.tcp_options import set_tcp_options

Address = tuple[int, tuple[str, int]]
"""Family, and host with port."""


class Sockets(Protocol):
    """Where connections come from; see `brummer.host.system`."""

    async def addresses(self, host: str, port: int, /) -> list[Address]:
        """The addresses of the name. Raises OSError."""

    async def connect(self, family: int, address: tuple[str, int], descriptors: int, /) -> Any:
        """A connected, non-blocking socket, whose descriptor must be below ``descriptors``. Raises OSError."""


async def dial(
    host: str,
    port: int,
    *,
    timeout_s: float,
    descriptors: int,
    tls: ssl.SSLContext | None,
    sockets: Sockets | None = None,
) -> socket.socket:
    """A connected, non-blocking socket. Raises `TransportError` when that fails or takes longer than ``timeout_s``.

    ``host`` is an address, or a name if the network may be asked for it. ``descriptors``: the socket's must be one of
    the first so many.
    """
    try:
        async with asyncio.timeout(timeout_s):
            sock = await _connected(host, port, descriptors, sockets or SYSTEM_SOCKETS)
            try:
                return sock if tls is None else await _secured(sock, tls, host)
            except BaseException:
                sock.close()
                raise
    except OSError as error:
        raise socket_error(error, sent=False) from None
    except UnicodeError:
        raise NameNotFound(f"{shown(host)} can't be a host's name", sent=False) from None


def socket_error(error: OSError, *, sent: bool) -> TransportError:
    """Map an error of a socket, of the look-up of a name, or of TLS to one of ours."""
    if isinstance(error, socket.gaierror):
        return NameNotFound(error.strerror or "the name is not known", sent=sent)
    if isinstance(error, ssl.SSLError):
        return TlsFailed(error.reason or error.strerror or "TLS failed", sent=sent)
    return transport_error(error, sent=sent)


async def _connected(host: str, port: int, descriptors: int, sockets: Sockets) -> socket.socket:
    """A socket to the first of the host's addresses that accepts. If none does, the error of the last is raised."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    addresses: list[Address] = [(family, (host, port))]
    if not _is_address(host):
        addresses = await sockets.addresses(host, port)
    for number, (kind, address) in enumerate(addresses, 1):
        try:
            sock: socket.socket = await sockets.connect(kind, address, descriptors)
        except OSError:
            if number == len(addresses):
                raise
        else:
            return sock
    raise OSError(errno.EADDRNOTAVAIL, "the host has no address")


class SystemSockets:
    """The sockets of this machine; connections use them by default."""

    @staticmethod
    async def addresses(host: str, port: int) -> list[Address]:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        return [(entry[0], entry[4][:2]) for entry in found]  # type: ignore[misc]

    @staticmethod
    async def connect(family: int, address: tuple[str, int], descriptors: int) -> socket.socket:
        sock = socket.socket(family)
        try:
            _refuse_the_last(sock, descriptors)
            sock.setblocking(False)
            set_tcp_options(sock)
            await _begun(sock, address)
        except BaseException:
            sock.close()
            raise
        return sock


SYSTEM_SOCKETS: Final = SystemSockets()


async def _begun(sock: socket.socket, address: tuple[str, int]) -> None:
    """Connect. Not by the loop, because uvloop's asks a thread for the address of an address: a hub with ten links that
    are waited on would wake five threads each time it probes them.
    """
    error = sock.connect_ex(address)
    if error == errno.EINPROGRESS:
        loop = asyncio.get_running_loop()
        await _ready(loop.add_writer, loop.remove_writer, sock)
        error = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if error:
        raise OSError(error, os.strerror(error))


def _refuse_the_last(sock: socket.socket, descriptors: int) -> None:
    """Refuse a descriptor over the limit, as the system would: it always gives the lowest free number."""
    if sock.fileno() >= descriptors:
        raise OSError(errno.EMFILE, "too many files and sockets are open")


def _is_address(host: str) -> bool:
    return ":" in host or host.replace(".", "").isdecimal()


async def _secured(sock: socket.socket, tls: ssl.SSLContext, host: str) -> socket.socket:
    """Shake hands without blocking: the socket says which way it has to wait."""
    loop = asyncio.get_running_loop()
    secure = tls.wrap_socket(sock, server_hostname=host, do_handshake_on_connect=False)
    try:
        while True:
            try:
                secure.do_handshake()
            except ssl.SSLWantReadError:
                await _ready(loop.add_reader, loop.remove_reader, secure)
            except ssl.SSLWantWriteError:
                await _ready(loop.add_writer, loop.remove_writer, secure)
            else:
                return secure
    except BaseException:
        secure.close()
        raise


async def _ready(add: Callable[..., object], remove: Callable[..., object], sock: socket.socket) -> None:
    ready = asyncio.Event()
    add(sock, ready.set)
    try:
        await ready.wait()
    finally:
        remove(sock)
