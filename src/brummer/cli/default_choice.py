"""The scripts that `brum up` starts if none is named: chosen by a rule, else by the user on a terminal, else listed."""

import os
import stat
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from brummer.cli.colour import shortened, some
from brummer.cli.commands.ps import say_problems
from brummer.cli.messages import print_json, say
from brummer.cli.project import Project
from brummer.cli.project_place import NothingToRun, project_directory
from brummer.cli.table import print_table
from brummer.instance.default_scripts import choice_of
from brummer.instance.detect.listing import ScriptListing
from brummer.instance.scripts import ScriptList
from brummer.settings.table import FILE_NAME

CHOICES_SHOWN: Final = 40
"""As many as fit on a screen: names in lines, and a choice on each line."""
UNDECIDED: Final = "no rule says what to start here"
PROJECT_FILE_MODE: Final = 0o644
"""As any other file of the project, which people share."""


def made(place: Path, name: str | None, *, as_json: bool) -> Sequence[str]:
    """Their names, for a user in this directory; empty if nothing says which, and then the choices are printed.

    ``as_json``: for a program, which is not asked. Blocks. Raises NothingToRun.
    """
    record = Project(place, name).find()
    scripts = ScriptList(Path(record.directory) if record else project_directory(place))
    listing = scripts.read()
    if choice := choice_of(listing.scripts.values(), scripts.directory, place):
        say(f"{some(choice.names)} ({choice.why})")
        return choice.names
    say_problems(msgspec.to_builtins({"problems": listing.problems}))
    if not listing.scripts:
        raise NothingToRun(f"no scripts were found in {scripts.directory}")
    if as_json:
        error = {"code": "nothing_chosen", "message": UNDECIDED, "choices": list(listing.listed)}
        print_json({"error": error})
    elif sys.stdin.isatty() and sys.stdout.isatty():
        return _asked(listing, scripts.directory / FILE_NAME)
    else:
        say(f"{UNDECIDED}; name one or several of these, as in brum up NAME:")
        _show(listing, numbered=False)
    return ()


def _show(listing: ScriptListing, *, numbered: bool) -> None:
    found = list(listing.listed.values())
    rows = [["NAME", "FROM"], *([shortened(each.name), each.source] for each in found[:CHOICES_SHOWN])]
    print_table([[str(number or ""), *row] for number, row in enumerate(rows)] if numbered else rows)
    if len(found) > CHOICES_SHOWN:
        say(f"and {len(found) - CHOICES_SHOWN} more")


def _asked(listing: ScriptListing, file: Path) -> Sequence[str]:
    """What the user chooses, and remembers in this file if wanted; nothing for an empty answer or the end of input."""
    say(UNDECIDED)
    _show(listing, numbered=True)
    names = [*listing.listed, *listing.scripts]
    try:
        while (chosen := picked(input("Start which? Numbers or names (Enter: none): "), names)) is None:
            say("these are not all numbers or names of the list")
        if (
            chosen
            and input(f"Start them without asking from now on (autostart in {FILE_NAME})? [y/N] ").strip() in _YES
        ):
            _remember(chosen, file)
    except EOFError:
        print()
        return ()
    return chosen


_YES: Final = frozenset({"y", "Y", "yes"})


def picked(answer: str, names: Sequence[str]) -> list[str] | None:
    """The scripts of an answer: a name, or numbers and names between blanks or commas. None if one is neither."""
    if answer.strip() in names:
        return [answer.strip()]
    by_word = {str(number): name for number, name in enumerate(names, 1)} | {name: name for name in names}
    words = answer.replace(",", " ").split()
    chosen = [by_word[word] for word in words if word in by_word]
    return list(dict.fromkeys(chosen)) if len(chosen) == len(words) else None


def _remember(names: Sequence[str], file: Path) -> None:
    """A file that can't be changed is reported, and does not keep the scripts from being started."""
    from brummer.cli.autostart import with_autostart  # few people come here
    from brummer.cli.json_edit import NotUnderstood
    from brummer.host.files import write_atomically

    file = Path(os.path.realpath(file))
    try:
        exists = file.exists()
        text = file.read_bytes().decode() if exists else ""
        for name in names:
            text = with_autostart(text, name)
        write_atomically(file, text.encode(), mode=stat.S_IMODE(file.stat().st_mode) if exists else PROJECT_FILE_MODE)
    except (NotUnderstood, OSError, UnicodeDecodeError) as error:
        say(f"{file} was not changed: {error}")
