"""The user's home directory."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path


def home_directory(environ: Mapping[str, str]) -> Path | None:
    """An absolute path. A relative HOME would take a project's files for the user's own, so the system is asked
    instead, as without one. None where it knows of none.
    """
    named = environ.get("HOME", "")
    if Path(named).is_absolute():
        return Path(named)
    if sys.platform == "win32":
        return Path.home()
    import pwd  # noqa: PLC0415 — HOME is nearly always set

    try:
        return Path(pwd.getpwuid(os.geteuid()).pw_dir)
    except KeyError:
        return None
