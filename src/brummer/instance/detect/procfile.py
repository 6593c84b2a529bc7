"""Procfile: ``name: command``, run by the shell."""

import re
from collections.abc import Iterator

from brummer.instance.detect import Mistake, ProcfileLine, Script
from brummer.instance.detect.project import ProjectDirectory

PREFIX = "procfile"
_ENTRY = re.compile(r"([\w-]+):\s*(\S.*)\Z", re.ASCII)


def detect(text: str, source: str, project: ProjectDirectory) -> Iterator[Script | Mistake]:
    """One script per line; blank lines and those that begin with # are none."""
    names: set[str] = set()
    for number, written in enumerate(text.split("\n"), 1):
        if not (entry := _ENTRY.match(written.rstrip())):
            if written.strip() and not written.lstrip().startswith("#"):
                yield Mistake(source, number, "not of the form NAME: COMMAND")
        elif entry[1] in names:
            yield Mistake(source, number, f"a second line is called {entry[1]}")
        else:
            line = ProcfileLine(len(names), project.directory)
            names.add(entry[1])
            yield Script(entry[1], entry[2], source, project.directory, procfile=line)
