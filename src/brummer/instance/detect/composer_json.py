"""composer.json: its ``scripts``, and the development server of Laravel."""

from collections.abc import Iterator

from brummer.instance.detect import Mistake, Script
from brummer.instance.detect.decoding import as_table, json_table
from brummer.instance.detect.project import ProjectDirectory

PREFIX = "composer"


def detect(text: str, source: str, project: ProjectDirectory) -> Iterator[Script | Mistake]:
    """One script per entry that composer does not run by itself, without composer's limit of five minutes."""
    for name in as_table(json_table(text).get("scripts", {}), "scripts"):
        if not name.startswith(("pre-", "post-")):
            yield Script(name, ["composer", "run", "--timeout=0", name], source, project.directory)
    if project.exists("artisan"):
        yield Script("serve", ["php", "artisan", "serve"], source, project.directory)
