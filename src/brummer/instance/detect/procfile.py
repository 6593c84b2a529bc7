"""Procfile: ``name: command``, run by the shell."""

import re
from collections.abc import Iterator

from brummer.instance.detect import Mistake, ProcfileLine, Script
from brummer.instance.detect.project import ProjectDirectory

PREFIX = "procfile"
_ENTRY = re.compile(r"([\w-]+):\s*(\S.*)\Z", re.ASCII)


def detect(text: str, source: str, project: ProjectDirectory) -> Iterator[Script | Mistake]:
    """One script per line; blank lines and those that begin with # are none."""
    position = 0
    for number, written in enumerate(text.splitlines(), 1):
        stripped = written.strip()
        if entry := _ENTRY.match(stripped):
            line = ProcfileLine(position, project.directory)
            position += 1
            yield Script(entry[1], entry[2], source, project.directory, procfile=line)
        elif stripped and not stripped.startswith("#"):
            yield Mistake(source, number, "not of the form NAME: COMMAND")
