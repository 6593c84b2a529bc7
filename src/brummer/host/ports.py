"""TCP ports: which process listens on which, and whether a port answers.

On Linux, a listening socket shows in /proc/net/tcp with its inode, and the same inode in /proc/PID/fd of each process
that has it.
"""

import asyncio
import contextlib
import errno
import os
import socket
import sys

if sys.platform == "darwin":
    from brummer.host.macos.processes import mac_processes

LOOPBACK = ("127.0.0.1", "::1")
ANSWER_S = 0.1
"""Loopback accepts or refuses in microseconds."""
CONNECT_TIMEOUT_S = 1.0
"""Loopback answers in microseconds; a second covers a machine that is swapping."""
_LISTEN = b" 0A "
"""The state in a row of the table, which no other column can contain."""


def listening_ports(pids: list[int]) -> set[int]:
    """The TCP ports on which these processes listen. It takes milliseconds: use a thread."""
    if sys.platform == "darwin":
        return mac_processes().listening_ports(pids)
    owned = {inode for pid in pids for inode in _sockets_of(pid)}
    if not owned:  # as of most processes; the tables list every connection of the machine
        return set()
    return {port for inode, port in _listening_sockets().items() if inode in owned}


def listeners(ports: range) -> dict[int, tuple[int, str]]:
    """The processes that listen on these ports: port → (pid, command name); (0, "") if hidden from us.

    Of several that share a socket, the one with the lowest number, mostly the parent. It takes tens of milliseconds, or
    seconds where a hundred thousand descriptors are open: use a thread.
    """
    if sys.platform == "darwin":
        return mac_processes().listeners(ports)
    wanted = {inode: port for inode, port in _listening_sockets().items() if port in ports}
    found = dict.fromkeys(wanted.values(), (0, ""))
    for pid in sorted(map(int, filter(str.isdecimal, os.listdir("/proc")))) if wanted else ():
        for inode in _sockets_of(pid) & wanted.keys():
            found[wanted.pop(inode)] = (pid, _command_name(pid))
        if not wanted:
            break
    return found


def _command_name(pid: int) -> str:
    with contextlib.suppress(OSError), open(f"/proc/{pid}/comm", encoding="utf-8", errors="replace") as file:
        return file.read().strip()
    return ""


def _listening_sockets() -> dict[bytes, int]:
    found = {}
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with contextlib.suppress(OSError), open(table, "rb") as file:
            for row in file:
                if _LISTEN in row:
                    columns = row.split()
                    found[columns[9]] = int(columns[1].rpartition(b":")[2], 16)
    return found


def _sockets_of(pid: int) -> set[bytes]:
    found = set()
    with contextlib.suppress(OSError):  # it died, or belongs to another user
        for descriptor in os.listdir(f"/proc/{pid}/fd"):
            with contextlib.suppress(OSError):
                kind, _, inode = os.readlink(f"/proc/{pid}/fd/{descriptor}").partition(":")
                if kind == "socket":
                    found.add(inode.strip("[]").encode())
    return found


def is_free(port: int) -> bool:
    """A server could listen on this port of all addresses. Only a port that is in use is not free: one that we may not
    use at all says so itself.
    """
    for family, address in ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")):  # noqa: S104 - nothing listens there
        try:
            probe = socket.socket(family, socket.SOCK_STREAM)
        except OSError:  # the system has no such addresses
            continue
        with probe:
            # Connections that are ending do not block the port.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            try:
                probe.bind((address, port))
            except OSError as error:
                if error.errno == errno.EADDRINUSE:
                    return False
    return sys.platform != "darwin" or not any(map(is_answered, ((host, port) for host in LOOPBACK)))


def is_answered(address: tuple[str, int]) -> bool:
    """A process accepts connections there. macOS lets a port be bound although another process has it on another
    address of the machine.
    """
    try:
        with socket.create_connection(address, ANSWER_S):
            return True
    except OSError:
        return False


async def port_answers(port: int) -> bool:
    """A process accepts connections on this port of loopback, IPv4 or IPv6. Connects once, and hangs up."""
    for host in LOOPBACK:
        with contextlib.suppress(OSError):
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                _, writer = await asyncio.open_connection(host, port)
            writer.close()
            return True
    return False
