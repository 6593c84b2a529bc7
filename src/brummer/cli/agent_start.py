"""Starts an instance in the background for an agent that names a directory in which none runs."""

import asyncio
import os
from pathlib import Path

from brummer.cli.background import started_in_background
from brummer.cli.project import Project
from brummer.host.login_shell import login_environment, without_variables_of_agents
from brummer.hub.finder import Started

FROM_SHELL = "of your login shell"
FROM_HUB = "of the hub without the variables of coding agents: the login shell gave none within 2 s"


async def start_for_agent(place: Path) -> Started:
    """Without the scripts that start by themselves: only what the agent names runs. Raises NotStarted, NothingToRun."""
    environment, source = await asyncio.to_thread(_environment)
    record, _ = await started_in_background(Project(place, None), environment=environment, autostart=False)
    return Started(record.instance_id, record.directory, source)


def _environment() -> tuple[dict[str, str], str]:
    if (found := login_environment()) is not None:
        return found, FROM_SHELL
    return without_variables_of_agents(os.environ), FROM_HUB
