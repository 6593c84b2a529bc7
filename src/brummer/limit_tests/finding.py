"""What the test of a limit measured, and whether the limit held. Pure."""

from collections.abc import Mapping
from typing import Literal

import msgspec

LimitVerdict = Literal["held", "broken", "skipped"]


class Measured(msgspec.Struct, frozen=True):
    """``tested``: the limit in force. ``reached``: the largest use at once; one below ``edge`` proves nothing.
    Each of the ``excess`` must get ``wanted``; ``got`` counts what they got. ``recovered``: whether everything worked
    as before afterwards.
    """

    tested: float
    reached: float
    edge: float
    excess: int
    wanted: str
    got: Mapping[str, int]
    recovered: bool

    @property
    def complaint(self) -> str:
        """Why the limit did not hold; empty if it did."""
        complaints = []
        if self.reached > self.tested:
            complaints.append(f"{self.reached:g} at once exceed the limit of {self.tested:g}")
        elif self.reached < self.edge:
            complaints.append(f"only {self.reached:g} of {self.tested:g} were reached")
        missed = self.excess - self.got.get(self.wanted, 0)
        if missed:
            complaints.append(f"{missed} of {self.excess} above the limit did not get {self.wanted}")
        if others := sorted(self.got.keys() - {self.wanted}):
            complaints.append(f"some got {', '.join(others)}")
        if not self.recovered:
            complaints.append("not everything worked as before afterwards")
        return "; ".join(complaints)


class LimitFinding(msgspec.Struct, frozen=True):
    """Of the limit that the setting ``key`` sets to ``value``; ``why`` it is broken, or was skipped."""

    key: str
    value: float
    verdict: LimitVerdict
    why: str = ""
    measured: Measured | None = None

    @property
    def was_scaled_down(self) -> bool:
        """Whether a smaller value was tested."""
        return self.measured is not None and self.measured.tested < self.value


def judged(key: str, value: float, measured: Measured) -> LimitFinding:
    """The verdict on what was measured."""
    complaint = measured.complaint
    return LimitFinding(key, value, "broken" if complaint else "held", complaint, measured)


def all_held(findings: list[LimitFinding]) -> bool:
    """A skipped limit counts as held."""
    return all(finding.verdict != "broken" for finding in findings)
