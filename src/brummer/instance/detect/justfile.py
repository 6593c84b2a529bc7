"""justfile: its recipes that can be run without arguments. Imported files and modules are left out; just itself would
have to run.
"""

import re
from collections.abc import Iterator

from brummer.instance.detect import Mistake, Script
from brummer.instance.detect.project import ProjectDirectory

PREFIX = "just"
_DEFAULT = r"""(?:'[^'\n]*'|"[^"\n]*"|\([^)\n]*\)|`[^`\n]*`|[^\s:'"(`]+)"""
_RECIPE = re.compile(rf"@?([A-Za-z][\w-]*)(?:[ \t]+(?:[*+$]*\w+={_DEFAULT}|\*\$?\w+))*[ \t]*:(?!=)", re.ASCII)
_PRIVATE = re.compile(r"\[.*\bprivate\b.*\]")


def detect(text: str, source: str, project: ProjectDirectory) -> Iterator[Script | Mistake]:
    """One script per recipe that is not private; a name with ``_`` in front is."""
    private = False
    for line in text.splitlines():
        if line.startswith("["):
            private = private or bool(_PRIVATE.match(line))
            continue
        recipe = _RECIPE.match(line)
        if recipe and not private:
            yield Script(recipe[1], ["just", recipe[1]], source, project.directory)
        private = False
