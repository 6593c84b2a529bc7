"""A person's terminal: tmux, with a server of its own for each test."""

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, Self

import psutil
import pytest

from tests.integration.programs import BRUM, WAIT_S, within

PROMPT: Final = "ready$ "
SHOWN_S: Final = 2 * WAIT_S
"""A view needs a second to come on an idle machine, and ten on one that is busy."""
LOOK_S: Final = 0.1
"""Between two looks at the screen, each of which starts a process."""


class Terminal:
    """One pane in which a shell runs. ``directory``: a short one, for the socket of its server."""

    def __init__(self, directory: Path, environment: Mapping[str, str], size: tuple[int, int]) -> None:
        if (tmux := shutil.which("tmux")) is None:
            pytest.skip("tmux is missing: run make integration-test")
        self._tmux = [tmux, "-S", str(directory / "tmux"), "-f", os.devnull]
        self.directory = directory
        self._environment = {
            **{name: value for name, value in environment.items() if name not in {"CI", "NO_COLOR", "COLORTERM"}},
            "PATH": f"{BRUM.parent}{os.pathsep}{os.environ['PATH']}",
            "PS1": PROMPT,
            "TERM": "xterm-256color",
            "COLUMNS": "77",  # as a shell exports it, which does not follow the terminal
        }
        columns, rows = size
        self._ask("new-session", "-d", "-x", str(columns), "-y", str(rows), "sh", "-i")
        self._ask("set-option", "-s", "set-clipboard", "on")

    def _ask(self, *words: str) -> str:
        done = subprocess.run(
            [*self._tmux, *words], env=self._environment, capture_output=True, text=True, timeout=WAIT_S, check=True
        )
        return done.stdout

    def __enter__(self) -> Self:
        assert self.shows(PROMPT.strip())
        return self

    def __exit__(self, *_: object) -> None:
        subprocess.run([*self._tmux, "kill-server"], capture_output=True, timeout=WAIT_S, check=False)

    def type(self, text: str) -> None:
        """As a person types it, with Enter."""
        self._ask("send-keys", "-l", text)
        self.press("Enter")

    def press(self, *keys: str) -> None:
        """Keys by the names that tmux has for them."""
        for key in keys:
            self._ask("send-keys", key)

    def resize(self, columns: int, rows: int) -> None:
        self._ask("resize-window", "-x", str(columns), "-y", str(rows))

    def screen(self) -> str:
        return self._ask("capture-pane", "-p")

    def raw_screen(self) -> str:
        """With the sequences for colours."""
        return self._ask("capture-pane", "-p", "-e")

    def shows(self, *texts: str, timeout_s: float = SHOWN_S) -> bool:
        """Whether all of these come to the screen in time; otherwise the screen is shown."""
        return self._until(lambda screen: all(text in screen for text in texts), f"shows {texts}", timeout_s)

    def lacks(self, text: str, timeout_s: float = SHOWN_S) -> bool:
        """Whether this leaves the screen in time."""
        return self._until(lambda screen: text not in screen, f"lacks {text!r}", timeout_s)

    def _until(self, holds: Callable[[str], bool], what: str, timeout_s: float) -> bool:
        deadline = time.monotonic() + timeout_s
        while not holds(screen := self.screen()):
            if time.monotonic() > deadline:
                print(f"the screen never {what}:\n{screen}")
                return False
            time.sleep(LOOK_S)
        return True

    def value(self, *names: str) -> list[str]:
        """What tmux knows of the pane."""
        return self._ask("display-message", "-p", "|".join(f"#{{{name}}}" for name in names)).rstrip("\n").split("|")

    @property
    def is_left(self) -> bool:
        """No program draws on a screen of its own, hides the cursor, or takes the mouse."""
        flags = ("alternate_on", "cursor_flag", "mouse_any_flag", "mouse_button_flag", "mouse_sgr_flag")
        return within(WAIT_S, lambda: self.value(*flags) == ["0", "1", "0", "0", "0"])

    @property
    def buffer(self) -> str:
        """What a program has copied, by OSC 52."""
        return self._ask("show-buffer") if self._ask("list-buffers") else ""

    @property
    def program(self) -> psutil.Process:
        """The command that the shell runs now."""
        (shell,) = self.value("pane_pid")
        return psutil.Process(int(shell)).children()[0]
