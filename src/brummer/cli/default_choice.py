"""The scripts that `brum up` starts if none is named: chosen by a rule, or else listed."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from brummer.cli.colour import shortened
from brummer.cli.commands.ps import say_problems
from brummer.cli.messages import say
from brummer.cli.project import Project
from brummer.cli.project_place import NothingToRun, project_directory
from brummer.cli.table import print_table
from brummer.instance.default_scripts import choice_of
from brummer.instance.scripts import ScriptList

NAMES_SHOWN: Final = 20
CHOICES_SHOWN: Final = 40
"""As many as fit on a screen: names in lines, and a choice on each line."""


def made(place: Path, name: str | None) -> Sequence[str]:
    """Their names, for a user in this directory; empty if nothing says which, and then the choices are printed.

    Blocks. Raises NothingToRun.
    """
    record = Project(place, name).find()
    scripts = ScriptList(Path(record.directory) if record else project_directory(place))
    if choice := choice_of(scripts.read().scripts.values(), scripts.directory, place):
        say(f"{shown(choice.names)} ({choice.why})")
        return choice.names
    _show_choices(scripts)
    return ()


def shown(names: Sequence[str]) -> str:
    """Names in a sentence."""
    more = f" and {len(names) - NAMES_SHOWN} more" if len(names) > NAMES_SHOWN else ""
    return ", ".join(map(shortened, names[:NAMES_SHOWN])) + more


def _show_choices(scripts: ScriptList) -> None:
    listing = scripts.read()
    say_problems(msgspec.to_builtins({"problems": listing.problems}))
    if not listing.scripts:
        raise NothingToRun(f"no scripts were found in {scripts.directory}")
    say("no rule says what to start here; name one or several of these, as in brum up NAME:")
    found = list(listing.scripts.values())
    print_table([["NAME", "FROM"], *([shortened(each.name), each.source] for each in found[:CHOICES_SHOWN])])
    if len(found) > CHOICES_SHOWN:
        say(f"and {len(found) - CHOICES_SHOWN} more")
