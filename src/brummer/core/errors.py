"""One error tree. An error has fields and builds its own sentence; no code parses messages.

Packages add their own subclasses next to the code that raises them; a foreign exception is mapped to one of these once,
at the edge where it enters.
"""

import errno
import os
from typing import Any, ClassVar, Final, Literal

Outcome = Literal["not_executed", "failed", "unknown"]
"""What is known of the work a failed call asked for.

``not_executed``: it never ran. ``failed``: it ran and reported this failure. ``unknown``: it may have run; verify.
"""


SHOWN = 200
"""Characters of a given name: enough to recognise it, and not enough to fill an agent's context."""


def shown(name: str) -> str:
    """The name as an error repeats it: a long one is cut, and says so."""
    return name if len(name) <= SHOWN else f"{name[:SHOWN]}… ({len(name)} characters)"


class BrummerError(Exception):
    """Base of every error that a user or an agent may see.

    ``message`` is one sentence that says what happened and, where there is something to do, what to do.
    ``context`` holds JSON-compatible facts (paths, pids, ids), never secrets.
    """

    code: ClassVar[str] = "internal"
    transient: ClassVar[bool] = False
    """The same call may succeed later."""
    default_outcome: ClassVar[Outcome] = "not_executed"

    def __init__(
        self,
        message: str,
        *,
        retry_after_s: float | None = None,
        outcome: Outcome | None = None,
        **context: object,
    ) -> None:
        message = message.encode(errors="replace").decode()  # a path need not be UTF-8
        super().__init__(message)
        self.message = message
        self.retry_after_s = retry_after_s
        self.outcome: Outcome = outcome or self.default_outcome
        self.context = context

    @property
    def retryable(self) -> bool:
        """The caller may repeat the call: it may succeed later, and it has not run."""
        return self.transient and self.outcome == "not_executed"

    def as_data(self) -> dict[str, object]:
        """The shape agents get: ``structuredContent.error`` of a tool result, ``data`` of a JSON-RPC error."""
        return {
            "code": self.code,
            "message": self.message,
            "retryable": self.retryable,
            "retry_after_s": self.retry_after_s if self.retryable else None,
            "outcome": self.outcome,
            "context": self.context,
        }


class InvalidArguments(BrummerError):
    """A tool was called with arguments it can't take; the message names the argument."""

    code = "invalid_arguments"


class NotFound(BrummerError):
    """Something was asked for by a name that is not there; ``context`` lists what is."""

    code = "not_found"


class Internal(BrummerError):
    """A defect of ours, caught at a barrier so that the connection lives on."""

    code = "internal"
    default_outcome = "unknown"


class SystemFailed(BrummerError):
    """A system call failed, other than one of a connection; ``context.errno`` is the error's name."""

    code = "system_failed"


class NoDescriptorFree(SystemFailed):
    """The limit on open files of this process, or of the machine, is reached."""

    code = "no_descriptor_left"
    transient = True


class OutOfMemory(SystemFailed):
    """The system, or the memory limit of this process, has no memory left, for example to start a process."""

    code = "out_of_memory"
    transient = True


class NoProcessLeft(SystemFailed):
    """The limit on processes and threads of the user, or of the control group, is reached."""

    code = "no_process_left"
    transient = True


class DiskFull(SystemFailed):
    """The disk, or the user's quota on it, is full."""

    code = "disk_full"
    transient = True


_SYSTEM: Final[dict[int, tuple[type[SystemFailed], str]]] = {
    errno.EMFILE: (NoDescriptorFree, "End programs you don't need, or raise the limit on open files (ulimit -n)."),
    errno.ENFILE: (NoDescriptorFree, "End programs that have many files open (fs.file-max)."),
    errno.ENOMEM: (OutOfMemory, "End programs you don't need, or raise the memory limit (ulimit -v, memory.max)."),
    errno.EAGAIN: (NoProcessLeft, "End programs you don't need, or raise their limit (ulimit -u, pids.max)."),
    errno.ENOSPC: (DiskFull, "Free space on the disk."),
    errno.EDQUOT: (DiskFull, "Free space in your quota."),
}


def system_error(error: OSError | MemoryError, doing: str, *, outcome: Outcome, **context: Any) -> SystemFailed:
    """Map the failure of a system call, other than one of a connection, to a `BrummerError` by its errno.

    ``doing``: the failed action, as the beginning of the message.
    """
    number = errno.ENOMEM if isinstance(error, MemoryError) else error.errno or 0
    kind, advice = _SYSTEM.get(number, (SystemFailed, ""))
    what = os.strerror(number) if number else str(error) or type(error).__name__
    return kind(f"{doing}: {what}. {advice}".rstrip(), outcome=outcome, **context, errno=errno.errorcode.get(number))


def unforeseen(error: Exception, doing: str, *, outcome: Outcome = "unknown", **context: Any) -> BrummerError:
    """Map any exception that has reached a barrier to a `BrummerError`."""
    if isinstance(error, BrummerError):
        return error
    if isinstance(error, OSError | MemoryError):
        return system_error(error, doing, outcome=outcome, **context)
    return Internal(f"{doing} inside Brummer; its log has the traceback", outcome=outcome, **context)


class TransportError(BrummerError):
    """A connection could not be made, or was lost; ``sent`` says whether bytes of the request reached the kernel."""

    code = "connection_lost"
    transient = True

    def __init__(self, message: str, *, sent: bool = False, **context: object) -> None:
        super().__init__(message, outcome="unknown" if sent else "not_executed")
        self.context = context
        self.sent = sent


class ConnectionRefused(TransportError):
    """No process listens there."""

    code = "connection_refused"


class ConnectionReset(TransportError):
    """The peer, or its kernel, broke the connection off."""

    code = "connection_reset"


class ConnectionClosed(TransportError):
    """The peer closed the connection in an orderly way, but before it had answered."""

    code = "connection_closed"


class TimedOut(TransportError):
    """No answer in time, from the kernel's point of view or from ours."""

    code = "timeout"


class Unreachable(TransportError):
    """The network has no route to it."""

    code = "network_unreachable"


class NameNotFound(TransportError):
    """The host's name has no address."""

    code = "dns"


class TlsFailed(TransportError):
    """No secure connection could be agreed on, or the peer's certificate does not hold."""

    code = "tls"


class Shortage(TransportError):
    """The process or machine lacks descriptors or memory. That proves nothing of the peer, and may end at any
    moment.
    """


class NoDescriptorLeft(Shortage):
    """The limit on open files of this process, or of the machine, is reached."""

    code = "no_descriptor_left"


class NoMemoryLeft(Shortage):
    """The kernel has no memory for a connection."""

    code = "out_of_memory"


class BadAnswer(TransportError):
    """The protocol does not allow this answer."""

    code = "protocol_error"


class TooLarge(BadAnswer):
    """A message exceeds a size limit (ours for answers, the peer's for requests). Retrying gives the same result."""

    code = "too_large"
    transient = False


class NoRoom(TooLarge):
    """The process has no memory for the answer now; a peer that keeps the answer can be asked for it again."""


SHORTAGES: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM})
"""A lack of descriptors or memory. The same call may succeed in a moment, so the error proves nothing of its target."""

_BY_ERRNO: dict[int, type[TransportError]] = {
    errno.ECONNREFUSED: ConnectionRefused,
    errno.ECONNRESET: ConnectionReset,
    errno.EPIPE: ConnectionReset,
    errno.ECONNABORTED: ConnectionReset,
    errno.ETIMEDOUT: TimedOut,
    errno.ENETUNREACH: Unreachable,
    errno.EHOSTUNREACH: Unreachable,
    errno.ENETDOWN: Unreachable,
    errno.EADDRNOTAVAIL: Unreachable,
    errno.EMFILE: NoDescriptorLeft,
    errno.ENFILE: NoDescriptorLeft,
    errno.ENOMEM: NoMemoryLeft,
    errno.ENOBUFS: NoMemoryLeft,
}


def is_own_fault(error: BrummerError | None) -> bool:
    """The system refused a call for a reason on this machine: it lacks something, or a firewall forbids the call.

    Errors that the network or the peer may cause are listed; all others are ours.
    """
    number = None if error is None else error.context.get("errno")
    return isinstance(number, int) and issubclass(_BY_ERRNO.get(number, Shortage), Shortage)


def transport_error(error: OSError, *, sent: bool) -> TransportError:
    """The one place where an operating system's error becomes one of ours, by its number."""
    kind = TimedOut if isinstance(error, TimeoutError) else _BY_ERRNO.get(error.errno or 0, TransportError)
    text = os.strerror(error.errno) if error.errno else "timed out"
    return kind(text, sent=sent, errno=error.errno)
