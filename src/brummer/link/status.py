"""What a link reports of itself, as agents and people get it."""

from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from brummer.core.errors import BrummerError
from brummer.link.breaker import BreakerState
from brummer.link.peer import Condition


class LastError(msgspec.Struct, frozen=True):
    """Of a `brummer.core.errors.BrummerError`."""

    code: str
    message: str

    @classmethod
    def of(cls, error: BrummerError | None) -> "LastError | None":
        return None if error is None else cls(error.code, error.message)


class LinkStatus(msgspec.Struct, frozen=True, kw_only=True):
    """``state`` is a `State.shown`. A basic link leaves out what is unset here."""

    instance_id: str
    state: str
    since_s: float
    reason: str
    condition: Condition
    last_error: LastError | None
    attempts: int = 0
    next_retry_s: float | None = None
    breaker: BreakerState | UnsetType = UNSET
    quality: float | UnsetType = UNSET
    rtt_ms: float | UnsetType | None = UNSET
    latency_ms: dict[str, float | None] | UnsetType = UNSET
    connections: int
    connection_age_s: float | UnsetType | None = UNSET
    local_port: int | UnsetType | None = UNSET
    dials: int = 0
    in_flight: int
    parked: int = 0

    @property
    def detail(self) -> str:
        """The last error, or without one the reason."""
        return self.last_error.message if self.last_error is not None else self.reason

    def as_json(self) -> dict[str, Any]:
        encoded: dict[str, Any] = msgspec.to_builtins(self)
        return encoded
