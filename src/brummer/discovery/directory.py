"""Where the shared directory is. Hub and instances must find the same one, whichever program started them."""

import os
import sys
from collections.abc import Mapping
from pathlib import Path

from brummer.host.directories import DirectoryUnusable

VARIABLE = "BRUMMER_INSTANCES_DIR"


def instances_directory(environ: Mapping[str, str]) -> Path:
    """``$BRUMMER_INSTANCES_DIR``, else under the per-user runtime directory, else under the per-user data directory; on
    macOS one fixed place.

    A client may start the hub without XDG_RUNTIME_DIR, and sudo passes on another user's. So the variable counts only
    if it names a directory of ours, and without it the place where it would point is tried. Nothing is created.
    Raises DirectoryUnusable when the variable is not an absolute path.
    """
    if chosen := environ.get(VARIABLE):
        return _absolute(Path(os.path.expanduser(chosen)))  # noqa: PTH111 - pathlib's raises for an unknown user
    runtime = _runtime_directory(environ)
    return (runtime or _data_directory()) / "instances"


def black_box_directory(environ: Mapping[str, str]) -> Path:
    """Where instances keep what must outlive them: in the per-user state directory, which survives a restart of the
    machine; within ``$BRUMMER_INSTANCES_DIR`` if that is set, so that a set of one's own is all in one place.

    Nothing is created, and discovery scans no directory within its own. Raises as `instances_directory` does.
    """
    if environ.get(VARIABLE):
        return instances_directory(environ) / "black-box"
    return _state_directory(environ) / "black-box"


def http_token_file(environ: Mapping[str, str]) -> Path:
    """The file of the user's HTTP token: one file for all instances directories."""
    return _state_directory(environ) / "http-token"


def view_file(environ: Mapping[str, str]) -> Path:
    """How the user has set the terminal view up: one file for all instances directories."""
    return _state_directory(environ) / "view.json"


def log_directory(environ: Mapping[str, str]) -> Path:
    """The logs of instances in the background; found as the black box is."""
    if environ.get(VARIABLE):
        return instances_directory(environ) / "log"
    return _state_directory(environ) / "instances"


def _absolute(path: Path) -> Path:
    if path.is_absolute():
        return path
    raise DirectoryUnusable(path, "not_a_directory", f"{VARIABLE} must be an absolute path")


def _is_ours(path: Path) -> bool:
    try:
        return path.is_dir() and path.stat().st_uid == os.geteuid()
    except OSError:
        return False


if sys.platform == "darwin":
    from brummer.host.macos.files import support_directory

    def _runtime_directory(environ: Mapping[str, str]) -> Path | None:  # noqa: ARG001
        """Fixed: a terminal and the launcher of an agent have different environments there."""
        return support_directory()

    def _state_directory(environ: Mapping[str, str]) -> Path:  # noqa: ARG001
        return support_directory() / "state"

else:

    def _runtime_directory(environ: Mapping[str, str]) -> Path | None:
        """Without platformdirs, whose import takes 20 ms, and which would fall back to a place in /tmp."""
        places = [Path(environ.get("XDG_RUNTIME_DIR", "")), Path(f"/run/user/{os.geteuid()}")]
        return next((place / "brummer" for place in places if place.is_absolute() and _is_ours(place)), None)

    def _state_directory(environ: Mapping[str, str]) -> Path:
        """As platformdirs has it; see above."""
        chosen = Path(environ.get("XDG_STATE_HOME", ""))
        return (chosen if chosen.is_absolute() else Path.home() / ".local" / "state") / "brummer"


def _data_directory() -> Path:
    from platformdirs import user_data_path  # noqa: PLC0415 - its import takes 20 ms

    return user_data_path("brummer", appauthor=False)
