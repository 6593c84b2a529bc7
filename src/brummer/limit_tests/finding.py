"""What it came to when a limit was driven past its edge, and whether it held. Pure."""

from collections.abc import Mapping
from typing import Literal

import msgspec

Verdict = Literal["held", "broken", "skipped"]


class Measured(msgspec.Struct, frozen=True):
    """``tested``: the value that was in force. ``reached``: the most that there was at once; less than ``edge`` shows
    nothing. Each of the ``excess`` beyond must get ``wanted``; ``got`` counts by what they got. ``recovered``: whether
    all went on as before when it was over.
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
        """Why it did not hold; empty if it did."""
        complaints = []
        if self.reached > self.tested:
            complaints.append(f"there were {self.reached:g} at once, of {self.tested:g} that may be")
        elif self.reached < self.edge:
            complaints.append(f"only {self.reached:g} of {self.tested:g} were let in")
        missed = self.excess - self.got.get(self.wanted, 0)
        if missed:
            complaints.append(f"{missed} of {self.excess} beyond it did not get {self.wanted}")
        if others := sorted(self.got.keys() - {self.wanted}):
            complaints.append(f"some got {', '.join(others)}")
        if not self.recovered:
            complaints.append("not all went on as before when it was over")
        return "; ".join(complaints)


class Finding(msgspec.Struct, frozen=True):
    """Of the limit that the setting ``key`` sets to ``value``; ``why`` it is broken, or was skipped."""

    key: str
    value: float
    verdict: Verdict
    why: str = ""
    measured: Measured | None = None

    @property
    def was_scaled_down(self) -> bool:
        """Whether a smaller value was tested."""
        return self.measured is not None and self.measured.tested < self.value


def judged(key: str, value: float, measured: Measured) -> Finding:
    """By what was measured."""
    complaint = measured.complaint
    return Finding(key, value, "broken" if complaint else "held", complaint, measured)


def all_held(findings: list[Finding]) -> bool:
    """What was skipped is told, and is no fault."""
    return all(finding.verdict != "broken" for finding in findings)
