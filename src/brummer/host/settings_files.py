"""Settings files, read from where they may stand."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec

from brummer.core.gathering import files_for, gather
from brummer.core.settings import NO_FLAGS, Flags, Settings
from brummer.core.toml_file import SettingsInvalid

LIMIT_BYTES: Final = 1 << 20


def read_settings(directory: Path, environ: Mapping[str, str], flags: Flags = NO_FLAGS) -> Settings:
    """Those that hold in this directory, an absolute path. Raises nothing: see `Settings.problems`."""
    home = Path(environ.get("HOME") or Path.home())
    files, unreadable = [], []
    for path in files_for(directory, home):
        try:
            text = _text(path)
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
    return msgspec.structs.replace(settings, problems=(*unreadable, *settings.problems)) if unreadable else settings


def _text(path: Path) -> str | None:
    """None where there is no file, or none that we may see. Raises OSError, and ValueError for what is no text."""
    try:
        if not path.is_file():
            return None
    except OSError:
        return None
    with path.open("rb") as file:
        content = file.read(LIMIT_BYTES + 1)
    if len(content) > LIMIT_BYTES:
        raise ValueError(f"it is larger than {LIMIT_BYTES} bytes")
    return content.decode("utf-8-sig")
