"""What each key does: one table, from which the bindings, the line of keys and the page of keys are made. Pure."""

from collections.abc import Iterator
from typing import Final, NamedTuple

from rich.cells import cell_len


class Key(NamedTuple):
    """``names``: as Textual calls the keys; ``shown``: as a person reads them; ``action``: of the view. ``short``: in
    the line of keys; empty if it is not there.
    """

    names: str
    shown: str
    action: str
    meaning: str
    short: str = ""


KEYS: Final = (
    Key("q", "q", "leave", "leave; everything runs on", "leave (all runs on)"),
    Key("question_mark", "?", "keys", "these keys", "keys"),
    Key("s", "s", "start_or_stop", "start or stop; on a project all of it", "start/stop"),
    Key("r", "r", "restart", "restart, or start; on a project all that runs", "restart"),
    Key("slash", "/", "search", "find a text; an empty one ends it", "search"),
    Key("ampersand", "&", "only_hits", "only lines with the text", "only"),
    Key("l", "l", "level", "only warnings and errors, only errors, all", "level"),
    Key("e", "e", "errors", "the errors, or the log again; enter: its line, v: its file in $EDITOR", "errors"),
    Key("i", "i", "type", "type a line to the script", "type"),
    Key("o", "o", "open_url", "open its URL; on a project the page of all projects", "open"),
    Key("n", "n", "find(1)", "the next place with the text"),
    Key("N", "N", "find(-1)", "the place before"),
    Key("f", "f", "follow", "follow new lines"),
    Key("g,home", "g", "top", "the oldest line"),
    Key("G,end", "G", "end", "the newest line"),
    Key("pageup", "pgup", "page(-1)", "a page up"),
    Key("pagedown", "pgdn", "page(1)", "a page down"),
    Key("y", "y", "copy", "copy what is selected, or what is seen; so does a drag of the mouse"),
    Key("w", "w", "wrap", "wrap long lines; otherwise ← → move them"),
    Key("T", "T", "times", "the time of each line"),
    Key("x", "x", "hide_above", "hide all lines so far; again: show them"),
    Key("E", "E", "pager", "all that is kept, in $PAGER"),
    Key("t", "t", "hide_idle", "hide scripts that never ran, and old projects"),
    Key("less_than_sign", "<", "narrower", "a narrower tree"),
    Key("greater_than_sign", ">", "wider", "a wider tree"),
    Key("tab,shift+tab", "tab", "other_pane", "from the tree to the log, and back"),
    Key("ctrl+z", "ctrl-z", "suspend_process", "suspend the view, as any program"),
    Key("Q", "Q", "end_project", "end this project (it asks), and leave"),
)
"""`j`, `k`, the arrows, enter and space belong to the list that has the focus. Ctrl-C leaves, too."""

MORE: Final = (
    ("j k ↑ ↓", "choose a row; in the log a line up or down"),
    ("enter", "to the log"),
    ("space", "fold a project"),
    ("ctrl-c", "leave, as q"),
)


def key_line(width: int) -> str:
    """As many of the short texts as fit, each whole; `q` and `?` come first."""
    line = ""
    for key in filter(lambda key: key.short, KEYS):
        longer = f"{line}{'  ' if line else ''}{key.shown} {key.short}"
        if cell_len(longer) > width:
            break
        line = longer
    return line


def key_page() -> Iterator[str]:
    """A line for each key."""
    rows = [*((key.shown, key.meaning) for key in KEYS), *MORE]
    for shown, meaning in rows:
        yield f"{shown:8} {meaning}"
