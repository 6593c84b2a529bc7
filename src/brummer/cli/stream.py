"""The protocol stream of a hub on stdio: standard output, taken from the rest of the process, and the early answer."""

import os
import signal
import sys
from typing import Final, NamedTuple

from brummer.hub.server_info import INSTRUCTIONS, SERVER_INFO
from brummer.wire.mcp import early_answer
from brummer.wire.mcp.early_answer import EarlyAnswer

STDIN: Final = 0


class Stream(NamedTuple):
    """Descriptors of the protocol stream, and what the early answer left."""

    stdin: int
    stdout: int
    early_answer: EarlyAnswer


_taken: list[Stream] = []


def take(*, answer_early: bool = False) -> Stream:
    """Claim the stream, once: descriptor 1 points to stderr from then on, so no stray print can reach it.

    From here on SIGINT is ignored too: it goes to a whole terminal group, and Esc must not cost the agent its hub. On a
    terminal of its own there is a person, who wants to be rid of it.
    """
    if not _taken:
        # An ignored SIGTERM survives an exec, and a signal that arrives while the modules load would be lost.
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        if not os.isatty(STDIN):
            signal.signal(signal.SIGINT, signal.SIG_IGN)
        sys.stdout.flush()
        stdout = os.dup(1)
        os.dup2(2, 1)
        _taken.append(Stream(STDIN, stdout, _early_answer(stdout) if answer_early else EarlyAnswer()))
    return _taken[0]


def _early_answer(stdout: int) -> EarlyAnswer:
    return early_answer.answer_early(STDIN, stdout, SERVER_INFO, INSTRUCTIONS)
