"""``brum up``: make sure that the instance and scripts run, and show the result."""

import argparse
from collections.abc import Sequence
from typing import Final

from brummer.cli import default_choice, options
from brummer.cli.background import NotStarted, start_in_background
from brummer.cli.instance_calls import NothingRuns
from brummer.cli.messages import print_json, say
from brummer.cli.package_scripts import full_names
from brummer.cli.project import EXIT_NOTHING_CHOSEN, Project, failure, with_project
from brummer.cli.started_scripts import add_waiting, start_scripts
from brummer.core.errors import BrummerError

DETAILS: Final = (
    "Without SCRIPT, the first of these that exists: the scripts with autostart; all lines of Procfile.dev or Procfile;"
    " dev, else start, of the package in which you stand; the server of Django or FastAPI, the only program of Go or"
    " Cargo, or compose; dev of every package of a workspace. If there is none, you are asked on a terminal; else"
    " the choices are listed, and the exit status is 5. The instance is started if none runs; scripts that run already"
    " are left alone."
)


def add_options(parser: argparse.ArgumentParser) -> None:
    options.add_project(parser)
    options.add_scripts(parser, "scripts to start")
    add_waiting(parser)


def run(chosen: argparse.Namespace) -> int:
    try:
        scripts = chosen.scripts or default_choice.made(chosen.dir.resolve(), chosen.name, as_json=chosen.json)
    except BrummerError as error:
        if chosen.json:
            print_json({"error": failure(error)})
        raise
    if not scripts:
        return EXIT_NOTHING_CHOSEN

    return with_project(chosen, lambda project: up(project, scripts, chosen))


async def up(project: Project, scripts: Sequence[str], chosen: argparse.Namespace) -> int:
    """Returns the exit status. Raises NotStarted, NothingToRun, NotFound."""
    scripts = await full_names(project, scripts)
    if record := project.find():
        say(f"{record.name} runs already ({record.directory})")
    else:
        await start_in_background(project, scripts)
    try:
        return await start_scripts(project, "scripts_run", scripts, chosen)
    except NothingRuns:
        raise NotStarted("the instance was ended meanwhile, by brum down or a signal") from None
