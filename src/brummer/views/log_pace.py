"""How fast a view reads a log that is printed faster than anybody can read. Pure: the time is an argument.

A burst, such as the output of a build, is read whole: as many pages at once as a view keeps. In a flood that goes on,
the view reads one page for each picture, the newest lines, and leaves out what is between.
"""

from typing import Final, NamedTuple

PAUSE_S: Final = 0.25
"""After a page with lines: nobody reads more than four pictures a second."""
BURST_PAGES: Final = 20
"""Of 1,000 lines each: what a view keeps."""


class Step(NamedTuple):
    """What to do after a page. ``skips``: go on with the newest lines, not with those that follow."""

    pause_s: float
    skips: bool


class LogPace:
    """The pace of one log."""

    def __init__(self, now_s: float) -> None:
        self._pages = float(BURST_PAGES)
        """How many may be read at once."""
        self._at_s = now_s

    def step(self, now_s: float, *, has_more: bool) -> Step:
        """After a page at this time. ``has_more``: lines after it are there already."""
        self._pages = min(BURST_PAGES, self._pages + (now_s - self._at_s) / PAUSE_S) - 1
        self._at_s = now_s
        reads_on = has_more and self._pages >= 0
        return Step(0.0 if reads_on else PAUSE_S, skips=has_more and not reads_on)
