"""``brum attach``: this terminal as that of a script, until Ctrl-]."""

import argparse
import sys
from typing import Final

from brummer.cli import options
from brummer.cli.messages import say
from brummer.cli.package_scripts import full_names
from brummer.cli.project import EXIT_WRONG, Project, with_project

DETAILS: Final = (
    "Ctrl-] leaves, and the script runs on. All other keys go to a script with `terminal = true`, Ctrl-C too. A script"
    " with a pipe gets what you type line by line; there Ctrl-C leaves, too. If the script ends, the exit status is its"
    " own, or 128 and the number of the signal."
)


def add_options(parser: argparse.ArgumentParser) -> None:
    options.add_project(parser)
    parser.add_argument("script", type=options.text, metavar="SCRIPT", help="a script that runs, or a process_id")


def run(chosen: argparse.Namespace) -> int:
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        say(
            "brum attach needs a terminal; programs type with: brum call INSTANCE scripts_input"
            """ '{"name": "SCRIPT", "text": "…"}'"""
        )
        return EXIT_WRONG

    async def attach(project: Project) -> int:
        from brummer.cli.attached_terminal import attached

        [script] = await full_names(project, [chosen.script])
        return await attached(project, script, options.paint(chosen))

    return with_project(chosen, attach)
