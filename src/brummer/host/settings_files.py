"""Settings files, read from where they may stand."""

import os
import sys
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Final

import msgspec

from brummer.core.gathering import files_for, gather
from brummer.core.settings import NO_FLAGS, Flags, Settings
from brummer.core.toml_file import SettingsInvalid

LIMIT_BYTES: Final = 1 << 20


class _OfSomebodyElse(Exception):
    """The file is neither ours, nor root's, nor of whoever owns the project."""


def read_settings(directory: Path, environ: Mapping[str, str], flags: Flags = NO_FLAGS) -> Settings:
    """Those that hold in this directory, an absolute path. Raises nothing: see `Settings.problems`.

    A file that somebody else has put above the project, as into /tmp, is left out with a warning: it could name servers
    that an agent would trust.
    """
    home = Path(environ.get("HOME") or Path.home())
    trusted = _trusted(directory)
    files, unreadable, foreign = [], [], []
    for path in files_for(directory, home):
        try:
            text = _text(path, trusted)
        except _OfSomebodyElse:
            foreign.append(SettingsInvalid("it belongs to another user, and is left out", path=str(path)))
        except UnicodeDecodeError as error:
            line = error.object.count(b"\n", 0, error.start) + 1
            unreadable.append(SettingsInvalid("this is not UTF-8", path=str(path), line=line))
        except (OSError, ValueError) as error:
            why = (error.strerror if isinstance(error, OSError) else None) or str(error)
            unreadable.append(SettingsInvalid(f"it can't be read: {why}", path=str(path)))
        else:
            if text is not None:
                files.append((path, text))
    settings = gather(files, environ, flags)
    return msgspec.structs.replace(
        settings, problems=(*unreadable, *settings.problems), warnings=(*foreign, *settings.warnings)
    )


def _trusted(directory: Path) -> frozenset[int]:
    """Users whose files count. In a container the project is often another's than who runs there."""
    own = {0} if sys.platform == "win32" else {0, os.geteuid()}
    try:
        return frozenset(own | {directory.stat().st_uid})
    except OSError:
        return frozenset(own)


def _text(path: Path, trusted: Collection[int]) -> str | None:
    """None where there is no file, or none that we may see. Raises _OfSomebodyElse, OSError, and ValueError for what is
    no text.
    """
    try:
        if not path.is_file():
            return None
    except OSError:
        return None
    with path.open("rb") as file:
        if os.fstat(file.fileno()).st_uid not in trusted:
            raise _OfSomebodyElse
        content = file.read(LIMIT_BYTES + 1)
    if len(content) > LIMIT_BYTES:
        raise ValueError(f"it is larger than {LIMIT_BYTES} bytes")
    return content.decode("utf-8-sig")
