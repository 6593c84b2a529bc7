"""What one scenario measured, how it should have been, and how it crosses from the guest to the host: as JSON."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any, Final, Self

USABLE_MS: Final = 3000
"""The issue's own number: three seconds after a wake every link carries calls again."""

EXPECTED: Final[dict[str, frozenset[str]]] = {
    "s3": frozenset({"slept"}),
    "ext": frozenset({"slept"}),
    "core": frozenset({"slept"}),
    "s2idle": frozenset({"slept", "paused"}),  # without a cpuidle driver, as here, its clocks go on
    "vmpause": frozenset(),  # every clock in the guest stands still together: nobody inside can know
    "setclock": frozenset({"clock"}),
}
"""Per scenario, as which of these the hub may take it; in the order in which they run."""

MEANING: Final = {
    "s3": "suspend to RAM, woken by the clock's alarm",
    "ext": "suspend to RAM, woken from outside",
    "core": "the kernel's own test: everything but the firmware, 5 s",
    "s2idle": "suspend to idle, woken by the power button",
    "vmpause": "the whole machine is stopped, and goes on",
    "setclock": "the wall clock is set forth by an hour",
}

NOT_JUDGED: Final = frozenset({"network", "sleeping"})
"""Entries that are no fault, though nothing in the guest should bring them about: it has no network and no logind."""

MISSING: Final = "–"  # noqa: RUF001 — a dash in a table


@dataclass(frozen=True)
class Noticed:
    """An entry of the hub's timeline. ``seconds`` as the hub has it; ``after_ms`` since programs ran again."""

    kind: str
    seconds: float | None
    after_ms: int

    def __str__(self) -> str:
        return self.kind if self.seconds is None else f"{self.kind} {self.seconds:.1f} s"


@dataclass(frozen=True)
class Measured:
    """Milliseconds count from the moment when programs ran again; None where it did not happen within the bounds."""

    scenario: str
    away_s: float
    """How long the guest was away as CLOCK_BOOTTIME tells."""
    timeline: list[Noticed] | None
    """The hub's, since; None when the hub keeps none."""
    ready_ms: int | None
    """Until hub_status called every link ready."""
    usable_ms: int | None
    """Until a call through every link was answered."""
    redialled: int
    """Connections that were there before, and were not any more when the links were usable."""
    breakers: int
    """Links whose breaker was ever seen to be other than closed."""
    calls: int
    once: int
    """Calls under way during the scenario that ran exactly once, and were answered exactly once, and rightly."""
    notes: list[str] = field(default_factory=list)
    """What was wrong in the guest's own words."""

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, members: dict[str, Any]) -> Self:
        entries = members["timeline"]
        return cls(**{**members, "timeline": entries and [Noticed(**entry) for entry in entries]})

    @property
    def noticed_ms(self) -> int | None:
        return self.timeline[0].after_ms if self.timeline else None

    def told(self) -> str:
        """As what the hub took it, in words."""
        if self.timeline is None:
            return MISSING
        return ", ".join(map(str, self.timeline)) or "nothing"

    def faults(self) -> Iterator[str]:
        """What is wrong with it, in words."""
        if (fault := self._wrong_kind()) is not None:
            yield fault
        if self.usable_ms is None or self.usable_ms > USABLE_MS:
            yield f"a link was not usable within {USABLE_MS} ms"
        if self.redialled:
            yield f"{self.redialled} connections were not kept"
        if self.breakers:
            yield f"{self.breakers} breakers opened"
        if self.once != self.calls:
            yield f"{self.calls - self.once} of {self.calls} calls did not run once and get one right answer"
        yield from self.notes

    def _wrong_kind(self) -> str | None:
        if self.timeline is None:
            return "this hub keeps no timeline"
        expected = EXPECTED[self.scenario]
        seen = [entry for entry in self.timeline if entry.kind not in NOT_JUDGED]
        if len(seen) == bool(expected) and all(entry.kind in expected for entry in seen):
            return None
        told = ", ".join(f"{entry} ({entry.after_ms} ms after)" for entry in seen) or "nothing"
        return f"noticed as {told}, not once as {' or '.join(sorted(expected)) or 'nothing'}"
