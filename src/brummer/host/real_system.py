"""The system that this process runs on. Composition roots pass it down; only tests and the simulator pass another."""

import fcntl
import os
from random import Random
from typing import TYPE_CHECKING, Final

from brummer.host import clocks, descriptors, filesystems, memory
from brummer.host.exits import SYSTEM_PROCESSES
from brummer.host.system import System

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop

    from brummer.host.directory_events import EventSource


def _directory_events(loop: "AbstractEventLoop") -> "EventSource":
    from brummer.host.directory_events import source_for  # noqa: PLC0415 — an instance watches none

    return source_for(loop)


REAL: Final = System(
    files=os,
    locks=fcntl,
    filesystems=filesystems,
    processes=SYSTEM_PROCESSES,
    sockets=None,
    descriptors=descriptors,
    memory=memory,
    clock=clocks,
    random=Random(),  # noqa: S311 — jitter, not a secret
    directory_events=_directory_events,
)
