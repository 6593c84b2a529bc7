"""What can be run here: one small file per kind of project file, each a pure function from its text to
scripts.

A detector is a module with ``PREFIX`` (for a name that an earlier source has taken) and ``detect(text, source,
project)``: the text of the file called ``source``, and the `ProjectDirectory` around it (in
`brummer.instance.detect.project`). It yields `Script` and `Mistake`. A file that can't be used at all raises
`BrokenFile`; one that is not UTF-8 is such a file, unless the module says of its tool that it ``TAKES_ANY_BYTES``.
Which files are whose stands in `brummer.instance.detect.listing`, so that a detector is only imported where there is
such a file.
"""

from collections.abc import Iterator
from typing import Final, Literal

import msgspec

from brummer.core.errors import shown

SCRIPTS_LIMIT = 1_000
PROBLEMS_LIMIT = 20
"""Of one source. An agent reads all that are listed, so more would be no help; it can run the others by name."""

_OTHERS_SHOWN: Final = 5
"""Further lines that one problem names. The reader finds the rest by the same pattern."""

Restart = Literal["no", "on-failure", "always"]


class Ready(msgspec.Struct, frozen=True):
    """What proves that a script is ready: a regular expression in its output, a port that answers, or a URL that does.

    Without any it is ready when it listens, as `brummer.process.readiness` finds out.
    """

    log: str | None = None
    port: int | None = None
    http: str | None = None


class ProcfileLine(msgspec.Struct, frozen=True):
    """The line of a script in a Procfile: its place among the lines, from 0. ``directory`` has the Procfile; a `.env`
    there is read at each start.
    """

    position: int
    directory: str


class Script(msgspec.Struct, frozen=True):
    """Something that can be run: a list of arguments, or a text for the shell, in a directory.

    ``environment`` and the lines of ``env_file`` (an absolute path, read at each start) are added to those given, the
    former wins. ``depends_on`` names scripts that must be ready, or have exited with 0, before this one starts.
    ``procfile``: its line there, which gives it PORT and the variables of a `.env`.
    ``wants_terminal``: it gets a pseudo-terminal instead of pipes. ``max_restarts`` None: no limit but the crash-loop
    rule. ``package``: the folder of the workspace's package to which it belongs; empty for the project's own scripts.
    ``task``: its name in its own file, where ``name`` has a prefix. ``hidden``: it can be run, and is not listed; for
    one that its tool runs by itself.
    """

    name: str
    command: list[str] | str
    source: str
    directory: str
    environment: dict[str, str] = {}
    env_file: str | None = None
    autostart: bool = False
    restart: Restart = "no"
    max_restarts: int | None = None
    stop_signal: str = "SIGTERM"
    stop_timeout_s: float = 5.0
    ready: Ready | None = None
    depends_on: tuple[str, ...] = ()
    wants_terminal: bool = False
    package: str = ""
    task: str = ""
    procfile: ProcfileLine | None = None
    hidden: bool = False

    @property
    def short_name(self) -> str:
        """Without any prefix."""
        return self.task or self.name


class Mistake(msgspec.Struct, frozen=True):
    """Something in a project file that can't be used; ``line`` counts from 1 where it is known."""

    source: str
    line: int | None
    message: str


class UnreadNames:
    """Where a file makes the names of scripts only when its tool runs it: all such places of it are one problem."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._places: dict[int, str] = {}

    def add(self, line: int, text: str) -> None:
        """``text``: what makes them."""
        self._places.setdefault(line, text)

    def problem(self) -> Iterator[Mistake]:
        """It has the first line, and names a few others."""
        if self._places:
            (line, text), *others = sorted(self._places.items())
            numbers = ", ".join(str(other) for other, _ in others[:_OTHERS_SHOWN])
            more = ", …" if len(others) > _OTHERS_SHOWN else ""
            also = f" (also line {numbers}{more})" if others else ""
            yield Mistake(self._source, line, f"{shown(text)} makes names that Brummer does not read{also}")


class BrokenFile(Exception):
    """The whole file is unusable."""

    def __init__(self, line: int | None, message: str) -> None:
        super().__init__(message)
        self.line = line
        self.message = message


def operand(name: str) -> list[str]:
    """A name as an argument, also one that begins with a hyphen, for programs that end their options at ``--``."""
    return ["--", name] if name.startswith("-") else [name]


def line_with(word: str, text: str) -> int | None:
    """The first line that has it, from 1."""
    return next((number for number, line in enumerate(text.split("\n"), 1) if word in line), None)
