"""What happened to this machine, and what the hub did: the last entries, oldest first, for people to read."""

from collections import deque
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final

import msgspec

from brummer.core.clock import Clock
from brummer.core.events import Hook
from brummer.network.monitor import MachineEvent, NetworkChanged
from brummer.network.wake import ClockSet, GoingToSleep, Paused, Slept
from brummer.settings.units import span

ENTRIES: Final = 50
"""A laptop's day or two."""


class TimelineEvent(msgspec.Struct, frozen=True):
    """An entry as agents and people get it. ``at_boottime_s``: elapsed time; ``seconds``: of a sleep, pause or step."""

    kind: str
    at: str
    at_boottime_s: float
    ago_s: float
    seconds: float | None
    reasons: list[str]
    did: str
    took_s: float | None


class TimelineEntry(msgspec.Struct, eq=False):
    """``at_s``: elapsed time; ``wall_s``: seconds since 1970, as the clock then stood."""

    event: MachineEvent
    at_s: float
    wall_s: float
    did: str = ""
    took_s: float | None = None

    @property
    def reasons(self) -> list[str]:
        return reasons_of(self.event)

    def describe(self, now_s: float) -> TimelineEvent:
        """``now_s`` is elapsed time."""
        at = datetime.fromtimestamp(self.wall_s, UTC).isoformat(timespec="milliseconds")
        at_s, ago_s = round(self.at_s, 3), round(now_s - self.at_s, 3)
        seconds = getattr(self.event, "seconds", None)
        return TimelineEvent(self.event.kind, at, at_s, ago_s, seconds, self.reasons, self.did, self.took_s)


class Handled(msgspec.Struct, frozen=True):
    """The work after an event is done."""

    event: MachineEvent
    did: str
    took_s: float


class Timeline:
    """The last `ENTRIES`."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.handled: Hook[Handled] = Hook()
        self._entries: deque[TimelineEntry] = deque(maxlen=ENTRIES)

    def __iter__(self) -> Iterator[TimelineEntry]:
        return iter(self._entries)

    def note(self, event: MachineEvent) -> TimelineEntry:
        """Something happened now. Report what was done about it by `finished`."""
        entry = TimelineEntry(event, self._clock.elapsed(), self._clock.wall())
        self._entries.append(entry)
        return entry

    def finished(self, entry: TimelineEntry, did: str) -> None:
        entry.did, entry.took_s = did, round(self._clock.elapsed() - entry.at_s, 3)
        self.handled.publish(Handled(entry.event, did, entry.took_s))

    def describe(self) -> list[TimelineEvent]:
        now_s = self._clock.elapsed()
        return [entry.describe(now_s) for entry in self._entries]


def reasons_of(event: MachineEvent) -> list[str]:
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
