"""What the terminal view is given by its surroundings, and how its words are spelled."""

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final, NamedTuple

from textual.widgets import Static

_ASCII: Final = str.maketrans({"›": ">", "×": "x", "…": ".", "─": "-", "←": "<", "→": ">", "↑": "^", "↓": "v"})


async def run(command: Sequence[str]) -> None:
    """Run a program at this terminal to its end. Raises OSError."""
    process = await asyncio.create_subprocess_exec(*command)
    try:
        await process.wait()
    except asyncio.CancelledError:  # the view ends meanwhile, and the terminal is the shell's
        process.terminate()
        raise


def open_in_browser(url: str) -> object:
    """Blocks."""
    import webbrowser  # noqa: PLC0415 — the first picture needs none

    return webbrowser.open(url)


class ViewOptions(NamedTuple):
    """``glyphs`` and ``notifies``: the settings. ``environ`` and ``platform`` tell which programs the view opens.
    ``run_program`` raises OSError; ``open_url`` may block.
    """

    glyphs: str = "unicode"
    notifies: bool = True
    environ: Mapping[str, str] = os.environ
    platform: str = sys.platform
    open_url: Callable[[str], object] = open_in_browser
    run_program: Callable[[Sequence[str]], Awaitable[None]] = run

    @property
    def is_ascii(self) -> bool:
        return self.glyphs == "ascii"

    def spelled(self, text: str) -> str:
        """With the signs that the setting `glyphs` allows."""
        return text.translate(_ASCII) if self.is_ascii else text


USUAL_OPTIONS: Final = ViewOptions()


class TextLine(Static):
    """One line of the view's own words, which is drawn only if they are others."""

    DEFAULT_CSS = """
    TextLine { height: 1; width: 1fr; text-wrap: nowrap; text-overflow: ellipsis; }
    """

    def __init__(self, options: ViewOptions, id: str) -> None:  # noqa: A002 — as all widgets have it
        super().__init__("", id=id, markup=False)
        self._options = options
        self._text = ""

    def show(self, text: str) -> None:
        if text != self._text:
            self._text = text
            self.update(self._options.spelled(text), layout=False)  # it has one line, whatever it says
