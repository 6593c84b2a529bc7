"""`scripts_input`: a text and keys as the bytes that a script's terminal, or pipe, gets; and what its log says of them.

Nobody sees what a script asks for in secret: if it has turned off the echo of its terminal, or its question names a
password or the like, the log has only the number of characters.
"""

import re
from collections.abc import Sequence
from typing import Final

import msgspec

from brummer.contract.tools import INPUT_BYTES, TypeIn
from brummer.core.errors import BrummerError, InvalidArguments, system_error
from brummer.core.terminal_modes import TerminalModes
from brummer.instance.run import Run
from brummer.logs.output import ProcessOutput
from brummer.process.child_input import ChildInput, Taken

_ARROWS: Final = {"up": "A", "down": "B", "right": "C", "left": "D", "home": "H", "end": "F"}
"""The last letter of what a terminal sends: after ESC O if the program has asked for that, else after ESC [."""
_NAMED: Final = {
    "enter": "\r",
    "tab": "\t",
    "shift-tab": "\x1b[Z",
    "esc": "\x1b",
    "space": " ",
    "backspace": "\x7f",
    "delete": "\x1b[3~",
    "pageup": "\x1b[5~",
    "pagedown": "\x1b[6~",
    **{f"ctrl-{letter}": chr(ord(letter) & 0x1F) for letter in "abcdefghijklmnopqrstuvwxyz\\"},
}
"""As xterm sends them; all terminals of today do."""
_OF_A_PIPE: Final = frozenset({"enter", "tab", "space"})
"""Keys that are characters. Ctrl-D ends a pipe; all others act only through a terminal."""
END_OF_INPUT: Final = "ctrl-d"
APPLICATION_CURSOR: Final = 1
"""The private mode DECCKM."""

_SECRET: Final = re.compile(
    r"pass ?(?:word|phrase|code)|secret|token|credential|api.?key|\b(?:pin|otp)\b", re.IGNORECASE
)
"""In the question of a script that does not hide the answer, as over a pipe it can't."""


class HasEnded(BrummerError):
    """The script does not run, so nothing can be typed to it."""

    code = "has_ended"


class NoInput(BrummerError):
    """The run has no input that can be typed to, or not this way."""

    code = "no_input"


class NotReading(BrummerError):
    """What was typed before is still unread, and the system keeps no more. Nothing was typed."""

    code = "not_reading"
    transient = True


class Typed(msgspec.Struct, frozen=True):
    """``data``: for the script. ``shown``: in its log, if nothing is secret; ``hidden``: else. ``ends_input``: the pipe
    ends after the data.
    """

    data: bytes
    shown: str
    hidden: str
    ends_input: bool = False


def typed(wanted: TypeIn, *, to_terminal: bool, application_cursor: bool = False) -> Typed:
    """Raises InvalidArguments, and NoInput for a key that needs a terminal."""
    names = [name if len(name) == 1 else name.lower() for name in (wanted.keys or "").split()]
    text = (wanted.text or "").replace("\r\n", "\n")
    presses_enter = wanted.enter and (bool(text) or not names)
    if not (text or names or presses_enter):
        raise InvalidArguments("scripts_input needs text or keys, or enter, to press Enter alone")
    ends_input = bool(names) and names[-1] == END_OF_INPUT and not to_terminal
    line_end = "\r" if to_terminal else "\n"
    pressed = [
        _key(name, to_terminal=to_terminal, application_cursor=application_cursor)
        for name in (names[:-1] if ends_input else names)
    ]
    whole = text.replace("\n", line_end) + line_end * presses_enter + "".join(pressed)
    data = whole.encode()
    if len(data) > INPUT_BYTES:
        raise InvalidArguments(
            f"{len(data):,} bytes are more than the {INPUT_BYTES:,} that are typed at once: write them into a file, or"
            " type them in parts",
            limit_bytes=INPUT_BYTES,
        )
    pressed_names = names or ([] if text else ["enter"])
    without_enter = ["(without Enter)"] if text and not wanted.enter else []
    shown = ["typed:", *([text] if text else []), *without_enter, *_in_brackets(pressed_names)]
    not_characters = [name for name in pressed_names if len(name) > 1]
    count = len(text) + len(pressed_names) - len(not_characters)
    hidden = [f"typed {count} character{'' if count == 1 else 's'}" if count else "typed:", *without_enter]
    return Typed(data, " ".join(shown), " ".join([*hidden, *_in_brackets(not_characters)]), ends_input)


def _in_brackets(names: Sequence[str]) -> list[str]:
    return [f"[{' '.join(names)}]"] if names else []


def _key(name: str, *, to_terminal: bool, application_cursor: bool) -> str:
    if not to_terminal:
        if name == "enter":
            return "\n"
        if name not in _OF_A_PIPE and name in {*_ARROWS, *_NAMED}:
            raise NoInput(
                f"the key {name} needs a terminal, and this script has a pipe, which takes text, enter and"
                f" {END_OF_INPUT}: set `terminal = true` for it in .brum.toml, and restart it",
                key=name,
            )
    if name in _ARROWS:
        return f"\x1b{'O' if application_cursor else '['}{_ARROWS[name]}"
    if name in _NAMED:
        return _NAMED[name]
    if len(name) == 1:
        return name
    raise InvalidArguments(
        f"no key is named {name}; there are {', '.join(key_names())}, and single characters", argument="keys", key=name
    )


def key_names() -> list[str]:
    """In a few words; the letters of ctrl are not listed."""
    return [*_ARROWS, *(name for name in _NAMED if not name.startswith("ctrl-")), "ctrl-a to ctrl-z"]


def type_to(run: Run, sink: ProcessOutput, wanted: TypeIn, now: float, modes: TerminalModes | None) -> int:
    """Type it, and note it in the log at ``now`` (seconds since the epoch); returns the number of bytes. ``modes``: of
    its terminal. Raises HasEnded, NoInput, NotReading, InvalidArguments, SystemFailed.
    """
    target = input_of(run)
    application_cursor = modes is not None and modes.is_on(APPLICATION_CURSOR)
    given = typed(wanted, to_terminal=target.is_terminal, application_cursor=application_cursor)
    echoed, question = _echoes(target), run.unfinished() or ""
    if given.data:
        check_taken(run, target.write(given.data))
    if given.ends_input:
        target.close()
    is_secret = bool(_SECRET.search(question)) or (target.is_terminal and not echoed)
    echo = given.data.replace(b"\r", b"\r\n") if echoed and not wanted.keys else b""
    sink.typed(
        given.hidden if is_secret else given.shown, now, echo=echo, ends_line=bool(echo) or not target.is_terminal
    )
    return len(given.data)


def input_of(run: Run) -> ChildInput:
    """Raises HasEnded, NoInput, SystemFailed."""
    if run.has_ended:
        raise HasEnded(
            f"{run.process_id} has ended ({run.state}); scripts_run starts {run.name} again", status=run.state
        )
    if run.child is None:
        raise NoInput(f"{run.name} is {run.state}: its process is not there yet", status=run.state)
    try:
        found = run.child.input
    except OSError as error:
        raise system_error(error, f"could not type to {run.name}", outcome="not_executed") from None
    if found is None:
        raise NoInput(
            f"the input of {run.process_id} ended at its start, because it was started with wait=exit: to answer its"
            " questions, start it with wait=ready or wait=none"
        )
    return found


def check_taken(run: Run, taken: Taken) -> None:
    """Raises NotReading, NoInput."""
    if taken == "none":
        raise NotReading(
            f"{run.process_id} does not read its input: what was typed before still waits; see its output, or stop it"
        )
    if taken == "closed":
        raise NoInput(f"{run.process_id} has closed its input, and reads nothing more")


def _echoes(target: ChildInput) -> bool:
    try:
        return target.echoes()
    except OSError:
        return False
