"""Which other programs the view opens, and how they are called: an editor at a line, a pager, a browser. Pure."""

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Final

_GOTO: Final = frozenset({"code", "code-insiders", "codium", "cursor", "windsurf"})
_COLON: Final = frozenset({"hx", "helix", "subl", "zed", "zeditor"})


def editor(environ: Mapping[str, str], file: Path, line: int | None) -> list[str]:
    """The command that opens the file at this line in $VISUAL or $EDITOR."""
    command = _words(environ.get("VISUAL")) or _words(environ.get("EDITOR")) or ["vi"]
    if line is None:
        return [*command, str(file)]
    name = Path(command[0]).name
    if name in _GOTO:
        return [*command, "--goto", f"{file}:{line}"]
    if name in _COLON:
        return [*command, f"{file}:{line}"]
    return [*command, f"+{line}", str(file)]


def pager(environ: Mapping[str, str], file: Path) -> list[str]:
    """The command that shows the file in $PAGER, from its end where that is possible."""
    command = _words(environ.get("PAGER")) or ["less", "+G"]
    return [*command, str(file)]


def has_browser(environ: Mapping[str, str], platform: str) -> bool:
    """Whether a browser opens in a window of its own: one within this terminal would fight with the view."""
    return platform == "darwin" or any(environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY", "WSL_DISTRO_NAME"))


def place_of(where: str) -> tuple[str, int | None]:
    """File and line of ``FILE:LINE``."""
    file, colon, line = where.rpartition(":")
    return (file, int(line)) if colon and line.isdecimal() else (where, None)


def _words(command: str | None) -> list[str]:
    try:
        return shlex.split(command or "")
    except ValueError:  # an open quotation mark
        return []
