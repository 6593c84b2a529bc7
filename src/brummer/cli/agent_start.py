"""Starts an instance in the background for an agent that names a directory in which none runs."""

import asyncio
import os
from pathlib import Path

from brummer.cli.background import started_in_background
from brummer.cli.project import Project
from brummer.contract.texts import IDLE_MIN
from brummer.discovery.record import displayable
from brummer.host.login_shell import login_environment, without_variables_of_agents
from brummer.hub.finder import Started

FROM_SHELL = "of your login shell"
FROM_HUB = "of the hub without the variables of coding agents: the login shell gave none within 2 s"


UNNAMED = "an agent"
"""One that does not give its name."""
NAME_LENGTH = 60
"""Of the name that a client gives to itself: enough for a cell of a table."""


async def start_for_agent(place: Path, client: str) -> Started:
    """Without the scripts that start by themselves: only what the agent names runs. Raises NotStarted, NothingToRun."""
    environment, source = await asyncio.to_thread(_environment)
    record, _ = await started_in_background(Project(place, None), environment=environment, options=_options(client))
    return Started(record.instance_id, record.directory, source)


def _options(client: str) -> list[str]:
    agent = displayable(client).strip()[:NAME_LENGTH] or UNNAMED
    return ["--no-autostart", f"--end-idle={IDLE_MIN}m", f"--started-by={agent}"]


def _environment() -> tuple[dict[str, str], str]:
    if (found := login_environment()) is not None:
        return found, FROM_SHELL
    return without_variables_of_agents(os.environ), FROM_HUB
