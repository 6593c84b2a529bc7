"""A Mac for tests on Linux: its C library and its kqueue, with what they answer made of this machine's processes.

Every function of the library is called through C, as on a Mac, and refuses a call whose types were not declared. The
structures are written down from Apple's headers (xnu: sys/sysctl.h, sys/proc.h,
sys/proc_info.h, sys/signal.h, sys/mount.h); the code under test has only offsets, so the two check each other.
"""

# It stands in for the system, in the system's own calls.
# ruff: noqa: PTH110, PTH115, PTH116, PTH208

import contextlib
import ctypes
import errno
import functools
import os
import select
import struct
from collections.abc import Callable, Sequence
from ctypes import (
    POINTER,
    Structure,
    Union,
    c_char,
    c_int,
    c_int16,
    c_int32,
    c_int64,
    c_size_t,
    c_ubyte,
    c_uint,
    c_uint16,
    c_uint32,
    c_uint64,
    c_void_p,
)
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

SRUN, SSTOP, SZOMB = 2, 4, 5
IN_MODIFY_NAMES: Final = 0x8 | 0x40 | 0x80 | 0x100 | 0x200
IN_SELF: Final = 0x400 | 0x800


class Timeval(Structure):
    _fields_ = (("tv_sec", c_int64), ("tv_usec", c_int32))


class ExternProc(Structure):
    _fields_ = (
        ("p_starttime", Timeval),
        ("p_vmspace", c_void_p),
        ("p_sigacts", c_void_p),
        ("p_flag", c_int),
        ("p_stat", c_char),
        ("p_pid", c_int32),
        ("p_oppid", c_int32),
        ("p_dupfd", c_int),
        ("user_stack", c_void_p),
        ("exit_thread", c_void_p),
        ("p_debugger", c_int),
        ("sigwait", c_int),
        ("p_estcpu", c_uint),
        ("p_cpticks", c_int),
        ("p_pctcpu", c_uint32),
        ("p_wchan", c_void_p),
        ("p_wmesg", c_void_p),
        ("p_swtime", c_uint),
        ("p_slptime", c_uint),
        ("p_realtimer", Timeval * 2),
        ("p_rtime", Timeval),
        ("p_uticks", c_uint64),
        ("p_sticks", c_uint64),
        ("p_iticks", c_uint64),
        ("p_traceflag", c_int),
        ("p_tracep", c_void_p),
        ("p_siglist", c_int),
        ("p_textvp", c_void_p),
        ("p_holdcnt", c_int),
        ("p_sigmask", c_uint32),
        ("p_sigignore", c_uint32),
        ("p_sigcatch", c_uint32),
        ("p_priority", c_ubyte),
        ("p_usrpri", c_ubyte),
        ("p_nice", c_char),
        ("p_comm", c_char * 17),
        ("p_pgrp", c_void_p),
        ("p_addr", c_void_p),
        ("p_xstat", c_uint16),
        ("p_acflag", c_uint16),
        ("p_ru", c_void_p),
    )


class Pcred(Structure):
    _fields_ = (
        ("pc_lock", c_char * 72),
        ("pc_ucred", c_void_p),
        ("p_ruid", c_uint32),
        ("p_svuid", c_uint32),
        ("p_rgid", c_uint32),
        ("p_svgid", c_uint32),
        ("p_refcnt", c_int),
    )


class Ucred(Structure):
    _fields_ = (("cr_ref", c_int32), ("cr_uid", c_uint32), ("cr_ngroups", c_int16), ("cr_groups", c_uint32 * 16))


class Vmspace(Structure):
    _fields_ = (("dummy", c_int32), ("dummy2", c_void_p), ("dummy3", c_int32 * 5), ("dummy4", c_void_p * 3))


class Eproc(Structure):
    _fields_ = (
        ("e_paddr", c_void_p),
        ("e_sess", c_void_p),
        ("e_pcred", Pcred),
        ("e_ucred", Ucred),
        ("e_vm", Vmspace),
        ("e_ppid", c_int32),
        ("e_pgid", c_int32),
        ("e_jobc", c_int16),
        ("e_tdev", c_int32),
        ("e_tpgid", c_int32),
        ("e_tsess", c_void_p),
        ("e_wmesg", c_char * 8),
        ("e_xsize", c_int32),
        ("e_xrssize", c_int16),
        ("e_xccount", c_int16),
        ("e_xswrss", c_int16),
        ("e_flag", c_int32),
        ("e_login", c_char * 12),
        ("e_spare", c_int32 * 4),
    )


class KinfoProc(Structure):
    _fields_ = (("kp_proc", ExternProc), ("kp_eproc", Eproc))


class ProcTaskinfo(Structure):
    _fields_ = (
        ("pti_virtual_size", c_uint64),
        ("pti_resident_size", c_uint64),
        ("pti_total_user", c_uint64),
        ("pti_total_system", c_uint64),
        ("pti_threads_user", c_uint64),
        ("pti_threads_system", c_uint64),
        ("pti_policy", c_int32),
        ("pti_faults", c_int32),
        ("pti_pageins", c_int32),
        ("pti_cow_faults", c_int32),
        ("pti_messages_sent", c_int32),
        ("pti_messages_received", c_int32),
        ("pti_syscalls_mach", c_int32),
        ("pti_syscalls_unix", c_int32),
        ("pti_csw", c_int32),
        ("pti_threadnum", c_int32),
        ("pti_numrunning", c_int32),
        ("pti_priority", c_int32),
    )


class ProcFileinfo(Structure):
    _fields_ = (
        ("fi_openflags", c_uint32),
        ("fi_status", c_uint32),
        ("fi_offset", c_int64),
        ("fi_type", c_int32),
        ("fi_guardflags", c_uint32),
    )


class VinfoStat(Structure):
    _fields_ = (
        ("vst_dev", c_uint32),
        ("vst_mode", c_uint16),
        ("vst_nlink", c_uint16),
        ("vst_ino", c_uint64),
        ("vst_uid", c_uint32),
        ("vst_gid", c_uint32),
        ("vst_times", c_int64 * 8),
        ("vst_size", c_int64),
        ("vst_blocks", c_int64),
        ("vst_blksize", c_int32),
        ("vst_flags", c_uint32),
        ("vst_gen", c_uint32),
        ("vst_rdev", c_uint32),
        ("vst_qspare", c_int64 * 2),
    )


class VnodeFdinfo(Structure):
    _fields_ = (
        ("pfi", ProcFileinfo),
        ("vi_stat", VinfoStat),
        ("vi_type", c_int),
        ("vi_pad", c_int),
        ("vi_fsid", c_int32 * 2),
    )


class SockbufInfo(Structure):
    _fields_ = (("sbi", c_uint32 * 5), ("sbi_flags", c_int16), ("sbi_timeo", c_int16))


class InSockinfo(Structure):
    _fields_ = (
        ("insi_fport", c_int),
        ("insi_lport", c_int),
        ("insi_gencnt", c_uint64),
        ("insi_flags", c_uint32),
        ("insi_flow", c_uint32),
        ("insi_vflag", c_ubyte),
        ("insi_ip_ttl", c_ubyte),
        ("rfu_1", c_uint32),
        ("insi_faddr", c_uint32 * 4),
        ("insi_laddr", c_uint32 * 4),
        ("insi_v4", c_ubyte),
        ("in6_hlim", c_ubyte),
        ("in6_cksum", c_int),
        ("in6_ifindex", c_uint16),
        ("in6_hops", c_int16),
    )


class TcpSockinfo(Structure):
    _fields_ = (
        ("tcpsi_ini", InSockinfo),
        ("tcpsi_state", c_int),
        ("tcpsi_timer", c_int * 4),
        ("tcpsi_mss", c_int),
        ("tcpsi_flags", c_uint32),
        ("rfu_1", c_uint32),
        ("tcpsi_tp", c_uint64),
    )


class SoiProto(Union):
    _fields_ = (("pri_tcp", TcpSockinfo), ("room_of_the_largest", c_char * 528))


class SocketFdinfo(Structure):
    _fields_ = (
        ("pfi", ProcFileinfo),
        ("soi_stat", VinfoStat),
        ("soi_so", c_uint64),
        ("soi_pcb", c_uint64),
        ("soi_type", c_int),
        ("soi_protocol", c_int),
        ("soi_family", c_int),
        ("soi_shorts", c_int16 * 8),
        ("soi_oobmark", c_uint32),
        ("soi_rcv", SockbufInfo),
        ("soi_snd", SockbufInfo),
        ("soi_kind", c_int),
        ("rfu_1", c_uint32),
        ("soi_proto", SoiProto),
    )


class Siginfo(Structure):
    _fields_ = (
        ("si_signo", c_int),
        ("si_errno", c_int),
        ("si_code", c_int),
        ("si_pid", c_int32),
        ("si_uid", c_uint32),
        ("si_status", c_int),
        ("si_addr", c_void_p),
        ("si_value", c_void_p),
        ("si_band", c_int64),
        ("pad", c_uint64 * 7),
    )


class Statfs(Structure):
    _fields_ = (
        ("f_bsize", c_uint32),
        ("f_iosize", c_int32),
        ("f_counts", c_uint64 * 5),
        ("f_fsid", c_int32 * 2),
        ("f_owner", c_uint32),
        ("f_type", c_uint32),
        ("f_flags", c_uint32),
        ("f_fssubtype", c_uint32),
        ("f_fstypename", c_char * 16),
        ("f_names", c_char * 2048),
        ("f_reserved", c_uint32 * 8),
    )


SIZES: Final = {KinfoProc: 648, ProcTaskinfo: 96, VnodeFdinfo: 176, SocketFdinfo: 792, Siginfo: 104, Statfs: 2168}
"""As compilers for macOS report them."""


@dataclass
class Process:
    """One process of the fake. ``listens``: its ports; ``opened``: files it has open, as (device, inode)."""

    pid: int
    parent: int = 1
    group: int = 0
    session: int = 0
    user: int = field(default_factory=os.geteuid)
    state: int = SRUN
    started_us: int = 1_700_000_000_000_000
    name: str = "node"
    arguments: Sequence[str] = ("node", "server.js")
    environment: Sequence[str] = ("PATH=/usr/bin",)
    listens: Sequence[int] = ()
    opened: Sequence[tuple[int, int]] = ()
    running_threads: int = 0
    cpu_ticks: int = 0
    resident_bytes: int = 4096

    def kinfo(self) -> bytes:
        info = KinfoProc()
        info.kp_proc.p_starttime = Timeval(*divmod(self.started_us, 1_000_000))
        info.kp_proc.p_stat = bytes([self.state])
        info.kp_proc.p_pid = self.pid
        info.kp_proc.p_comm = self.name.encode()[:16]
        info.kp_eproc.e_ucred.cr_uid = self.user
        info.kp_eproc.e_ppid, info.kp_eproc.e_pgid = self.parent, self.group
        return bytes(info)

    def procargs(self) -> bytes:
        """As the kernel lays them out: count, path, padding, arguments, environment, and what the kernel adds."""
        strings = [*self.arguments, *self.environment, "", "executable_path=/usr/bin/node", ""]
        text = "\0".join(strings).encode("utf-8", "surrogateescape")
        return struct.pack("<i", len(self.arguments)) + b"/usr/bin/node\0\0\0\0" + text

    def taskinfo(self) -> bytes:
        return bytes(
            ProcTaskinfo(
                pti_resident_size=self.resident_bytes,
                pti_total_user=self.cpu_ticks,
                pti_numrunning=self.running_threads,
            )
        )

    def descriptors(self) -> bytes:
        kinds = [1] * len(self.opened) + [2] * len(self.listens) + [6]
        return b"".join(struct.pack("<iI", number, kind) for number, kind in enumerate(kinds))

    def descriptor(self, number: int, flavor: int) -> bytes:
        if flavor == 1 and number < len(self.opened):
            device, inode = self.opened[number]
            return bytes(VnodeFdinfo(vi_stat=VinfoStat(vst_dev=device & 0xFFFFFFFF, vst_ino=inode)))
        number -= len(self.opened)
        if flavor == 3 and 0 <= number < len(self.listens):
            return listening(self.listens[number])
        return b""


def listening(port: int, *, state: int = 1, kind: int = 2) -> bytes:
    """A struct socket_fdinfo of a TCP socket."""
    info = SocketFdinfo(soi_kind=kind)
    info.soi_proto.pri_tcp.tcpsi_ini.insi_lport = int.from_bytes(port.to_bytes(2, "big"), "little")
    info.soi_proto.pri_tcp.tcpsi_state = state
    return bytes(info)


class FakeLibrary:
    """macOS' C library. ``processes()`` are those that there are now."""

    def __init__(self, processes: Callable[[], Sequence[Process]] = tuple) -> None:
        self.processes = processes
        self.process_of: Callable[[int], Process | None] = self._found
        self.exit_of: Callable[[int], tuple[int, int] | None] = self._exited
        self.exits: dict[int, tuple[int, int]] = {}
        """pid → (si_code, si_status) of children that can be waited for."""
        self.filesystem = "apfs"
        self.boot = "5F1D0A6B-2C0E-4E0C-9B5D-0E2B1A6C7D8E"
        self.timebase = (125, 3)
        self.refused_notifications: set[bytes] = set()
        self.notifications: dict[bytes, int] = {}
        """The end into which the system would write."""
        self.cancelled: list[int] = []
        self._tokens: dict[int, tuple[int, int]] = {}
        size = POINTER(c_size_t)
        self.sysctl = self._foreign(self._sysctl, POINTER(c_int), c_uint, c_void_p, size, c_void_p, c_size_t)
        self.sysctlbyname = self._foreign(self._by_name, ctypes.c_char_p, c_void_p, size, c_void_p, c_size_t)
        self.proc_pidinfo = self._foreign(self._pidinfo, c_int, c_int, c_uint64, c_void_p, c_int)
        self.proc_pidfdinfo = self._foreign(self._pidfdinfo, c_int, c_int, c_int, c_void_p, c_int)
        self.waitid = self._foreign(self._wait, c_int, c_uint, c_void_p, c_int)
        self.statfs = self._foreign(self._statfs, ctypes.c_char_p, c_void_p)
        setattr(self, "statfs$INODE64", self.statfs)
        self.mach_timebase_info = self._foreign(self._timebase, POINTER(c_uint32))
        self.notify_register_file_descriptor = self._foreign(
            self._register, ctypes.c_char_p, POINTER(c_int), c_int, POINTER(c_int)
        )
        self.notify_cancel = self._foreign(self._cancel, c_int)

    def _foreign(self, implementation: Callable[..., int], *types: Any) -> Any:
        """A C function without declared types, as ctypes finds one in a library.

        Called without types it fails as on a Mac: an address that is passed as an int is cut in half.
        """

        def called(*arguments: Any) -> int:
            declared = foreign.argtypes
            if len(declared) == len(types) and all(map(_may_be_passed, types, declared)):
                return implementation(*arguments)
            ctypes.set_errno(errno.EFAULT)
            return 0

        callback = ctypes.CFUNCTYPE(c_int, *types, use_errno=True)(called)
        foreign: Any = ctypes.CFUNCTYPE(c_int, use_errno=True)(ctypes.cast(callback, c_void_p).value or 0)
        foreign.callback = callback  # lives as long
        return foreign

    def _found(self, pid: int) -> Process | None:
        return next((each for each in self.processes() if each.pid == pid), None)

    def _exited(self, pid: int) -> tuple[int, int] | None:
        if pid not in self.exits and self.process_of(pid) is None:
            raise ChildProcessError
        return self.exits.get(pid)

    def _sysctl(self, name: Any, length: int, old: int | None, size: Any, _new: Any, _new_size: int) -> int:
        asked = name[:length]
        if asked == [1, 14, 0]:
            return _answer(b"".join(each.kinfo() for each in self.processes()), old, size)
        process = self.process_of(asked[-1])
        if asked[:3] == [1, 14, 1]:
            return _answer(process.kinfo() if process else b"", old, size)
        with contextlib.suppress(OSError):  # it has ended
            if asked[:2] == [1, 49] and process and process.user == os.geteuid():
                return _answer(process.procargs(), old, size)
        return _failed(errno.EINVAL)

    def _by_name(self, name: bytes, old: int | None, size: Any, _new: Any, _new_size: int) -> int:
        if name != b"kern.bootsessionuuid" or not self.boot:
            return _failed(errno.ENOENT)
        return _answer(self.boot.encode() + b"\0", old, size)

    def _pidinfo(self, pid: int, flavor: int, _argument: int, buffer: int | None, size: int) -> int:
        process = self.process_of(pid)
        if process is None or process.user != os.geteuid():
            return 0
        try:
            data = process.descriptors() if flavor == 1 else process.taskinfo()
        except OSError:  # it has ended
            return 0
        return _fill(data[: size // 8 * 8], buffer)

    def _pidfdinfo(self, pid: int, descriptor: int, flavor: int, buffer: int | None, size: int) -> int:
        process = self.process_of(pid)
        try:
            data = process.descriptor(descriptor, flavor) if process else b""
        except OSError:  # it has ended
            return 0
        return _fill(data, buffer) if len(data) <= size else 0

    def _wait(self, kind: int, pid: int, info: int | None, options: int) -> int:
        assert (kind, options) == (1, 0x4 | 0x1 | 0x20)
        try:
            exit_ = self.exit_of(pid)
        except ChildProcessError:
            return _failed(errno.ECHILD)
        if exit_ is None:
            return 0
        code, status = exit_
        return 0 if _fill(bytes(Siginfo(si_code=code, si_pid=pid, si_status=status)), info) else -1

    def _statfs(self, path: bytes, answer: int | None) -> int:
        if not os.path.exists(path):
            return _failed(errno.ENOENT)
        return 0 if _fill(bytes(Statfs(f_fstypename=self.filesystem.encode())), answer) else -1

    def _timebase(self, answer: Any) -> int:
        answer[0], answer[1] = self.timebase
        return 0

    def _register(self, name: bytes, descriptor: Any, _flags: int, token: Any) -> int:
        if name in self.refused_notifications:
            return 1
        outer, inner = os.pipe()
        descriptor[0], token[0] = outer, len(self._tokens)
        self._tokens[token[0]] = outer, inner
        self.notifications[name] = inner
        return 0

    def _cancel(self, token: int) -> int:
        for end in self._tokens.pop(token):
            os.close(end)
        self.cancelled.append(token)
        return 0


def _may_be_passed(wanted: Any, declared: Any) -> bool:
    """A pointer must be declared as one."""
    return wanted is declared or (ctypes.sizeof(wanted) == 8 and declared is c_void_p)


def _failed(number: int) -> int:
    ctypes.set_errno(number)
    return -1


def _fill(data: bytes, buffer: int | None) -> int:
    """As copyout."""
    if buffer is None:
        ctypes.set_errno(errno.EFAULT)
        return 0
    ctypes.memmove(buffer, data, len(data))
    return len(data)


def _answer(data: bytes, old: int | None, size: Any) -> int:
    if old is None:
        size[0] = len(data)
        return 0
    if len(data) > size[0]:
        return _failed(errno.ENOMEM)
    size[0] = len(data)
    return 0 if not data or _fill(data, old) else -1


# Processes of this machine.


class ProcessHere(Process):
    """A process of this machine, as a Mac would show it. Raises OSError if there is none."""

    def __init__(self, pid: int) -> None:
        self._place = Path(f"/proc/{pid}")
        name, _, rest = (self._place / "stat").read_text(errors="replace").partition("(")[2].rpartition(")")
        fields = rest.split()
        self.pid, self.name, self.user = pid, name, self._place.stat().st_uid
        self.parent, self.group, self.session = map(int, fields[1:4])
        self.state = {"T": SSTOP, "t": SSTOP, "Z": SZOMB, "X": SZOMB}.get(fields[0], SRUN)
        self.started_us = int(fields[19]) * 10_000
        self.running_threads = int(fields[0] == "R")
        self.cpu_ticks = (int(fields[11]) + int(fields[12])) * 240_000

    @functools.cached_property
    def arguments(self) -> Sequence[str]:  # type: ignore[override]  # read when asked for
        return self._strings("cmdline")

    @functools.cached_property
    def environment(self) -> Sequence[str]:  # type: ignore[override]
        return self._strings("environ")

    def _strings(self, name: str) -> list[str]:
        data = (self._place / name).read_bytes()
        return [part for part in data.decode("utf-8", "surrogateescape").split("\0") if part]

    @functools.cached_property
    def listens(self) -> Sequence[int]:  # type: ignore[override]
        rows = [row.split() for of in ("tcp", "tcp6") for row in Path("/proc/net", of).read_text().splitlines()[1:]]
        ports = {f"socket:[{row[9]}]": int(row[1].rpartition(":")[2], 16) for row in rows if row[3] == "0A"}
        return [ports[link] for link in self._files() if link in ports]

    @functools.cached_property
    def opened(self) -> Sequence[tuple[int, int]]:  # type: ignore[override]
        found = []
        for link, path in self._files().items():
            if not link.startswith("socket:"):
                with contextlib.suppress(OSError):  # closed meanwhile
                    status = os.stat(path)
                    found.append((status.st_dev, status.st_ino))
        return found

    def _files(self) -> dict[str, str]:
        found = {}
        for name in os.listdir(self._place / "fd"):
            with contextlib.suppress(OSError):  # closed meanwhile
                found[os.readlink(self._place / "fd" / name)] = f"{self._place}/fd/{name}"
        return found


def process_here(pid: int) -> Process | None:
    try:
        return ProcessHere(pid)
    except OSError:
        return None


def processes_since(pids: set[int]) -> list[Process]:
    """Those that have started since these were listed, and ours: a scan of all would take too long."""
    return [process for pid in sorted((pids_here() - pids) | {os.getpid()}) if (process := process_here(pid))]


def pids_here() -> set[int]:
    return {int(name) for name in os.listdir("/proc") if name.isdigit()}


def exit_here(pid: int) -> tuple[int, int] | None:
    """How a child of this process has ended; None while it lives. Raises ChildProcessError."""
    found = os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    return (found.si_code, found.si_status) if found else None


def library_of_this_machine() -> "FakeLibrary":
    library = FakeLibrary(functools.partial(processes_since, pids_here()))
    library.process_of, library.exit_of = process_here, exit_here
    return library


# kqueue.


@dataclass
class Kevent:
    ident: int
    filter: int = 0
    flags: int = 0
    fflags: int = 0


class FakeQueue:
    """Events of a process come from its pidfd, those of directories from inotify: both are real descriptors."""

    def __init__(self) -> None:
        self._descriptor = select.epoll()
        self._inotify = -1
        self._process: int | None = None
        self._watched: dict[int, int] = {}
        self.fails: OSError | None = None

    def fileno(self) -> int:
        if self._process is not None:
            return self._process
        return self._descriptor.fileno()

    def close(self) -> None:
        self._descriptor.close()
        for descriptor in (self._process, self._inotify):
            if descriptor is not None and descriptor >= 0:
                os.close(descriptor)

    def control(self, changes: Sequence[Kevent] | None, events: int, _timeout: float | None = None, /) -> list[Kevent]:
        if self.fails:
            raise self.fails
        for change in changes or ():
            if change.filter == -5:
                assert (change.flags, change.fflags) == (0x1 | 0x10, 0x80000000)
                self._process = os.pidfd_open(change.ident)
            else:
                assert (change.filter, change.flags, change.fflags) == (-4, 0x1 | 0x20, 0x2 | 0x1 | 0x20 | 0x40)
                self._watch(change.ident)
        return self._events() if events else []

    def _watch(self, descriptor: int) -> None:
        if self._inotify < 0:
            self._inotify = _libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
            self._descriptor.register(self._inotify, select.EPOLLIN)
        place = f"/proc/self/fd/{descriptor}".encode()
        self._watched[_libc.inotify_add_watch(self._inotify, place, IN_MODIFY_NAMES | IN_SELF)] = descriptor

    def _events(self) -> list[Kevent]:
        try:
            data, at, found = os.read(self._inotify, 65536), 0, []
        except BlockingIOError:
            return []
        while at < len(data):
            watch, mask, _, length = struct.unpack_from("iIII", data, at)
            at += 16 + length
            if watch in self._watched and mask & (IN_MODIFY_NAMES | IN_SELF):
                fflags = {0x400: 0x1, 0x800: 0x20}.get(mask & IN_SELF, 0x2)
                found.append(Kevent(self._watched[watch], fflags=fflags))
        return found


_libc: Final = ctypes.CDLL(None, use_errno=True)


class FakeKernel:
    """What a Mac's module `select` has beside Linux's."""

    def __init__(self) -> None:
        self.queues: list[FakeQueue] = []

    def kqueue(self) -> FakeQueue:
        self.queues.append(FakeQueue())
        return self.queues[-1]

    def kevent(self, ident: int, filter: int, flags: int, fflags: int) -> Kevent:  # noqa: A002 — as `select` names it
        return Kevent(ident, filter, flags, fflags)
