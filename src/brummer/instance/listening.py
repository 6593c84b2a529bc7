"""Whether a script is one that listens, judged by its earlier runs. Pure."""

from collections.abc import Iterable
from typing import Final

LONG_S: Final = 10.0
"""A run of this length that did not listen says that the script does not: a dev server listens within seconds."""


def listens(runs: Iterable[tuple[bool, float]]) -> bool | None:
    """Judged by runs, the latest first: whether each was ready, and how many seconds it lasted. None: not known.

    The latest run that was ready, or lasted for `LONG_S`, decides.
    """
    for was_ready, lasted_s in runs:
        if was_ready or lasted_s >= LONG_S:
            return was_ready
    return None
