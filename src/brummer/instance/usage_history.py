"""The last samples of what each script uses. Pure.

All samples of one moment stand in the same row of every script's column: its time is kept once, in full precision,
and a script without a sample has a gap there. A column is one flat array of 32-bit floats, 11 KiB, because lists of
tuples would take ten times as much.
"""

from array import array
from collections.abc import Iterator, Mapping
from math import isnan, nan
from typing import Final

from brummer.process.usage_sampler import UsageSample

ROWS: Final = 900
"""Half an hour of samples, one each two seconds."""
MIB: Final = 1 << 20
_WIDTH: Final = 3
"""CPU, MiB, processes; the last is NaN in a gap, the others where the system hides them."""

UsageRow = list[float | None]
"""``[seconds since 1970, cpu or None, MiB or None, processes]``."""


class UsageHistory:
    """``add`` samples as they come, read the newest ones of a script with ``newest``."""

    def __init__(self, rows: int = ROWS) -> None:
        self._rows = rows
        self._times = array("d", [0.0]) * rows
        self._columns: dict[str, array[float]] = {}
        self._count = 0

    def add(self, at_s: float, samples: Mapping[str, UsageSample]) -> None:
        """The samples of one moment, by script; a script without a process has none. ``at_s``: seconds since 1970. If
        that is not later than the last time, the clock was set back, and what was kept would lie in the future: it is
        forgotten.
        """
        at_s = round(at_s, 1)
        if self._count and at_s <= self._times[(self._count - 1) % self._rows]:
            self._columns.clear()
            self._count = 0
        row = self._count % self._rows
        self._times[row] = at_s
        self._count += 1
        for name in samples.keys() - self._columns.keys():
            self._columns[name] = array("f", [nan]) * (_WIDTH * self._rows)
        for name, column in self._columns.items():
            column[_WIDTH * row : _WIDTH * (row + 1)] = array("f", _numbers(samples.get(name)))

    def newest(self, name: str, since_s: float = 0.0) -> Iterator[UsageRow]:
        """The samples of a script after ``since_s``, the latest first."""
        column = self._columns.get(name)
        if column is None:
            return
        for n in range(self._count - 1, max(0, self._count - self._rows) - 1, -1):
            row = n % self._rows
            if self._times[row] <= since_s:
                return
            cpu, mib, processes = column[_WIDTH * row : _WIDTH * (row + 1)]
            if not isnan(processes):
                yield [
                    self._times[row],
                    None if isnan(cpu) else round(cpu, 3),
                    None if isnan(mib) else round(mib, 1),
                    int(processes),
                ]


def _numbers(sample: UsageSample | None) -> tuple[float, float, float]:
    if sample is None or not sample.processes:
        return nan, nan, nan
    cpu = nan if sample.cpu is None else sample.cpu
    mib = nan if sample.resident_bytes is None else sample.resident_bytes / MIB
    return cpu, mib, sample.processes
