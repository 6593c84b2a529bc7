"""The user's home directory."""

import os
from collections.abc import Mapping
from pathlib import Path


def home_directory(environ: Mapping[str, str]) -> Path | None:
    """An absolute path, or None if the system knows none. With a relative HOME a project's files would count as the
    user's own, so a relative HOME is ignored, like a missing one, and the user database decides.
    """
    named = environ.get("HOME", "")
    if Path(named).is_absolute():
        return Path(named)
    import pwd  # noqa: PLC0415 — HOME is nearly always set

    try:
        return Path(pwd.getpwuid(os.geteuid()).pw_dir)
    except KeyError:
        return None
