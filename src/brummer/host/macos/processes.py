"""What macOS shows of processes: states, CPU time, memory, open files, listening ports.

libproc(3) answers for processes of this user, without any right. Offsets are those of sys/proc_info.h of xnu.
"""

import functools
import os
import socket
import struct
from collections.abc import Callable, Collection, Iterator
from typing import Final, Literal

from brummer.host.macos.library import Library, system_library
from brummer.host.macos.process_table import STOPPED, ZOMBIE, Arguments, ProcessEntry, ProcessTable

State = Literal["running", "sleeping", "stopped", "zombie"]

_PROC_PIDTASKINFO: Final = 4
_TASK_BYTES: Final = 96
_RESIDENT_AT, _CPU_AT, _RUNNING_AT = 8, 16, 88
"""pti_resident_size; pti_total_user and pti_total_system; pti_numrunning."""
_TICK_NS: Final = 10_000_000
"""As on Linux: less CPU time than this says nothing, since an idle server also has timers."""

_VNODE, _SOCKET = 1, 2
"""PROX_FDTYPE of a file and of a socket."""
_PROC_PIDFDVNODEINFO, _PROC_PIDFDSOCKETINFO = 1, 3
_VNODE_BYTES: Final = 176
_DEVICE_AT, _INODE_AT = 24, 32
"""vst_dev and vst_ino, behind struct proc_fileinfo."""
_SOCKET_BYTES: Final = 1024
"""struct socket_fdinfo has 792; the call requires a buffer for all of it."""
_KIND_AT, _PORT_AT, _TCP_STATE_AT = 256, 268, 344
"""soi_kind, insi_lport (in network order, in the low 16 bits), tcpsi_state."""
_TCP, _LISTENING = 2, 1

_CONNECT_S: Final = 0.1
"""Loopback accepts or refuses in microseconds."""


class MacProcesses:
    """``answers(port)``: whether a process accepts connections there, for ports whose owner is hidden from us."""

    def __init__(self, table: ProcessTable, library: Library, answers: Callable[[int], bool]) -> None:
        self._table = table
        self._library = library
        self._answers = answers

    def status(self, pid: int) -> tuple[State, int, int] | None:
        """(state, CPU time in ticks of 10 ms, start time); None if there is no such process. Raises OSError."""
        entry = self._table.entry(pid)
        if entry is None:
            return None
        task = self._library.process_info(pid, _PROC_PIDTASKINFO, _TASK_BYTES)
        return _state(entry, task), self._cpu_ticks(task), entry.started_us

    def _cpu_ticks(self, task: bytes) -> int:
        if len(task) < _TASK_BYTES:
            return 0
        return self._library.nanoseconds(sum(struct.unpack_from("<QQ", task, _CPU_AT))) // _TICK_NS

    def start_times(self) -> dict[int, int]:
        """Of all processes of the machine, by pid. Raises OSError."""
        return {entry.pid: entry.started_us for entry in self._table.entries()}

    def usage(self, pid: int) -> tuple[int, int, int, int, bool, int | None, int, int | None] | None:
        """The fields of a `brummer.host.process_usage.ProcessUsage`. libproc knows no CPU time of children that were
        waited for, and nothing of other users' processes. Raises OSError.
        """
        entry = self._table.entry(pid)
        if entry is None:
            return None
        task = self._library.process_info(pid, _PROC_PIDTASKINFO, _TASK_BYTES)
        is_shown = len(task) >= _TASK_BYTES
        return (
            entry.parent,
            entry.group,
            self._table.session(pid),
            entry.started_us,
            entry.state == ZOMBIE,
            self._cpu_ticks(task) if is_shown else None,
            0,
            struct.unpack_from("<Q", task, _RESIDENT_AT)[0] if is_shown else None,
        )

    def resident_bytes(self, pid: int) -> int | None:
        """Of memory; None where the system does not tell."""
        task = self._library.process_info(pid, _PROC_PIDTASKINFO, _TASK_BYTES)
        if len(task) < _TASK_BYTES:
            return None
        resident: int = struct.unpack_from("<Q", task, _RESIDENT_AT)[0]
        return resident

    def listening_ports(self, pids: Collection[int]) -> set[int]:
        """The TCP ports on which these processes listen."""
        return {port for pid in pids for port in self._ports_of(pid)}

    def listeners(self, ports: Collection[int]) -> dict[int, tuple[int, str]]:
        """Port → (pid, command name), or (0, "") for another user's. Of several, the one with the lowest pid."""
        found: dict[int, tuple[int, str]] = {}
        user = os.geteuid()
        for entry in sorted(self._table.entries()):
            if entry.user == user and entry.state != ZOMBIE:
                for port in self._ports_of(entry.pid):
                    if port in ports:
                        found.setdefault(port, (entry.pid, entry.name))
        return found | {port: (0, "") for port in ports if port not in found and self._answers(port)}

    def _ports_of(self, pid: int) -> Iterator[int]:
        for descriptor, kind in self._library.descriptors(pid):
            if kind == _SOCKET:
                info = self._library.descriptor_info(pid, descriptor, _PROC_PIDFDSOCKETINFO, _SOCKET_BYTES)
                if (port := listening_port(info)) is not None:
                    yield port

    def has_open(self, pid: int, device: int, inode: int) -> bool:
        """The process has this file open."""
        for descriptor, kind in self._library.descriptors(pid):
            if kind == _VNODE:
                info = self._library.descriptor_info(pid, descriptor, _PROC_PIDFDVNODEINFO, _VNODE_BYTES)
                if len(info) >= _VNODE_BYTES and _file(info) == (device & 0xFFFFFFFF, inode):
                    return True
        return False

    def arguments(self, pid: int) -> Arguments | None:
        """See `ProcessTable.arguments`."""
        return self._table.arguments(pid)


def _state(entry: ProcessEntry, task: bytes) -> State:
    """p_stat is SRUN also for a process that sleeps, so the number of running threads decides."""
    if entry.state in (STOPPED, ZOMBIE):
        return "stopped" if entry.state == STOPPED else "zombie"
    runs = len(task) >= _TASK_BYTES and struct.unpack_from("<i", task, _RUNNING_AT)[0] > 0
    return "running" if runs else "sleeping"


def listening_port(info: bytes) -> int | None:
    """Of a struct socket_fdinfo; None if it is no listening TCP socket."""
    if len(info) < _TCP_STATE_AT + 4:
        return None
    kind, state = (struct.unpack_from("<i", info, at)[0] for at in (_KIND_AT, _TCP_STATE_AT))
    if (kind, state) != (_TCP, _LISTENING):
        return None
    return int.from_bytes(info[_PORT_AT : _PORT_AT + 2], "big")


def _file(info: bytes) -> tuple[int, int]:
    """(device, inode) of a struct vnode_fdinfo."""
    (device,), (inode,) = struct.unpack_from("<I", info, _DEVICE_AT), struct.unpack_from("<Q", info, _INODE_AT)
    return device, inode


def _answers_on_loopback(port: int) -> bool:
    for host in ("127.0.0.1", "::1"):
        try:
            with socket.create_connection((host, port), _CONNECT_S):
                return True
        except OSError:
            continue
    return False


@functools.cache
def mac_processes() -> MacProcesses:
    """Those of this Mac."""
    return MacProcesses(ProcessTable(), system_library(), _answers_on_loopback)
