"""composer.json: its ``scripts``, and the development server of Laravel."""

import re
from collections.abc import Iterator

from brummer.instance.detect import Mistake, Script, operand
from brummer.instance.detect.decoding import as_table, json_table
from brummer.instance.detect.project import ProjectDirectory

PREFIX = "composer"
_EVENT = re.compile(
    r"(pre|post)-((install|update|status|archive)-cmd|package-(install|update|uninstall)|autoload-dump"
    r"|root-package-install|create-project-cmd|operations-exec|file-download|command-run|pool-create)"
)
"""What composer runs by itself, by the events in its documentation."""


def detect(text: str, source: str, project: ProjectDirectory) -> Iterator[Script | Mistake]:
    """One script per entry, without composer's limit of five minutes; what composer runs by itself is hidden."""
    for name in as_table(json_table(text).get("scripts", {}), "scripts", text):
        command = ["composer", "run", "--timeout=0", *operand(name)]
        yield Script(name, command, source, project.directory, hidden=bool(_EVENT.fullmatch(name)))
    if project.exists("artisan"):
        yield Script("serve", ["php", "artisan", "serve"], source, project.directory)
