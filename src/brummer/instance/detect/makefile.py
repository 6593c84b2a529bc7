"""Makefile: its explicit targets. Included files and generated rules are left out; make itself would have to
run.
"""

import re
from collections.abc import Iterator

from brummer.instance.detect import Mistake, Script
from brummer.instance.detect.project import ProjectDirectory

PREFIX = "make"
TAKES_ANY_BYTES = True
"""Old ones have their authors' names in Latin-1."""
_RULE = re.compile(r"([^\s:=#][^:=#]*)::?(?!:?=)")
_TARGET = re.compile(r"[A-Za-z0-9_][\w./+-]*\Z", re.ASCII)
_DIRECTIVE = re.compile(
    r"(?:-?include|sinclude|load|vpath|(?:un)?export|undefine|override|(?:else[ ]+)?ifn?(?:eq|def))[ \t(]"
    r"|\$\((?:info|warning|error|eval|call|foreach|if|shell)[ \t]"
)
"""May hold a colon, and is no rule."""
_DEFINE = re.compile(r"(?:override\s+|export\s+)*define\b")


def detect(text: str, source: str, project: ProjectDirectory) -> Iterator[Script | Mistake]:
    """One script per target, in the order of their first rules."""
    for target in dict.fromkeys(_targets(text)):
        yield Script(target, ["make", target], source, project.directory)


def _targets(text: str) -> Iterator[str]:
    """Recipes, definitions, directives, variables, patterns and names that begin with a dot are no targets to run."""
    in_define = False
    for line in text.replace("\\\n", " ").splitlines():
        if in_define or _DEFINE.match(line):
            in_define = not line.startswith("endef")
        elif not _DIRECTIVE.match(line) and (rule := _RULE.match(line)):
            yield from (name for name in rule[1].split() if _TARGET.match(name))
