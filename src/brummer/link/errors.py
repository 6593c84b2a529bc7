"""What can go wrong between hub and instance, beyond the transport itself."""

from typing import ClassVar

from brummer.core.errors import BadAnswer, BrummerError, Outcome, TransportError
from brummer.wire.mcp.not_begun import NotBegunData


class Impostor(TransportError):
    """Somebody else answers on the instance's port."""

    code = "impostor"


class NoResult(BadAnswer):
    """The answer came whole, and no result can be read from it: to ask again gives it again."""


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


class Busy(BrummerError):
    """All places are taken, and so is the queue for them."""

    code = "busy"
    transient = True


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
