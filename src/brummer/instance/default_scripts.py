"""What `brum up` starts if no script is named: one ordered table of rules, of which the first that finds something
decides. Pure: a rule sees the scripts of the project and the place where the user stands, nothing else.
"""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path, PurePosixPath
from typing import Final, NamedTuple

from brummer.instance.detect import Script
from brummer.instance.detect.listing import DETECTORS
from brummer.settings.table import FILE_NAME

DAILY: Final = ("dev", "start")
"""Usual names of the script for daily work, the more common one first."""


class View(NamedTuple):
    """What a rule sees. ``scripts``: all, in order of precedence. ``package``: the folder of the workspace's package in
    which the user stands; empty in the rest of the project.
    """

    scripts: Sequence[Script]
    package: str

    @property
    def here(self) -> list[Script]:
        """The scripts of that package, or the project's own."""
        return [script for script in self.scripts if script.package == self.package]


class Rule(NamedTuple):
    """``find`` returns what it starts; nothing if it does not apply. ``why``: for people, {sources} being the files."""

    find: Callable[[View], Sequence[Script]]
    why: str


class Choice(NamedTuple):
    """The names of the scripts, and why these: "from Procfile"."""

    names: tuple[str, ...]
    why: str


def choice_of(scripts: Iterable[Script], directory: Path, place: Path) -> Choice | None:
    """What the first rule that applies starts, for a user in ``place`` of the project ``directory``; None if no rule
    applies.
    """
    view = View(listed := tuple(scripts), package_at(listed, directory, place))
    for rule in RULES:
        if found := rule.find(view):
            names = dict.fromkeys(script.name for script in found)
            sources = dict.fromkeys(script.source for script in found)
            return Choice(tuple(names), rule.why.format(sources=" and ".join(sources)))
    return None


def package_at(scripts: Iterable[Script], directory: Path, place: Path) -> str:
    """The innermost package of the workspace that contains the place; empty if there is none."""
    if not place.is_relative_to(directory):
        return ""
    folder = PurePosixPath(place.relative_to(directory))
    packages = {script.package for script in scripts if folder.is_relative_to(script.package)}
    return max(packages, key=len, default="")


def _with_autostart(view: View) -> list[Script]:
    return [script for script in view.scripts if script.autostart]


def _procfile(view: View) -> list[Script]:
    """Every line. A script of the same name in the user's own file takes the place of the line."""
    own = {script.name: script for script in view.scripts if script.source == FILE_NAME}
    return [own.get(script.short_name, script) for script in view.here if script.source in DETECTORS["procfile"]]


def _daily(view: View) -> list[Script]:
    """`dev`, or else `start`."""
    return next(filter(None, ([each for each in view.here if each.short_name == name][:1] for name in DAILY)), [])


def _only(scripts: list[Script]) -> list[Script]:
    return scripts if len(scripts) == 1 else []


def _django(view: View) -> list[Script]:
    return [each for each in view.here if each.source in DETECTORS["django"] and each.short_name == "runserver"]


def _fastapi(view: View) -> list[Script]:
    return [each for each in view.here if each.source in DETECTORS["fastapi"] and each.short_name == "fastapi"]


def _only_program(view: View) -> list[Script]:
    """Of Go, or else of Cargo, if there is exactly one."""
    return _only(_running(view, "go.mod", "go", "run")) or _only(_running(view, "Cargo.toml", "cargo", "run"))


def _compose(view: View) -> list[Script]:
    """`up`, or the only service."""
    found = [each for source in DETECTORS["compose"] for each in _running(view, source, "docker", "compose", "up")]
    return [each for each in found if each.short_name == "up" and len(found) > 1] or _only(found)


def _running(view: View, source: str, *words: str) -> list[Script]:
    """The scripts of this file whose command begins so."""
    beginning = list(words)
    return [each for each in view.here if each.source == source and each.command[: len(beginning)] == beginning]


def _of_packages(view: View) -> list[Script]:
    """`dev` of every package, for a user who stands in none of them."""
    return [each for each in view.scripts if each.package and each.short_name == DAILY[0] and not view.package]


RULES: Final = (
    Rule(_with_autostart, "with autostart"),
    Rule(_procfile, "from {sources}"),
    Rule(_daily, "from {sources}"),
    Rule(_django, "from {sources}"),
    Rule(_fastapi, "from {sources}"),
    Rule(_only_program, "from {sources}"),
    Rule(_compose, "from {sources}"),
    Rule(_of_packages, "of the packages of this workspace"),
)
