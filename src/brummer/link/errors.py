"""Errors between a hub and its peers, beyond those of the transport itself."""

from typing import ClassVar, Final, Self

from brummer.core.errors import BadAnswer, BrummerError, Outcome, TransportError
from brummer.wire.mcp.not_begun import NotBegunData

COME_BACK_S: Final = 20.0
"""The longest wait for a server that has set a time to come back: as long as a call waits for an absent instance."""


class Impostor(TransportError):
    """Another process answers on the instance's port."""

    code = "impostor"


class ServerFull(TransportError):
    """The server accepts no further connection, or is about to close. That proves nothing of its identity."""

    code = "server_full"


class NoResult(BadAnswer):
    """The answer is complete, and no result can be read from it. Retrying gives the same answer."""


class Refused(NoResult):
    """The server answered over HTTP, but not with MCP. ``context["status"]`` is the HTTP status.

    ``retry_after_s``: the time that the server has set, counted from now; None if it has set none.
    """

    code = "refused_by_server"
    transient = False
    """True if it may end by itself; otherwise only a change of the settings, or of the server, ends it."""

    def __init__(self, message: str, *, began: bool, retry_after_s: float | None = None, **context: object) -> None:
        super().__init__(message, sent=began, **context)
        self.retry_after_s = retry_after_s

    def after(self, retry_after_s: float | None) -> Self:
        """The same refusal, for another call that was not sent."""
        return type(self)(self.message, began=False, retry_after_s=retry_after_s, **self.context)


class RateLimited(Refused):
    """HTTP 429: too many requests."""

    code = "rate_limited"
    transient = True


class ParkedTooLong(BrummerError):
    """The instance is known, but was not ready within the time that a call may wait for it."""

    code = "instance_unavailable"
    transient = True


class OutcomeUnknown(BrummerError):
    """The connection was lost after a mutating call was sent: it may have run."""

    code = "outcome_unknown"
    default_outcome: ClassVar[Outcome] = "unknown"


class DeadlineExceeded(BrummerError):
    """The call was not answered in the time that its kind may take."""

    code = "deadline_exceeded"
    transient = True
    default_outcome: ClassVar[Outcome] = "unknown"


class RemoteRefusal(BrummerError):
    """The instance answered with a JSON-RPC error. ``rpc_code`` is None where it gave none."""

    code = "refused_by_instance"


class NotBegun(BrummerError):
    """The instance did not begin the call on this request; ``data`` has what the next request needs."""

    code = "not_begun"
    transient = True

    def __init__(self, data: NotBegunData) -> None:
        super().__init__(f"the instance did not begin the call: {data.why}")
        self.data = data


class CallForgotten(BrummerError):
    """The call may have run, and its result is no longer kept."""

    code = "call_forgotten"
    default_outcome: ClassVar[Outcome] = "unknown"


class BreakerOpen(BrummerError):
    """Calls to this instance failed one after the other; for a while none is tried."""

    code = "breaker_open"
    transient = True
