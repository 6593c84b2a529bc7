"""``--on BOX``: run the same command on another machine over SSH, with the streams of this terminal."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from brummer.cli import standard_streams
from brummer.cli.messages import say
from brummer.cli.options import ON
from brummer.settings.servers import Server

_HELP: Final = frozenset({"-h", "--help"})
_PATHS: Final = ("/", "~", "./", "../")
_WRONG: Final = 2
_NOTHING_RUNS: Final = 3
"""As in `brummer.cli.project`."""


def split(argv: Sequence[str]) -> tuple[str, list[str]] | None:
    """The box, and the other arguments; None without a box, and for ``--help``."""
    rest = list(argv)
    for at, word in enumerate(rest):
        if word in _HELP or word == "--":
            return None
        if word == ON and at + 1 < len(rest):
            return None if _HELP & set(rest) else (rest[at + 1], rest[:at] + rest[at + 2 :])
        if word.startswith(f"{ON}="):
            return None if _HELP & set(rest) else (word.partition("=")[2], rest[:at] + rest[at + 1 :])
    return None


def run(command: str, name: str, arguments: Sequence[str]) -> int:
    """Never returns if it can start ssh: that takes the place of this process. Else the exit status."""
    box = _box(name)
    if box is None:
        return _WRONG
    given = _with_directory(command, list(arguments))
    if command != "ls" and not _has_directory(given):
        found = _only_directory(box)
        if isinstance(found, int):
            return found
        given = ["-d", found, *given]
    from brummer.fleet.ssh_command import attended

    has_terminal = sys.stdin.isatty() and sys.stdout.isatty()
    line = attended(box, [command, *given], with_terminal=has_terminal)
    standard_streams.finish()
    try:
        os.execvp(line[0], line)  # noqa: S606 - its streams and its status are those of the command
    except FileNotFoundError:
        say("ssh is not installed here, or not on PATH")
        return 1


def _box(name: str) -> Server | None:
    from brummer.host.settings_files import read_settings

    boxes = {server.name: server for server in read_settings(Path.cwd(), os.environ).servers if server.is_box}
    if name not in boxes:
        known = f"these are: {', '.join(sorted(boxes))}" if boxes else "none is"
        say(f"no machine is called {name}; {known} in [servers] of .brum.toml in your home directory")
    return boxes.get(name)


def _with_directory(command: str, arguments: list[str]) -> list[str]:
    """``up DIR NAME…`` is ``up -d DIR NAME…``: no script is called like a path."""
    if command == "up" and arguments and arguments[0].startswith(_PATHS):
        return ["-d", *arguments]
    return arguments


def _has_directory(arguments: Sequence[str]) -> bool:
    return any(word in ("-d", "--dir") or word.startswith("--dir=") for word in arguments)


def _only_directory(box: Server) -> str | int:
    """Of the only instance there; else the exit status, after a message."""
    from brummer.fleet.ssh_command import attended

    line = attended(box, ["ls", "--json"], with_terminal=False)
    try:
        done = subprocess.run(line, stdout=subprocess.PIPE, check=False)
    except FileNotFoundError:
        say("ssh is not installed here, or not on PATH")
        return 1
    if done.returncode:
        return done.returncode
    directories = sorted({str(each.get("directory")) for each in _instances(done.stdout)})
    if len(directories) == 1:
        return directories[0]
    if not directories:
        say(f"nothing runs on {box.name}; brum up --on {box.name} -d DIR starts it, in a directory there")
        return _NOTHING_RUNS
    say(f"several instances run on {box.name}; choose one with -d: {', '.join(directories)}")
    return _WRONG


def _instances(printed: bytes) -> list[dict[str, Any]]:
    try:
        found = json.loads(printed)["instances"]
        return [each for each in found if isinstance(each, dict)]
    except (ValueError, TypeError, KeyError):
        return []
