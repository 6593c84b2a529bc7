"""Which directory is the project, seen from one in it. Completion needs this at once, so its imports are few."""

import os
from collections.abc import Iterator
from pathlib import Path

from brummer.core.errors import BrummerError


class NothingToRun(BrummerError):
    """No project file here defines a script."""

    code = "nothing_to_run"


def up_to_the_repository(place: Path) -> Iterator[Path]:
    """The directory and those above it, up to the root of its repository if it has one."""
    for directory in (place, *place.parents):
        yield directory
        if os.path.lexists(directory / ".git"):
            break


def project_directory(place: Path) -> Path:
    """The closest directory with scripts, from here up to the repository's root. Raises NothingToRun.

    A file with errors counts: its errors are then reported. A `.brum.toml` with settings only does not. Directories
    of other users, such as /tmp, are not searched.
    """
    from brummer.instance.scripts import ScriptList

    owner = place.stat().st_uid
    for directory in up_to_the_repository(place):
        if directory.stat().st_uid != owner:
            break
        listing = ScriptList(directory).read()
        if listing.scripts or listing.problems:
            return directory
        if directory == Path.home():
            break
    raise NothingToRun(f"no scripts were found in {place}: no package.json, Makefile, Procfile or the like")
