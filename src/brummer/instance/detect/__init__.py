"""What can be run here: one small file per kind of project file, each a pure function from its text to
scripts.

A detector is a module with ``SOURCE`` (what results are called), ``FILES`` (names, the first that exists is
read), ``PREFIX`` (for a name that an earlier source has taken), ``MARKERS`` (other names whose mere existence
matters) and ``detect(text, project)``, which yields `Script` and `Problem`. A file that can't be read at all
raises `BrokenFile`.
"""

import msgspec


class Script(msgspec.Struct, frozen=True):
    """Something that can be run: a list of arguments, or a text for the shell, in a directory."""

    name: str
    command: list[str] | str
    source: str
    directory: str


class Problem(msgspec.Struct, frozen=True):
    """Something in a project file that can't be used; ``line`` counts from 1 where it is known."""

    source: str
    line: int | None
    message: str


class Project(msgspec.Struct, frozen=True):
    """Where the file lies, and which of the detector's ``MARKERS`` exist beside it."""

    directory: str
    markers: frozenset[str]


class BrokenFile(Exception):
    """The whole file is unusable."""

    def __init__(self, line: int | None, message: str) -> None:
        super().__init__(message)
        self.line = line
        self.message = message
