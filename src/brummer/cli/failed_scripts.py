"""The scripts that have failed, of all instances on this machine: `brum status` begins with them."""

import asyncio
from collections.abc import Iterator, Sequence
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple

from brummer.cli.colour import RED, Paint, shortened
from brummer.cli.instance_calls import InstanceCalls
from brummer.cli.process_table import ERROR_COLUMNS
from brummer.contract.processes import ShownProcess, processes_of
from brummer.core.errors import BrummerError
from brummer.discovery.owners import living_records
from brummer.discovery.record import Record
from brummer.settings.units import span

PATIENCE_S: Final = 1.0
"""An instance answers in milliseconds; one that is stopped must not delay the status, which names it."""
SHOWN: Final = 10
"""Half a screen; `brum ls` and `brum ps` have all."""


class FailedScript(NamedTuple):
    """A failed process, and the name of its instance."""

    instance: str
    process: ShownProcess


class FailedScripts:
    """Asks all instances, again and again over the same connections."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._calls: dict[str, InstanceCalls] = {}

    async def ask(self) -> list[FailedScript]:
        """Those of the instances that answer, by instance and name."""
        records = await asyncio.to_thread(living_records, self._directory)
        found = await asyncio.gather(*map(self._failed_of, records))
        return sorted((each for some in found for each in some), key=lambda each: (each.instance, each.process.name))

    def close(self) -> None:
        for calls in self._calls.values():
            calls.close()

    async def _failed_of(self, record: Record) -> list[FailedScript]:
        calls = self._calls.setdefault(record.generation, InstanceCalls(partial(_known, record)))
        try:
            result = await calls.result("scripts_status", b"{}", PATIENCE_S, 0.0)
        except BrummerError:
            return []
        processes = processes_of(result.get("structuredContent", {}))
        return [FailedScript(record.name, process) for process in processes if process.has_failed]


def _known(record: Record) -> Record:
    return record


def lines_of(failed: Sequence[FailedScript], now: datetime, paint: Paint) -> Iterator[str]:
    """A line for each: what, where, how, when and why."""
    for instance, process in failed[:SHOWN]:
        ended = process.ended_at
        ago = f", {span(max(0.0, (now - ended).total_seconds()))} ago" if ended else ""
        why = f": {shortened(process.problem, ERROR_COLUMNS)}" if process.problem else ""
        says = f"{shortened(process.name)} of {shortened(instance)}: {process.outcome}{ago}{why}"
        yield paint.styled(paint.foreign(says), RED)
    if len(failed) > SHOWN:
        yield f"and {len(failed) - SHOWN} more scripts that have failed"


def gist_of(failed: Sequence[FailedScript]) -> object:
    """A value that differs when there is something new to show: without ages."""
    return [(each.instance, each.process.process_id, each.process.outcome) for each in failed]
