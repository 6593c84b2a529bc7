"""What happened to this machine, and what was done about it: the last entries, oldest first, for people to read."""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from brummer.core.clock import Clock
from brummer.core.events import Hook
from brummer.network.monitor import Event, NetworkChanged
from brummer.network.wake import ClockSet, GoingToSleep, Paused, Slept
from brummer.settings.units import span

ENTRIES: Final = 50
"""A laptop's day or two."""


@dataclass(slots=True, eq=False)
class Entry:
    """``at_s``: elapsed time; ``wall_s``: seconds since 1970, as the clock then stood."""

    event: Event
    at_s: float
    wall_s: float
    did: str = ""
    took_s: float | None = None

    @property
    def reasons(self) -> list[str]:
        return reasons_of(self.event)

    def describe(self, now_s: float) -> dict[str, Any]:
        """JSON-compatible; ``now_s`` is elapsed time."""
        return {
            "kind": self.event.kind,
            "at": datetime.fromtimestamp(self.wall_s, UTC).isoformat(timespec="milliseconds"),
            "at_boottime_s": round(self.at_s, 3),
            "ago_s": round(now_s - self.at_s, 3),
            "seconds": getattr(self.event, "seconds", None),
            "reasons": self.reasons,
            "did": self.did,
            "took_s": self.took_s,
        }


@dataclass(frozen=True, slots=True)
class Handled:
    """What an event asked for has been done."""

    event: Event
    did: str
    took_s: float


class Timeline:
    """The last `ENTRIES`."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.handled: Hook[Handled] = Hook()
        self._entries: deque[Entry] = deque(maxlen=ENTRIES)

    def __iter__(self) -> Iterator[Entry]:
        return iter(self._entries)

    def note(self, event: Event) -> Entry:
        """Something happened now; what is done about it is filled in by whoever does it."""
        entry = Entry(event, self._clock.elapsed(), self._clock.wall())
        self._entries.append(entry)
        return entry

    def finished(self, entry: Entry, did: str) -> None:
        entry.did, entry.took_s = did, round(self._clock.elapsed() - entry.at_s, 3)
        self.handled.publish(Handled(entry.event, did, entry.took_s))

    def describe(self) -> list[dict[str, Any]]:
        now_s = self._clock.elapsed()
        return [entry.describe(now_s) for entry in self._entries]


def reasons_of(event: Event) -> list[str]:
    """One sentence each."""
    match event:
        case Slept(seconds):
            return [f"the machine slept for {span(seconds)}" if seconds else "the machine slept"]
        case Paused(seconds):
            return [f"this hub was not run for at least {span(seconds)}: stopped, frozen, or starved"]
        case ClockSet(seconds):
            return [f"the wall clock was set {'forth' if seconds > 0 else 'back'} by {span(abs(seconds))}"]
        case GoingToSleep():
            return ["the machine is about to sleep"]
        case NetworkChanged(reasons):
            return [*reasons]
