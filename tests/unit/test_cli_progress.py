"""What a terminal shows of long work."""

import contextlib
import os
import pty
from pathlib import Path

from brummer.cli.progress import Progress


def shown_on(ours: int) -> str:
    """What a terminal was given until it was closed. It may come in several pieces."""
    shown = b""
    with contextlib.suppress(OSError):  # how Linux reports the end of a terminal
        while data := os.read(ours, 1_000):
            shown += data
    os.close(ours)
    return shown.decode()


def test_a_terminal_shows_one_line_that_is_gone_at_the_end() -> None:
    ours, theirs = pty.openpty()
    with os.fdopen(theirs, "w") as terminal, Progress(terminal, {}) as progress:
        progress.show("first")
        progress.show("second\x1b[2J")
    assert shown_on(ours).split("\r\x1b[K") == ["", "brum: first", "brum: second\ufffd[2J", ""]


def test_another_reader_gets_nothing(tmp_path: Path) -> None:
    with (tmp_path / "log").open("w") as log, Progress(log, {}) as progress:
        progress.show("first")
    assert (tmp_path / "log").read_text() == ""


def test_a_terminal_that_can_not_clear_a_line_gets_nothing() -> None:
    ours, theirs = pty.openpty()
    with os.fdopen(theirs, "w") as terminal, Progress(terminal, {"TERM": "dumb"}) as progress:
        progress.show("first")
        terminal.write("end")
    assert shown_on(ours) == "end"
