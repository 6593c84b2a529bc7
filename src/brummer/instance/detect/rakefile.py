"""Rakefile: the tasks written in it, also in namespaces. What it loads or generates is left out."""

import re
from collections.abc import Iterator

from brummer.instance.detect import Mistake, Script
from brummer.instance.detect.project import ProjectDirectory

PREFIX = "rake"
_LINE = re.compile(r"""([ \t]*)(task|multitask|namespace|Rake::TestTask\.new)[ \t(]+[:"']?([A-Za-z_][\w:-]*)""")


def detect(text: str, source: str, project: ProjectDirectory) -> Iterator[Script | Mistake]:
    """One script per task; which namespace it is in shows by its indentation."""
    rake = ["bundle", "exec", "rake"] if project.exists("Gemfile") else ["rake"]
    spaces: list[tuple[int, str]] = []
    names: dict[str, None] = {}
    for line in text.splitlines():
        if found := _LINE.match(line):
            depth = len(found[1].expandtabs())
            spaces = [space for space in spaces if space[0] < depth]
            name = ":".join([*(space for _, space in spaces), found[3].rstrip(":")])
            if found[2] == "namespace":
                spaces.append((depth, found[3]))
            else:
                names[name] = None
    for name in names:
        yield Script(name, [*rake, name], source, project.directory)
