"""The event loop: uvloop where it is installed, the standard one elsewhere, chosen in one place."""

import asyncio
import contextlib
import gc
import os
import signal
import sys
from collections.abc import Coroutine
from typing import Any, Final

GC_THRESHOLD: Final = 20_000
"""Allocations between collections: at 700, the default, every tenth call would pay for one."""


def run(main: Coroutine[Any, Any, int]) -> int:
    """Run a command's main coroutine to its exit status. ``BRUMMER_LOOP=asyncio`` forces the standard loop."""
    with contextlib.closing(main):  # Ctrl-C may come before it has begun
        _prepare()
        runner = asyncio.Runner(loop_factory=_loop_factory())
        try:
            return runner.run(main)
        finally:
            with contextlib.suppress(RuntimeError):  # no thread is left to wait for the others
                runner.close()


def _prepare() -> None:
    # An ignored SIGCHLD survives an exec; then the kernel would discard the exit status of every child.
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    # A blocked signal survives an exec, too, and would end neither this process nor its children.
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    gc.freeze()  # imported modules stay: no collection needs to visit them
    gc.set_threshold(GC_THRESHOLD)
    gc.enable()  # off since the start (`brummer.cli.start`)


def _loop_factory() -> Any:
    """The loop's time is awake time everywhere (`brummer.core.clock`)."""
    if sys.platform == "darwin" or os.environ.get("BRUMMER_LOOP") == "asyncio":
        return None  # libuv, and so uvloop, counts sleep on macOS: mach_continuous_time in its darwin.c
    try:
        import uvloop  # noqa: PLC0415 — optional
    except ImportError:
        return None
    return uvloop.new_event_loop
