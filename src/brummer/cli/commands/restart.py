"""``brum restart``: stop scripts and start them again."""

import argparse
from typing import Final

from brummer.cli import options
from brummer.cli.instance_calls import NothingRuns
from brummer.cli.package_scripts import full_names
from brummer.cli.project import Project, with_project
from brummer.cli.started_scripts import add_waiting, start_scripts
from brummer.contract.processes import processes_of

DETAILS: Final = ""


def add_options(parser: argparse.ArgumentParser) -> None:
    options.add_project(parser)
    options.add_scripts(parser, "scripts to restart")
    add_waiting(parser)


def run(chosen: argparse.Namespace) -> int:
    async def restart(project: Project) -> int:
        running = [each.name for each in processes_of(await project.call("scripts_status")) if each.runs]
        if not chosen.scripts and not running:
            raise NothingRuns("no script runs here; brum up starts some")
        return await start_scripts(
            project, "scripts_restart", await full_names(project, chosen.scripts) or running, chosen
        )

    return with_project(chosen, restart)
