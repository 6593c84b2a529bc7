"""The system interface: everything that can fail outside this process, one small Protocol per subject (`subjects`).

Logic gets a `System` and calls nothing else that can fail. `real_system` builds the real one, mostly from modules of
the standard library and of this package. They match these Protocols unchanged, so the interface costs nothing.
`brummer.testing` has the in-memory ones. Two subjects belong to the event loop, which is passed in as well: readiness
of sockets and timers, and work in threads (`asyncio.to_thread`).
"""

from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING, Any

import msgspec

from brummer.core.clock import Clock

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop

    from brummer.host.directory_events import EventSource
    from brummer.host.subjects import (
        DescriptorLimits,
        DirectoryEntry,
        Files,
        Filesystems,
        Locks,
        Processes,
        ProcessMemory,
        Sockets,
    )
else:  # unused at run time; as classes they would take 50 KiB of each process
    DescriptorLimits = DirectoryEntry = Files = Filesystems = Locks = ProcessMemory = Processes = Sockets = Any

__all__ = [
    "DescriptorLimits",
    "DirectoryEntry",
    "Files",
    "Filesystems",
    "Locks",
    "ProcessMemory",
    "Processes",
    "Sockets",
    "System",
]


class System(msgspec.Struct, frozen=True):
    """All subjects, as one process sees them. ``random`` is for jitter, never for secrets.

    ``sockets`` None: the sockets of this machine, which `brummer.wire.http.dialling` makes.
    """

    files: Files
    locks: Locks
    filesystems: Filesystems
    processes: Processes
    sockets: Sockets | None
    descriptors: DescriptorLimits
    memory: ProcessMemory
    clock: Clock
    random: Random
    directory_events: "Callable[[AbstractEventLoop], EventSource]"
