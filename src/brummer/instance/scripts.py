"""The scripts of a project directory, fresh when its files change.

Each read compares the stat of everything that mattered to the last one (some 50 names, 0.2 ms) and parses anew only on
a difference. The detectors are imported by the first read: the start of an instance has no time for it.
"""

import os
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from brummer.core.errors import NotFound, shown
from brummer.instance.detect import Mistake, Script

if TYPE_CHECKING:
    from brummer.instance.detect.listing import ScriptListing
    from brummer.instance.detect.project import ProjectDirectory

NAMES_SHOWN = 20
KNOWN_LIMIT = 100
"""Of the names in an error's context; `scripts_list` has pages for more."""


class ScriptList:
    """The scripts of an absolute directory. Reads files: use threads, any number at a time."""

    def __init__(self, directory: str | os.PathLike[str]) -> None:
        self.directory = Path(directory)
        self._last: tuple[ProjectDirectory, ScriptListing] | None = None

    def read(self) -> "ScriptListing":
        last = self._last
        if last is None or not last[0].is_unchanged():
            from brummer.instance.detect.listing import listing_of  # noqa: PLC0415
            from brummer.instance.detect.project import ProjectDirectory  # noqa: PLC0415

            project = ProjectDirectory(self.directory)
            self._last = last = project, listing_of(project)
        return last[1]

    def find(self, name: str) -> Script:
        """Raises NotFound, which names what is there and what was perhaps meant."""
        listing = self.read()
        try:
            return listing.scripts[name]
        except KeyError:
            raise unknown("script", name, list(listing.listed), listing.problems) from None


def _first_of(problems: tuple[Mistake, ...]) -> str:
    first, *others = problems
    place = first.source if first.line is None else f"{first.source}:{first.line}"
    return f"{place}: {first.message}{f' (and {len(others)} more problems)' if others else ''}"


def unknown(kind: str, name: str, known: list[str], problems: tuple[Mistake, ...] = ()) -> NotFound:
    """The error for a name that is not there. A problem in a file is named too: it may be why."""
    from brummer.settings.toml_file import nearest  # noqa: PLC0415 - only for this error

    name = shown(name)
    meant = nearest(name, known)
    there = (
        f"there is {', '.join(known[:NAMES_SHOWN])}{', …' if len(known) > NAMES_SHOWN else ''}"
        if known
        else "there is none"
    )
    hint = f" Did you mean {meant}?" if meant else ""
    broken = f" What may be why: {_first_of(problems)}." if problems else ""
    return NotFound(
        f"No {kind} is called {name!r}; {there}.{hint}{broken}",
        name=name,
        known=known[:KNOWN_LIMIT],
        nearest=meant,
        problems=[msgspec.structs.asdict(problem) for problem in problems],
    )
