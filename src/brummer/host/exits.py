"""Notice the death of a process: one descriptor per process on the loop, no thread, no polling.

The order makes it free of races: open the descriptor first, then compare the identity. If the pid was recycled before
we opened it, the identity differs; if it dies later, the descriptor reports it. Where there is no descriptor (too many
open files, a sandbox that forbids pidfd_open), the identity is compared every five seconds.
"""

import asyncio
import errno
import functools
import os
import random
import signal
import sys
from collections.abc import Callable
from typing import Final, Literal

from brummer.host import pids
from brummer.host.descriptors import descriptor_limit
from brummer.host.pids import ProcessIdentity, identify, is_running, same_namespace
from brummer.host.system import Processes

POLL_S: Final = 5.0
Kind = Literal["pidfd", "kqueue", "polling"]
_Close = Callable[[], None]

_open_descriptors: set[int] = set()

if sys.platform == "darwin":
    import select

    from brummer.host.macos.kqueue import exit_descriptor

    KIND: Kind = "kqueue"

    def _open(pid: int) -> int:
        return exit_descriptor(pid, select)

else:
    KIND: Kind = "pidfd"

    def _open(pid: int) -> int:
        if not hasattr(os, "pidfd_open"):
            raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
        return os.pidfd_open(pid)


@functools.cache
def _descriptor_limit() -> int:
    """A quarter of what this process may open: the rest is for the connections to those same processes."""
    return descriptor_limit() // 4


def open_exit_fd(identity: ProcessIdentity) -> int | None:
    """A descriptor that becomes readable when the process dies; None when it is dead already.

    Raises OSError when no descriptor can be had, which says nothing about the process.
    """
    try:
        descriptor = _open(identity.pid)
    except (ProcessLookupError, FileNotFoundError):  # ENOENT: by now the id of a thread
        return None
    is_it = False
    try:
        is_it = identify(identity.pid) == identity
    finally:
        if not is_it:
            os.close(descriptor)
    return descriptor if is_it else None


def _subscribe(
    loop: asyncio.AbstractEventLoop, identity: ProcessIdentity, on_exit: Callable[[], None]
) -> _Close | None:
    if len(_open_descriptors) >= _descriptor_limit():
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
    descriptor = open_exit_fd(identity)
    if descriptor is None:
        return None
    try:
        loop.add_reader(descriptor, on_exit)
    except BaseException:
        os.close(descriptor)
        raise
    _open_descriptors.add(descriptor)

    def close() -> None:
        _open_descriptors.discard(descriptor)
        loop.remove_reader(descriptor)
        os.close(descriptor)

    return close


class SystemProcesses:
    """The `brummer.host.system.Processes` of this machine."""

    own_identity = staticmethod(pids.own_identity)
    same_boot = staticmethod(pids.same_boot)
    same_namespace = staticmethod(same_namespace)
    network_namespace = staticmethod(pids.network_namespace)
    is_running = staticmethod(is_running)
    process_state = staticmethod(pids.process_state)
    subscribe_exit = staticmethod(_subscribe)


SYSTEM_PROCESSES: Final = SystemProcesses()


class ExitWatch:
    """Calls ``on_exit()`` once, on the loop, when the process has died; never after `close`."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        identity: ProcessIdentity,
        on_exit: Callable[[], None],
        processes: Processes = SYSTEM_PROCESSES,
    ) -> None:
        self._loop = loop
        self._processes = processes
        self.identity = identity
        self._on_exit = on_exit
        self.kind: Kind = KIND
        self._close: _Close | None = self._start()

    def __repr__(self) -> str:
        return f"<ExitWatch pid={self.identity.pid} {self.kind if self._close else 'closed'}>"

    def _start(self) -> _Close:
        try:
            close = self._processes.subscribe_exit(self._loop, self.identity, self._fire)
        except OSError:
            self.kind = "polling"
            return self._poll_later()
        return close or self._loop.call_soon(self._fire).cancel

    def _poll_later(self) -> _Close:
        wait_s = POLL_S * random.uniform(0.8, 1.0)  # noqa: S311 - jitter
        return self._loop.call_later(wait_s, self._poll).cancel

    def check_now(self) -> None:
        """Check after a hint, if this watch polls; otherwise do nothing."""
        if self.kind == "polling" and self._close is not None:
            self._close()
            self._poll()

    def _poll(self) -> None:
        if self._processes.is_running(self.identity):
            self._close = self._poll_later()
        else:
            self._fire()

    def _fire(self) -> None:
        if self._close is not None:
            self.close()
            self._on_exit()

    def close(self) -> None:
        if self._close is not None:
            close, self._close = self._close, None
            close()


def watch_exit(
    loop: asyncio.AbstractEventLoop,
    identity: ProcessIdentity,
    on_exit: Callable[[], None],
    processes: Processes = SYSTEM_PROCESSES,
) -> ExitWatch:
    """Call ``on_exit()`` once when this very process has died; soon, if it is dead already.

    Raises ValueError for a process of another boot or pid namespace: its pid says nothing here.
    """
    if not processes.same_namespace(identity):
        raise ValueError(f"pid {identity.pid} belongs to another pid namespace or boot")
    return ExitWatch(loop, identity, on_exit, processes)


def signal_process(identity: ProcessIdentity, number: signal.Signals) -> bool:
    """Signal this process, never another one that has its pid by now; False if it has died. Only for `same_namespace`.

    Raises PermissionError for a process of another user, and OSError if it can't be identified.
    """
    if hasattr(signal, "pidfd_send_signal"):
        try:
            descriptor = open_exit_fd(identity)
        except OSError:
            pass  # no descriptor: what follows is exact, except between the check and the signal
        else:
            return descriptor is not None and _signal_by_descriptor(descriptor, number)
    if identify(identity.pid) != identity:
        return False
    os.kill(identity.pid, number)
    return True


def _signal_by_descriptor(descriptor: int, number: signal.Signals) -> bool:
    try:
        signal.pidfd_send_signal(descriptor, number)  # type: ignore[attr-defined,unused-ignore]
    except ProcessLookupError:
        return False
    finally:
        os.close(descriptor)
    return True
