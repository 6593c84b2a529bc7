"""What an answer says of a script that may wait for input: that it can be typed to, and how. Pure."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Final

from brummer.core.json_text import encode

if TYPE_CHECKING:
    from brummer.instance.run import Run

ENDS_OF_QUESTIONS: Final = ("?", ":", ">", "]", ")")
INPUT_ENDED: Final = (
    "its input ended at its start, because of wait=exit: if it asks something, start it with wait=ready, and answer it"
    " with scripts_input (by instance_call)"
)


def asking(runs: Iterable["Run"]) -> "Run | None":
    """The first that has printed a line without an end, such as a question, and can be typed to."""
    return next((run for run in runs if can_be_typed_to(run) and run.unfinished()), None)


def asks(run: "Run") -> str:
    """That it may wait for input, and how to answer."""
    return f"{run.name} may wait for input, since its last line (unfinished_line) has no end: {how(run)}"


def how(run: "Run") -> str:
    """A call, in words."""
    arguments = encode({"name": run.name, "text": "…"}).decode()
    return f"instance_call with the tool scripts_input and the arguments {arguments} types to it"


def can_be_typed_to(run: "Run") -> bool:
    """Its process is there, and its input was not ended at its start."""
    has_input = run.script.wants_terminal or not run.surroundings.input_ends
    return has_input and run.child is not None and not run.has_ended


def failed_for_want_of_input(run: "Run", last_lines: Sequence[str]) -> bool:
    """A guess: it has failed without input, and its last words are a question, or say that the input ended."""
    if run.state != "failed" or run.script.wants_terminal or not run.surroundings.input_ends or not last_lines:
        return False
    return last_lines[-1].rstrip().endswith(ENDS_OF_QUESTIONS) or any("EOF" in line for line in last_lines)
