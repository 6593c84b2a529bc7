"""The protocol stream of a hub on stdio: standard output for the hub alone, and the early answer on it."""

import os
import signal
import sys
from typing import Final, NamedTuple

from brummer.hub.server_info import INSTRUCTIONS, SERVER_INFO
from brummer.wire.mcp import early_answer, eras
from brummer.wire.mcp.early_answer import EarlyAnswer

STDIN: Final = 0

RESOURCES: Final = "resources"
SETTINGS_LIMIT_BYTES: Final = 1 << 20
"""As much as `brummer.host.settings_files` reads of a settings file."""


class ProtocolStream(NamedTuple):
    """Descriptors of the protocol stream, and the state that the early answer has left."""

    stdin: int
    stdout: int
    early_answer: EarlyAnswer


_taken: list[ProtocolStream] = []


def take(*, answer_early: bool = False) -> ProtocolStream:
    """Take the stream, once: then descriptor 1 points to stderr, so that no stray print can reach the stream.

    It also ignores SIGINT, which goes to the whole process group of a terminal: Esc in an agent must not end its hub. A
    hub with a terminal as stdin was started by a person, who can end it with Ctrl-C.
    """
    if not _taken:
        # An ignored SIGTERM survives an exec, and a signal that arrives while the modules load would be lost.
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        if not os.isatty(STDIN):
            signal.signal(signal.SIGINT, signal.SIG_IGN)
        sys.stdout.flush()
        stdout = os.dup(1)
        os.dup2(2, 1)
        _taken.append(ProtocolStream(STDIN, stdout, _early_answer(stdout) if answer_early else EarlyAnswer()))
    return _taken[0]


def _early_answer(stdout: int) -> EarlyAnswer:
    """None if the settings may change what it says: they are read later."""
    if _may_be_set(RESOURCES):
        return EarlyAnswer()
    return early_answer.answer_early(STDIN, stdout, SERVER_INFO, INSTRUCTIONS, eras.WITH_RESOURCES)


def _may_be_set(setting: str) -> bool:
    """Whether the variable of a setting exists, or its name is somewhere in the only file that may set it."""
    if f"BRUMMER_{setting.upper()}" in os.environ:
        return True
    try:
        with open(os.path.join(os.environ["HOME"], ".brum.toml"), "rb") as file:  # noqa: PTH118, PTH123 - pathlib is heavy
            return setting.encode() in file.read(SETTINGS_LIMIT_BYTES)
    except (OSError, KeyError):
        return False
