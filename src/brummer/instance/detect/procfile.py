"""Procfile: ``name: command``, run by the shell."""

import re
from collections.abc import Iterator

from brummer.instance.detect import Problem, Script
from brummer.instance.detect.project import Project

PREFIX = "procfile"
_ENTRY = re.compile(r"([\w-]+):\s*(\S.*)\Z", re.ASCII)


def detect(text: str, source: str, project: Project) -> Iterator[Script | Problem]:
    """One script per line; blank lines and those that begin with # are none."""
    for number, line in enumerate(text.splitlines(), 1):
        stripped = line.strip()
        if entry := _ENTRY.match(stripped):
            yield Script(entry[1], entry[2], source, project.directory)
        elif stripped and not stripped.startswith("#"):
            yield Problem(source, number, "not of the form NAME: COMMAND")
