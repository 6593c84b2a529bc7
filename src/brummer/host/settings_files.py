"""Settings files, read from where they may stand."""

import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Final

import msgspec

from brummer.host.home import home_directory
from brummer.settings.load import SettingsFile, files_for, gather
from brummer.settings.table import NO_FLAGS, Flags, Settings
from brummer.settings.toml_file import SettingsInvalid
from brummer.settings.types import PROJECT, USER

LIMIT_BYTES: Final = 1 << 20


class _ForeignOwner(Exception):
    """The file belongs to none of these: this user, root, the owner of the home or project directory."""


def read_settings(directory: Path, environ: Mapping[str, str], flags: Flags = NO_FLAGS) -> Settings:
    """The settings that hold in this directory, an absolute path. Raises nothing: see `Settings.problems`.

    A file that another user has put above the project, such as into /tmp, is left out with a warning. So is a setting
    that a project's file may not have.
    """
    home = home_directory(environ)
    trusted = {USER: _trusted(home), PROJECT: _trusted(directory)}
    seen: set[tuple[int, int]] = set()
    files, unreadable, foreign = [], [], []
    for path, of in files_for(directory, home).items():
        try:
            text = _text(path, trusted[of], seen)
        except _ForeignOwner:
            foreign.append(SettingsInvalid("it belongs to another user, and is left out", path=str(path)))
        except UnicodeDecodeError as error:
            line = error.object.count(b"\n", 0, error.start) + 1
            unreadable.append(SettingsInvalid("this is not UTF-8", path=str(path), line=line))
        except (OSError, ValueError) as error:
            why = (error.strerror if isinstance(error, OSError) else None) or str(error)
            unreadable.append(SettingsInvalid(f"it can't be read: {why}", path=str(path)))
        else:
            if text is not None:
                files.append(SettingsFile(path, text, of))
    settings = gather(files, environ, flags)
    return msgspec.structs.replace(
        settings, problems=(*unreadable, *settings.problems), warnings=(*foreign, *settings.warnings)
    )


def _trusted(directory: Path | None) -> frozenset[int]:
    """The users whose files are accepted there. In a container another user often owns the project."""
    own = {0, os.geteuid()}
    try:
        return frozenset(own | {directory.stat().st_uid}) if directory else frozenset(own)
    except OSError:
        return frozenset(own)


def _text(path: Path, trusted: Collection[int], seen: set[tuple[int, int]]) -> str | None:
    """None if there is no file, if we may not see it, or if it was ``seen`` before under another name: a home
    directory has a second path if a part of it is a link, and a project may link to the user's own file.

    Raises _ForeignOwner, OSError, and ValueError if it is not text.
    """
    try:
        if not path.is_file():
            return None
    except OSError:
        return None
    with path.open("rb") as file:
        facts = os.fstat(file.fileno())
        if (facts.st_dev, facts.st_ino) in seen:
            return None
        seen.add((facts.st_dev, facts.st_ino))
        if facts.st_uid not in trusted:
            raise _ForeignOwner
        content = file.read(LIMIT_BYTES + 1)
    if len(content) > LIMIT_BYTES:
        raise ValueError(f"it is larger than {LIMIT_BYTES} bytes")
    return content.decode("utf-8-sig")
