"""What is selected of the lines of a log, and its way to the clipboard.

A selection is of the lines' text alone: no time, no name, no line ends of wrapping. What is selected stays selected
while the log moves, as it is noted by place and offset.
"""

import re
import subprocess
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from textual.app import App

_WORD: Final = re.compile(r"\S+")


class Point(NamedTuple):
    """The character under the pointer: the place of its line, and its begin and end as offsets."""

    place: int
    start: int
    end: int


class Selected(NamedTuple):
    """From one place and offset to before another."""

    first: tuple[int, int]
    last: tuple[int, int]

    def span_in(self, place: int, length: int) -> tuple[int, int]:
        """The selected offsets of the line at this place, which has so many characters; (0, 0) if none is."""
        if not self.first[0] <= place <= self.last[0]:
            return 0, 0
        return (self.first[1] if place == self.first[0] else 0, self.last[1] if place == self.last[0] else length)

    def text(self, text_at: Callable[[int], str], first_place: int, end_place: int) -> str:
        """The selected text of the lines that are still kept: those from ``first_place`` to before ``end_place``."""
        parts = []
        for place in range(max(self.first[0], first_place), min(self.last[0] + 1, end_place)):
            text = text_at(place)
            start, end = self.span_in(place, len(text))
            parts.append(text[start:end])
        return "\n".join(parts)


def between(one: Point, other: Point) -> Selected:
    """Both characters and what is between them, whichever comes first."""
    first, last = sorted((one, other))
    return Selected(first[:2], (last.place, last.end))


def word_at(place: int, text: str, offset: int) -> Selected:
    """What stands between two blanks there: a path, a URL, a word."""
    found = next((word.span() for word in _WORD.finditer(text) if word.start() <= offset < word.end()), (0, 0))
    return Selected((place, found[0]), (place, found[1]))


def copy(app: App[object], text: str) -> None:
    """Send the text to the terminal's clipboard (OSC 52). Lone surrogates, which no terminal takes, become ``?``."""
    app.copy_to_clipboard(text.encode("utf-8", "replace").decode("utf-8"))


PROGRAM_S: Final = 2.0
"""They take milliseconds; one that waits for a display that does not answer must not wait for ever."""


def clipboard_programs(environ: Mapping[str, str], platform: str) -> list[list[str]]:
    """Programs that put their input into the clipboard of this machine; one of them may be there. The terminals of
    macOS and GNOME ignore OSC 52. None over ssh, where only the terminal has the user's clipboard.
    """
    if environ.get("SSH_CONNECTION") or environ.get("SSH_TTY"):
        return []
    if platform == "darwin":
        return [["pbcopy"]]
    wayland = [["wl-copy"]] if environ.get("WAYLAND_DISPLAY") else []
    x11 = [["xclip", "-selection", "clipboard"], ["xsel", "--clipboard", "--input"]] if environ.get("DISPLAY") else []
    return [*wayland, *x11]


def copy_by(programs: list[list[str]], text: str) -> bool:
    """Give the text to the first of these programs that is there and takes it; False if none does. Blocks meanwhile."""
    for program in programs:
        try:
            done = subprocess.run(
                program,
                input=text.encode("utf-8", "replace"),
                stdout=subprocess.DEVNULL,  # the program may live on, to hold the text
                stderr=subprocess.DEVNULL,
                timeout=PROGRAM_S,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired):
            continue
        if not done.returncode:
            return True
    return False
