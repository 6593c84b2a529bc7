"""Whole commands in this process: what a person types, what is printed, and the exit status."""

import contextlib
import gc
import logging
import signal
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from brummer.cli import dispatch
from brummer.cli.project import Project
from brummer.core import log


class Ran(NamedTuple):
    """The exit status of a command, and what it printed."""

    status: int
    out: str
    err: str


Brum = Callable[..., Ran]
"""Runs a command line."""


def own_surroundings(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home without settings; returns the directory of the records, which is empty."""
    directory = home / "instances"
    directory.mkdir(mode=0o700)
    monkeypatch.setenv("BRUMMER_INSTANCES_DIR", str(directory))
    monkeypatch.setenv("HOME", str(home))
    return directory


@contextlib.contextmanager
def commands_in_this_process(capsys: pytest.CaptureFixture[str]) -> Iterator[Brum]:
    """Restores what a command sets for its whole process."""
    root, numbers = logging.getLogger(), (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD)
    handlers, level, raises, threshold = root.handlers[:], root.level, logging.raiseExceptions, gc.get_threshold()
    actions = {number: signal.getsignal(number) for number in numbers}

    def run(*words: str) -> Ran:
        capsys.readouterr()
        status = dispatch.main(words)
        log.standard_error().flush()
        return Ran(status, *capsys.readouterr())

    try:
        yield run
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
        logging.raiseExceptions = raises
        gc.set_threshold(*threshold)
        gc.unfreeze()
        for number, action in actions.items():
            signal.signal(number, action)


NOW = datetime(2026, 11, 23, 14, 5, 0, tzinfo=UTC)


def process(name: str = "dev", status: str = "ready", **members: Any) -> dict[str, Any]:
    started_at = (NOW - timedelta(seconds=185)).isoformat().replace("+00:00", "Z")
    return {"process_id": f"{name}-1", "name": name, "status": status, "pid": 42, "urls": [], **members} | {
        "started_at": started_at
    }


class Answers(Project):
    """A project whose instance is a function from tool and arguments to the answer, or the error to raise."""

    def __init__(self, answer: Callable[[str, dict[str, Any]], Any]) -> None:
        self._answer = answer
        self.asked: list[tuple[str, dict[str, Any]]] = []

    async def call(self, tool: str, **arguments: object) -> dict[str, Any]:
        given = {key: value for key, value in arguments.items() if value is not None}
        self.asked.append((tool, given))
        answer = self._answer(tool, given)
        if isinstance(answer, Exception):
            raise answer
        result: dict[str, Any] = answer
        return result

    def another(self) -> Project:
        return self

    def close(self) -> None:
        """Nothing is open."""

    async def left_behind(self, tool: str, **arguments: object) -> dict[str, Any]:
        return await self.call(f"{tool} of the black box", **arguments)
