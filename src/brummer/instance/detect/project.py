"""A project's files as detectors see them. What was looked at is remembered, so that a change of any of it is noticed.

Everything is bounded: a file has 1 MiB, and of a tree only so many directories are listed. Symbolic links are followed
where a path names them, never while searching, and no file is read through one that leads out of the repository.
"""

import os
import re
import stat
from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase
from pathlib import Path

from brummer.instance.detect import PROBLEMS_LIMIT, BrokenFile, Mistake, line_with

FILE_LIMIT_BYTES = 1024 * 1024
LISTED_LIMIT = 5_000
"""Directories listed for one pattern, 150 ms of work where the system has them in memory."""
ALL_LISTED_LIMIT = 20_000
"""The same for all patterns of one reading. Each of them is looked at again with each call: 3 ms for a thousand."""
ENTRIES_LIMIT = 10_000
"""Of one directory."""
DEPTH_LIMIT = 32
"""How far down ``**`` reaches; trees that people make are flatter."""
PARTS_LIMIT = 2 * DEPTH_LIMIT
"""Of one pattern, which may have a ``**`` before each directory."""
COMPARED_LIMIT = 1_000_000
"""Names compared with patterns in one reading: about a second of work."""
IGNORED = "node_modules"
"""Other people's packages, which no tool takes for those of the workspace."""
_WILD = frozenset("*?[")

_Stamp = tuple[int, int, int] | None


class ProjectDirectory:
    """Of an absolute directory. Names are relative to it, with forward slashes. Blocks; use it in a thread."""

    def __init__(self, directory: Path) -> None:
        self.directory = str(directory)
        self._seen: dict[str, _Stamp] = {}
        self._lists: dict[str, list[tuple[str, bool]]] = {}
        self._compared = 0
        self._lines_asked: dict[str, int] = {}

    def is_unchanged(self) -> bool:
        """All paths that were checked are as they were: a microsecond for each."""
        return _stamps(self._seen) == list(self._seen.values())

    def path(self, name: str) -> str:
        """Absolute, whatever the name: that of the project itself for ``.``."""
        return os.path.normpath(os.path.join(self.directory, name))  # noqa: PTH118 - pathlib takes five times as long

    def exists(self, name: str) -> bool:
        """As a file or a directory; a FIFO would block its reader, so it is ignored."""
        path = self.path(name)
        if path not in self._seen:
            [self._seen[path]] = _stamps([path])
        return self._seen[path] is not None

    def first(self, names: tuple[str, ...]) -> str | None:
        """The first of these that exists; a name may hold ``*``, and then it is the first in order of the alphabet."""
        for name in names:
            try:
                found = next(self.matching(name), None) if _WILD & {*name} else name
            except BrokenFile:  # thousands of files are no fault of a project that may be of another kind
                continue
            if found and self.exists(found):
                return found
        return None

    def has_program(self, name: str) -> bool:
        """Whether a shell would find it."""
        return any(self.exists(os.path.join(folder, name)) for folder in os.get_exec_path() if folder)  # noqa: PTH118 - as above

    def above(self) -> Iterator[str]:
        """The directories above it, as ``..`` and so on, up to the root of its repository, if it has one."""
        folder = "."
        for _ in Path(self.directory).parents:
            if self.exists(f"{folder}/.git"):
                return
            folder = ".." if folder == "." else f"../{folder}"
            yield folder

    def holds(self, name: str) -> bool:
        """Whether the name stays in the project, or in the repository around it."""
        path = os.path.normpath(name)
        if not path.startswith(".."):
            return not path.startswith("/")
        above, _, _ = path.rpartition("../")
        folders = list(self.above())
        return f"{above}.." in folders and self.exists(f"{folders[-1]}/.git")

    def included(self, name: str) -> str:
        """As `text`, of a file that another one includes. No other file of the user is read: a problem could show it.

        Raises `BrokenFile`.
        """
        if not self.holds(name):
            raise BrokenFile(None, "it is included, but lies outside of the repository, and is not read")
        return self.text(name)

    def text(self, name: str, *, lenient: bool = False) -> str:
        """UTF-8, without byte order mark, lines ended by line feeds. Raises `BrokenFile`.

        ``lenient``: what is not UTF-8 is U+FFFD, for a tool that takes bytes as they come.
        """
        if not self.exists(name):
            raise BrokenFile(None, "there is no such file")
        try:
            self._stay(name)
            with Path(self.path(name)).open("rb") as file:
                content = file.read(FILE_LIMIT_BYTES + 1)
        except OSError as error:
            raise BrokenFile(None, error.strerror or type(error).__name__) from None
        if len(content) > FILE_LIMIT_BYTES:
            raise BrokenFile(None, f"larger than {FILE_LIMIT_BYTES} bytes")
        try:
            return content.decode("utf-8-sig", "replace" if lenient else "strict").replace("\r\n", "\n")
        except UnicodeDecodeError as error:
            raise BrokenFile(content.count(b"\n", 0, error.start) + 1, "not UTF-8") from None

    def matching(self, pattern: str) -> Iterator[str]:
        """What may exist by a pattern as in ``packages/*`` and ``apps/**``, in order of the alphabet.

        A part without ``*``, ``?`` and ``[`` is taken at its word. `IGNORED` matches no star, and
        a hidden thing only one after a dot. Raises
        `BrokenFile` where there is too much to look through, or the pattern leads out of the project.
        """
        parts = _parts(pattern)
        if pattern.startswith("/") or ".." in parts:
            raise BrokenFile(None, "it leads out of the project")
        if len(parts) > PARTS_LIMIT:
            raise BrokenFile(None, f"it has more than {PARTS_LIMIT} parts")
        return self._matching("", parts, 0, min(len(self._lists) + LISTED_LIMIT, ALL_LISTED_LIMIT), set())

    def all_matching(self, patterns: Iterable[str], source: str) -> Iterator[str | Mistake]:
        """As `matching`; a pattern that can't be followed is a problem of ``source``, and hides no other."""
        for pattern in patterns:
            try:
                yield from self.matching(pattern)
            except BrokenFile as error:
                yield Mistake(source, self.line_with(pattern, source), f"{pattern}: {error.message}")

    def line_with(self, word: str, source: str) -> int | None:
        """The first line of this file that has it, from 1; None for all but the first problems, which are shown."""
        asked = self._lines_asked[source] = self._lines_asked.get(source, 0) + 1
        return line_with(word, self.text(source)) if asked <= PROBLEMS_LIMIT else None

    def _stay(self, name: str) -> None:
        """Raises `BrokenFile` if links lead out of the repository, which is the directory itself if there is none.

        A directory above it that the name itself reaches is allowed: a detector has looked there for a workspace.
        """
        real = os.path.realpath(self.path(name))
        if _is_in(real, os.path.realpath(self.directory)):
            return
        ways_up = re.match(r"(?:\.\./)*", os.path.normpath(name))
        bases = [self.path(ways_up[0])] if ways_up else []
        folders = [".", *self.above()]
        if self.exists(f"{folders[-1]}/.git"):
            bases.append(self.path(folders[-1]))
        physical = Path(os.path.realpath(self.directory))  # where a link to the directory is not in its repository
        bases += [str(next((each for each in (physical, *physical.parents) if self.exists(f"{each}/.git")), physical))]
        if not any(_is_in(real, os.path.realpath(base)) for base in bases):
            raise BrokenFile(None, "it leads out of the repository, and is not read")

    def _matching(
        self, base: str, parts: list[str], depth: int, most: int, done: set[tuple[str, int]]
    ) -> Iterator[str]:
        """``most``: lists that there may be before it is too much to look through. ``done``: the bases that were
        searched, each with how many parts were left: several ``**`` reach one in very many ways.
        """
        if (base, len(parts)) in done:
            return
        done.add((base, len(parts)))
        if not parts:
            yield base
            return
        first, *rest = parts
        if first == "**":
            yield from self._matching(base, rest, depth, most, done)
            if depth == DEPTH_LIMIT:
                raise BrokenFile(None, f"{base} is more than {DEPTH_LIMIT} directories deep")
            for name, is_directory in self._entries(base, most):
                if is_directory and not name.startswith("."):
                    yield from self._matching(_joined(base, name), parts, depth + 1, most, done)
        elif _WILD & {*first}:
            for name, _ in self._entries(base, most):
                if fnmatchcase(name, first) and (first[0] == "." or name[0] != "."):
                    yield from self._matching(_joined(base, name), rest, depth, most, done)
        else:
            yield from self._matching(_joined(base, first), rest, depth, most, done)

    def _entries(self, directory: str, most: int) -> list[tuple[str, bool]]:
        """Names, and whether each is a directory, a link to one being none."""
        if directory not in self._lists:
            if len(self._lists) >= most:
                raise BrokenFile(None, f"more than {LISTED_LIMIT} directories to look through")
            self._lists[directory] = sorted(self._listed(directory)) if self.exists(directory) else []
        self._compared += len(self._lists[directory])
        if self._compared > COMPARED_LIMIT:
            raise BrokenFile(None, f"more than {COMPARED_LIMIT} names to compare with the patterns")
        return self._lists[directory]

    def _listed(self, directory: str) -> Iterator[tuple[str, bool]]:
        try:
            with os.scandir(self.path(directory)) as entries:
                for number, entry in enumerate(entries):
                    if number == ENTRIES_LIMIT:
                        raise BrokenFile(None, f"more than {ENTRIES_LIMIT} entries in {directory or '.'}")
                    if entry.name != IGNORED:
                        yield entry.name, entry.is_dir(follow_symlinks=False)
        except OSError:  # a file, or not for us to read: nothing to run in it
            return


def is_named_by(pattern: str, path: str) -> bool:
    """Whether the path is one that `ProjectDirectory.matching` would find by this pattern; no file is looked at."""
    names = path.split("/")
    fits = [False] * len(names) + [True]  # whether the parts of the pattern so far name all from this one on
    for part in reversed(_parts(pattern)):
        if part == "**":
            fits = [any(fits[number:]) for number in range(len(fits))]
        else:
            fits = [fits[number] and fnmatchcase(name, part) for number, name in enumerate(names, 1)] + [False]
    return fits[0]


def _parts(pattern: str) -> list[str]:
    return [part for part in pattern.split("/") if part not in ("", ".")]


def _is_in(path: str, folder: str) -> bool:
    return path == folder or path.startswith(f"{folder.rstrip('/')}/")


def _joined(base: str, name: str) -> str:
    return f"{base}/{name}" if base else name


def _stamps(paths: Iterable[str]) -> list[_Stamp]:
    """For each path what changes whenever its content may have; None for what is no file or directory."""
    stamps: list[_Stamp] = []
    for path in paths:
        try:
            status = os.stat(path)  # noqa: PTH116 - as above
        except (OSError, ValueError):
            stamps.append(None)
            continue
        known = stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)
        stamps.append((status.st_mtime_ns, status.st_size, status.st_ino) if known else None)
    return stamps
