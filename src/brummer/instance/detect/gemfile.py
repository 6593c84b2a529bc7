"""Gemfile: what Rails, Rack and RSpec are usually started by."""

import re
from collections.abc import Iterator

from brummer.instance.detect import Mistake, Script
from brummer.instance.detect.decoding import conflict_in
from brummer.instance.detect.project import ProjectDirectory

PREFIX = "ruby"
_RSPEC = re.compile(r"""^[ \t]*gem[ (]+["']rspec""", re.MULTILINE)


def detect(text: str, source: str, project: ProjectDirectory) -> Iterator[Script | Mistake]:
    """``dev`` and ``server`` where Rails has put its starters, else Rack's ``server``; ``test`` or ``spec``."""
    yield from conflict_in(text, source)
    commands: dict[str, list[str]] = {}
    if project.exists("bin/dev"):
        commands["dev"] = ["bin/dev"]
    if project.exists("bin/rails"):
        commands["server"] = ["bin/rails", "server"]
        commands["test"] = ["bin/rails", "test"]
    elif project.exists("config.ru"):
        commands["server"] = ["bundle", "exec", "rackup"]
    if _RSPEC.search(text):
        commands["spec"] = ["bundle", "exec", "rspec"]
    for name, command in commands.items():
        yield Script(name, command, source, project.directory)
