"""Decides whether an agent may have an instance started in a directory.

An instance runs what the files there say. So the directory must be the user's own, and one where a person has worked:
the shell of an agent asks before it runs something, and this does not.

It blocks for disk access: use a thread.
"""

import os
import shlex
import stat
from itertools import takewhile
from pathlib import Path
from typing import Final

from brummer.core.errors import BrummerError
from brummer.hub.finder import Mode

ROOT: Final = 0
"""The user id of the system's administrator, who owns the directories above those of users."""


class NotAllowed(BrummerError):
    """An agent may not have an instance started there; the message names the command for a person."""

    code = "not_allowed"


def check(place: Path, mode: Mode, here: Path, *, has_run: bool) -> None:
    """``place``: a real path. ``here``: where the hub was started. ``has_run``: an instance ran in that directory once.
    Raises NotAllowed.
    """
    why = _refusal(place, mode, here, has_run=has_run)
    if why is not None:
        command = f"brum up -d {shlex.quote(str(place))}"
        raise NotAllowed(
            f"no instance runs in {place}, and an agent may not start one there: {why}. A person can: {command}",
            directory=str(place),
            command=command,
            start_instances=mode,
        )


def _refusal(place: Path, mode: Mode, here: Path, *, has_run: bool) -> str | None:
    home = Path(os.path.realpath(Path.home()))
    if mode == "never":
        return "start_instances is never"
    if not place.is_dir():
        return "it is not a directory"
    if place in {Path("/"), home}:
        return "it is not the directory of a project"
    is_of_the_agent = here not in {Path("/"), home} and place.is_relative_to(here)
    return _unsafe(place) or (None if has_run or is_of_the_agent else _unknown(place, mode, home))


def _unknown(place: Path, mode: Mode, home: Path) -> str | None:
    if mode == "home":
        return None if place.is_relative_to(home) else "it is not below the home directory"
    return (
        "start_instances is known, no instance has run there before, and the agent was not started in it or above it"
        ' (start_instances = "home" in .brum.toml in the home directory allows all directories below that)'
    )


def _unsafe(place: Path) -> str | None:
    """The place, and all above it up to the root of its repository, belong to this user and can't be written by others.
    Those above that belong to the user or to the system, and others can't replace what is in them.
    """
    own = {place, *_up_to_the_repository(place)}
    for directory in (place, *place.parents):
        status = directory.stat()
        is_open = bool(status.st_mode & stat.S_IWOTH)
        if directory in own:
            if status.st_uid != os.geteuid():
                return f"{directory} belongs to another user"
            if is_open:
                return f"other users can write in {directory}"
        elif status.st_uid not in {os.geteuid(), ROOT}:
            return f"it is inside {directory}, which belongs to another user"
        elif is_open and not status.st_mode & stat.S_ISVTX:
            return f"other users can write in {directory}, which is above it"
    return None


def _up_to_the_repository(place: Path) -> list[Path]:
    above = [place, *place.parents]
    inside = list(takewhile(lambda directory: not os.path.lexists(directory / ".git"), above))
    return above[: len(inside) + 1] if len(inside) < len(above) else [place]
