"""Whether `brum` alone opens the terminal view, or runs an instance that prints lines. Pure."""

import argparse
from collections.abc import Mapping
from typing import Final

OF_THE_VIEW: Final = frozenset({"tui", "notify", "glyphs"})
"""Settings that the view reads. Any other one on the command line is for an instance in this terminal."""

_NO: Final = frozenset({"", "0", "false", "no"})


def view_is_wanted(chosen: argparse.Namespace) -> bool:
    """By the command line: nothing is asked for but a project."""
    of_instance = (chosen.scripts, chosen.port, chosen.no_autostart, chosen.end_idle is not None, chosen.started_by)
    of_lines = (chosen.no_tui, chosen.metrics, chosen.log_json, chosen.log_level != "warning")
    return not any((*of_instance, *of_lines)) and OF_THE_VIEW.issuperset(key for key, _ in chosen.set)


def place_allows_view(environ: Mapping[str, str], *, are_terminals: bool, pid: int, parent: int) -> bool:
    """By where we run. ``are_terminals``: all three standard streams are one, which is ours to use.

    The first process of a container, and one that an init has started, is a service, also on a terminal: to leave the
    view would end the container with all scripts.
    """
    is_ci = environ.get("CI", "").lower() not in _NO
    has_screen = environ.get("TERM", "") not in {"", "dumb"}
    return are_terminals and has_screen and not is_ci and 1 not in {pid, parent}
