"""The scripts of a project directory, fresh when its files change.

Each read compares the stat of every file that matters with the last read's (30 µs) and parses anew only on a
difference. A broken file is a `Problem` and hides nothing else. Where two sources have the same name, the
first keeps it and the later ones get a prefix, as in ``make:test``.
"""

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import msgspec

from brummer.core.errors import NotFound, shown
from brummer.instance.detect import (
    BrokenFile,
    Problem,
    Project,
    Script,
    makefile,
    package_json,
    procfile,
    pyproject,
)

DETECTORS: tuple[ModuleType, ...] = (package_json, makefile, procfile, pyproject)
"""In order of precedence: what people of that ecosystem type without a prefix comes first."""
FILE_LIMIT_BYTES = 1024 * 1024
NAMES_SHOWN = 20

_Stamp = tuple[int, int, int] | None


class Listing(msgspec.Struct, frozen=True):
    """What can be run now, by name in order of precedence, and what could not be understood."""

    scripts: dict[str, Script]
    problems: tuple[Problem, ...]


class ScriptList:
    """Of an absolute directory. Reads files: call it in a thread (`asyncio.to_thread`), any number at a time."""

    def __init__(self, directory: str | os.PathLike[str]) -> None:
        self.directory = Path(directory)
        self._last: tuple[list[_Stamp], Listing] | None = None

    def read(self) -> Listing:
        stamps = [_stamp(self.directory / name) for name in _NAMES]
        last = self._last
        if last is None or last[0] != stamps:
            self._last = last = stamps, self._parse()
        return last[1]

    def find(self, name: str) -> Script:
        """Raises NotFound, which names what is there and what was perhaps meant."""
        listing = self.read()
        try:
            return listing.scripts[name]
        except KeyError:
            raise unknown("script", name, list(listing.scripts), listing.problems) from None

    def _parse(self) -> Listing:
        scripts: dict[str, Script] = {}
        problems: list[Problem] = []
        for detector in DETECTORS:
            for found in self._detected(detector):
                if isinstance(found, Problem):
                    problems.append(found)
                else:
                    name = f"{detector.PREFIX}:{found.name}" if found.name in scripts else found.name
                    scripts.setdefault(name, msgspec.structs.replace(found, name=name))
        return Listing(scripts, tuple(problems))

    def _detected(self, detector: ModuleType) -> Iterator[Script | Problem]:
        path = next((path for name in detector.FILES if _stamp(path := self.directory / name)), None)
        if path is None:
            return
        markers = frozenset(name for name in detector.MARKERS if (self.directory / name).exists())
        try:
            yield from detector.detect(_text(path), Project(str(self.directory), markers))
        except BrokenFile as error:
            yield Problem(detector.SOURCE, error.line, error.message)


_NAMES = [name for detector in DETECTORS for name in (*detector.FILES, *detector.MARKERS)]


def _stamp(path: Path) -> _Stamp:
    """Changes whenever the content may have; None for what is no file or directory (a FIFO would block a
    read).
    """
    try:
        status = path.stat()
    except (OSError, ValueError):
        return None
    known = stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)
    return (status.st_mtime_ns, status.st_size, status.st_ino) if known else None


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(FILE_LIMIT_BYTES + 1)
    except OSError as error:
        raise BrokenFile(None, error.strerror or type(error).__name__) from None
    if len(content) > FILE_LIMIT_BYTES:
        raise BrokenFile(None, f"larger than {FILE_LIMIT_BYTES} bytes")
    try:
        return content.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        raise BrokenFile(content.count(b"\n", 0, error.start) + 1, "not UTF-8") from None


def unknown(kind: str, name: str, known: list[str], problems: tuple[Problem, ...] = ()) -> NotFound:
    """The error for a name that is not there. Broken files are named too: they may be why."""
    from difflib import get_close_matches  # noqa: PLC0415 - 5 ms, only for this error

    name = shown(name)
    nearest = next(iter(get_close_matches(name, known, 1)), None)
    there = (
        f"there is {', '.join(known[:NAMES_SHOWN])}{', …' if len(known) > NAMES_SHOWN else ''}"
        if known
        else "there is none"
    )
    meant = f" Did you mean {nearest}?" if nearest else ""
    broken = f" Not read: {', '.join(sorted({problem.source for problem in problems}))}." if problems else ""
    return NotFound(
        f"No {kind} is called {name!r}; {there}.{meant}{broken}",
        name=name,
        known=known,
        nearest=nearest,
        problems=[msgspec.structs.asdict(problem) for problem in problems],
    )
