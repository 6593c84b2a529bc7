"""The environment that the user's login shell makes. A coding agent's own environment is a poor one for a project: a
desktop application knows no version manager of the user's, and has variables that are meant for itself.
"""

import contextlib
import os
import pwd
import re
import signal
import subprocess
from collections.abc import Mapping
from functools import cache
from typing import Final

WITHIN_S: Final = 2.0
"""A shell that loads a version manager takes half a second; one that waits for an answer takes for ever."""

OUTPUT_BYTES: Final = 8 << 20
"""Linux lets a program have no larger environment."""

MARK: Final = b"\0brummer\0"
"""Stands before and after the variables: the shell's own files may print something."""

_KEPT: Final = re.compile(
    r"HOME|USER|LOGNAME|SHELL|LANG|LC_\w+|TZ|TMPDIR|DISPLAY|WAYLAND_DISPLAY|DBUS_SESSION_BUS_ADDRESS|SSH_AUTH_SOCK"
    r"|XDG_\w+|BRUMMER_\w+"
)
"""What the login session and the user's settings of Brummer have made; all others come from the shell."""

_OF_AGENTS: Final = re.compile(
    r"(?:CLAUDE|CODEX|GEMINI|CURSOR|ANTHROPIC|OPENAI|COPILOT|OPENCODE|WINDSURF|VSCODE|ELECTRON|MCP|NPM|npm)(?:_\w+|CODE\w*)?"
    r"|NODE_OPTIONS|INIT_CWD"
)
"""Variables of coding agents and of the programs that they are made of: keys, options, and marks."""


@cache
def login_environment() -> dict[str, str] | None:
    """The variables of a login shell of this user, asked once; None if it does not answer within `WITHIN_S`. Blocks."""
    try:
        shell = pwd.getpwuid(os.getuid()).pw_shell
    except KeyError:
        return None
    return asked(shell or "/bin/sh", os.environ)


def asked(shell: str, environ: Mapping[str, str]) -> dict[str, str] | None:
    """As `login_environment`, of this shell."""
    kept = {name: value for name, value in environ.items() if _KEPT.fullmatch(name)}
    script = r"printf '\0brummer\0'; env -0; printf '\0brummer\0'"
    try:
        process = subprocess.Popen(
            [shell, "-i", "-l", "-c", script],
            env={"PATH": os.defpath, "TERM": "dumb", **kept},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # an interactive shell must not take our terminal
        )
    except OSError:
        return None
    try:
        output, _ = process.communicate(timeout=WITHIN_S)
    except subprocess.TimeoutExpired:
        return None
    finally:
        _end(process)
    before, *parts = output[:OUTPUT_BYTES].split(MARK)
    return _variables(parts[0]) if len(parts) > 1 and len(before) < OUTPUT_BYTES else None


def without_variables_of_agents(environ: Mapping[str, str]) -> dict[str, str]:
    """What remains of the environment of a program that an agent has started."""
    return {name: value for name, value in environ.items() if not _OF_AGENTS.fullmatch(name)}


def _variables(encoded: bytes) -> dict[str, str] | None:
    pairs = [os.fsdecode(each).partition("=") for each in encoded.split(b"\0") if each]
    found = {name: value for name, equals, value in pairs if equals and name not in {"_", "SHLVL", "TERM", "OLDPWD"}}
    return found if "PATH" in found else None


def _end(process: "subprocess.Popen[bytes]") -> None:
    """All that the shell's files have started in its session ends with it."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    if process.stdout:
        process.stdout.close()
