"""mix.exs: its aliases, the server of Phoenix, and test."""

import re
from collections.abc import Iterator

from brummer.instance.detect import Mistake, Script
from brummer.instance.detect.project import ProjectDirectory

PREFIX = "mix"
_ALIASES = re.compile(r"^[ ]*defp?[ ]+aliases\b", re.MULTILINE)
_END = re.compile(r"^[ ]*end\b", re.MULTILINE)
_ALIAS = re.compile(r"""^[ \[]*(?:"([\w.-]+)"|([a-z_]\w*)):[ ]""", re.MULTILINE)


def detect(text: str, source: str, project: ProjectDirectory) -> Iterator[Script | Mistake]:
    """``server`` with Phoenix, else ``run``; then the aliases and ``test``."""
    commands = {"server": ["mix", "phx.server"]} if "{:phoenix," in text else {"run": ["mix", "run", "--no-halt"]}
    _, *after = _ALIASES.split(text, maxsplit=1)
    aliases = _END.split(after[0], maxsplit=1)[0] if after else ""
    for quoted, plain in _ALIAS.findall(aliases):
        name = quoted or plain
        commands.setdefault(name, ["mix", name])
    commands.setdefault("test", ["mix", "test"])
    for name, command in commands.items():
        yield Script(name, command, source, project.directory)
