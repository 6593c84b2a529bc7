"""A command on a person's terminal: a pseudo-terminal that the shell in which it was typed has, too."""

import os
import re
import select
import subprocess
import sys
import termios
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, Self

WAIT_S: Final = 20.0
"""For anything that should take a moment, on a machine that is busy with other things."""
TAKES_THE_TERMINAL: Final = (
    "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execv(sys.argv[1], sys.argv[1:])"
)
_ESCAPES: Final = re.compile(rb"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[ -/]*[0-~])")


class PersonsTerminal:
    """The command controls the terminal, as one that is typed in a shell does."""

    def __init__(self, command: Sequence[str | Path], cwd: Path, environment: Mapping[str, str]) -> None:
        self._ours, self._shell = os.openpty()
        self.resize(24, 80)
        self._before = termios.tcgetattr(self._shell)
        self.program = subprocess.Popen(
            [sys.executable, "-c", TAKES_THE_TERMINAL, *map(str, command)],
            stdin=self._shell,
            stdout=self._shell,
            stderr=self._shell,
            cwd=cwd,
            env=environment,
            start_new_session=True,
        )
        self.record = b""
        """All that was shown."""
        self._shown = b""

    def until(self, wanted: str) -> Self:
        """Wait until this was shown, after what was waited for before."""
        return self.until_matches(re.escape(wanted))

    def until_matches(self, pattern: str) -> Self:
        """As `until`; the expression sees the text without escape sequences."""
        expression = re.compile(pattern.encode())
        while (found := expression.search(_ESCAPES.sub(b"", self._shown))) is None:
            assert self._reads(WAIT_S), f"no {pattern!r} in {self._shown!r}"
        self._shown = _ESCAPES.sub(b"", self._shown)[found.end() :]
        return self

    def type(self, text: str) -> Self:
        os.write(self._ours, text.encode())
        return self

    def resize(self, rows: int, columns: int) -> None:
        termios.tcsetwinsize(self._ours, (rows, columns))

    def ends(self) -> int:
        """Its exit status; the terminal is as it was."""
        status = self.program.wait(WAIT_S)
        while self._reads(0.0):
            pass
        assert termios.tcgetattr(self._shell) == self._before
        return status

    def _reads(self, within_s: float) -> bool:
        if not select.select([self._ours], [], [], within_s)[0]:
            return False
        data = os.read(self._ours, 65_536)
        self._shown += data
        self.record += data
        return True

    def close(self) -> None:
        """However it is used, nothing is left."""
        if self.program.poll() is None:
            self.program.kill()
        self.program.wait(WAIT_S)
        os.close(self._ours)
        os.close(self._shell)
