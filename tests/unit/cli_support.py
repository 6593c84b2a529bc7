"""Whole commands in this process: what a person types, what is printed, and the exit status."""

import contextlib
import gc
import logging
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from brummer.cli import dispatch
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
