"""``brum completion``: what makes bash and zsh complete commands, options, and the names of scripts and instances.

The printed text has the commands and options. Only for names it asks ``brum completion --names``, while the user waits:
that loads the detectors or the records, and nothing that speaks to an instance.
"""

import argparse
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from brummer.cli import options

DETAILS: Final = (
    'For bash put eval "$(brum completion bash)" into ~/.bashrc, for zsh eval "$(brum completion zsh)" into ~/.zshrc,'
    " there after compinit."
)

NAMES: Final = ("scripts", "instances")


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("shell", nargs="?", choices=("bash", "zsh"), metavar="SHELL", help="bash or zsh")
    parser.add_argument("--names", choices=NAMES, help="print the names that can be completed now, one on each line")
    parser.add_argument(
        "-d", "--dir", type=options.directory, default=Path(), metavar="DIR", help="the project, for --names scripts"
    )


def run(chosen: argparse.Namespace) -> int:
    if chosen.names:
        found = _scripts(chosen.dir.resolve()) if chosen.names == "scripts" else _instances()
        for name in found:
            if name.isprintable():  # others can't be typed
                print(name)
        return 0
    if chosen.shell is None:
        raise options.WrongArguments("name the shell: bash or zsh")
    from brummer.cli.completion_text import script_for

    print(script_for(chosen.shell))
    return 0


def _scripts(place: Path) -> Iterable[str]:
    """The scripts of the project, as `brum up` finds them from here."""
    from brummer.cli.project_place import NothingToRun, project_directory
    from brummer.instance.scripts import ScriptList

    try:
        return ScriptList(project_directory(place)).read().listed
    except NothingToRun:
        return ()


def _instances() -> Iterator[str]:
    """Names and ids of the instances that run."""
    from brummer.discovery.directory import instances_directory
    from brummer.discovery.owners import living_records

    for record in living_records(instances_directory(os.environ)):
        yield from dict.fromkeys((record.name, record.instance_id))
