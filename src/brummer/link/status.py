"""What a link reports of itself, as agents and people get it."""

from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import UNSET, UnsetType

from brummer.core.errors import BrummerError
from brummer.link.failures import BreakerState
from brummer.link.peer import Condition

if TYPE_CHECKING:
    from brummer.link.link import Link


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


def status_of(link: "Link") -> LinkStatus:
    """Of a robust link. It samples the peer's process."""
    now_s = link.loop.time()
    health, connections, oldest = link.health, link.connections, link.connections.oldest
    return LinkStatus(
        instance_id=link.target.instance_id,
        state=link.state.shown,
        since_s=link.state_s,
        reason=link.reason,
        condition=link.condition,
        last_error=LastError.of(link.last_error),
        attempts=link.attempts,
        next_retry_s=None if link.next_dial_s is None else round(max(0.0, link.next_dial_s - now_s), 3),
        breaker=link.breaker.state(now_s),
        quality=round(health.quality, 3),
        rtt_ms=_ms(health.rtt_s),
        latency_ms={f"p{percent}": _ms(health.latency_s(percent)) for percent in (50, 90, 99)},
        connections=connections.size,
        connection_age_s=None if oldest is None else round(link.elapsed() - oldest.opened_at, 3),
        local_port=None if oldest is None else oldest.local_port,
        dials=connections.dials,
        in_flight=connections.in_flight,
        parked=len(link.parking),
    )


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds * 1000, 3)
