"""What the terminal view remembers from one time to the next, in a small file of the user."""

import contextlib
from pathlib import Path
from typing import Annotated, Final

import msgspec

from brummer.core.errors import BrummerError
from brummer.host.directories import private_directory
from brummer.host.files import read_bounded, write_atomically

TREE_COLUMNS: Final = 30
"""The width of the tree that shows ``├ ● dev :43949 2!`` with a name of usual length."""
LEAST_TREE_COLUMNS: Final = 12
MOST_TREE_COLUMNS: Final = 60
LIMIT_BYTES: Final = 4096


class Remembered(msgspec.Struct, frozen=True):
    """How a user has set the view up: not what was looked at, nor what was searched."""

    tree_columns: Annotated[int, msgspec.Meta(ge=LEAST_TREE_COLUMNS, le=MOST_TREE_COLUMNS)] = TREE_COLUMNS
    wraps: bool = False
    shows_times: bool = True
    hides_idle: bool = False


USUAL: Final = Remembered()


def recall(file: Path) -> Remembered:
    """What the file has; the usual if it can't be read or understood. Blocks."""
    try:
        return msgspec.json.decode(read_bounded(file, LIMIT_BYTES), type=Remembered)
    except (BrummerError, OSError, msgspec.DecodeError):
        return USUAL


def remember(file: Path, what: Remembered) -> None:
    """Write the file if it has something else. What can't be written is not remembered. Blocks."""
    with contextlib.suppress(BrummerError, OSError):
        if recall(file) != what:
            private_directory(file.parent)
            write_atomically(file, msgspec.json.encode(what))
