"""The packages of a workspace: their folders, and their scripts, which are called ``package:script``."""

from collections.abc import Callable, Iterable, Iterator

from msgspec.structs import replace

from brummer.instance.detect import BrokenFile, Mistake, Script
from brummer.instance.detect.decoding import Table
from brummer.instance.detect.project import ProjectDirectory, is_named_by

Scripts = Iterator[Script | Mistake]

PATTERNS_LIMIT = 1_000
EXCLUDED_LIMIT = 100
"""Patterns of one workspace; people write dozens. Each folder is compared with all of the latter."""
EXCLUSIONS_LIMIT = 500_000
"""Folders times patterns that may exclude them: some seconds of work."""


def folders_of(
    patterns: Iterable[str], excluded: Iterable[str], source: str, project: ProjectDirectory
) -> Iterator[str | Mistake]:
    """Each once, in the order of the patterns, without those that the ``excluded`` patterns name."""
    within, without, seen = list(patterns), list(excluded), {""}
    if len(within) > PATTERNS_LIMIT or len(without) > EXCLUDED_LIMIT:
        more = f"more than {PATTERNS_LIMIT} patterns, or {EXCLUDED_LIMIT} that exclude"
        yield Mistake(source, None, f"{more}: the packages of the workspace are not listed")
        return
    compared = 0
    for found in project.all_matching(within, source):
        compared += len(without)
        if compared > EXCLUSIONS_LIMIT:
            yield Mistake(source, None, "its patterns name too many folders: not all of its packages are listed")
            return
        if isinstance(found, Mistake):
            yield found
        elif found not in seen and not any(is_named_by(pattern, found) for pattern in without):
            seen.add(found)
            yield found


def scripts_of_packages(
    folders: Iterable[str | Mistake],
    file: str,
    project: ProjectDirectory,
    read: Callable[[str], tuple[Table, object]],
    scripts_of: Callable[[Table, str, str], Scripts],
) -> Scripts:
    """The scripts of each folder that has this file. ``read`` gives the content and the package's name of a text,
    ``scripts_of`` the scripts of a content, a source and an absolute directory.
    """
    labels: set[str] = set()
    for folder in folders:
        if isinstance(folder, Mistake):
            yield folder
            continue
        place = f"{folder}/{file}"
        if not project.exists(place):
            continue
        try:
            content, name = read(project.text(place))
            label = _label(name, folder, labels)
            for found in scripts_of(content, place, project.path(folder)):
                yield found if isinstance(found, Mistake) else _labelled(found, label, folder)
        except BrokenFile as error:
            yield Mistake(place, error.line, error.message)


def _labelled(found: Script, label: str, folder: str) -> Script:
    return replace(found, name=f"{label}:{found.name}", package=folder, task=found.name)


def _label(name: object, folder: str, labels: set[str]) -> str:
    """The package's name without its scope; its folder where it has none, or another has the same."""
    label = name.rpartition("/")[2] if isinstance(name, str) else ""
    if not label or label in labels:
        label = folder
    labels.add(label)
    return label
