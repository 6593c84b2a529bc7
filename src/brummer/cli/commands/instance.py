"""``brum``: run this project's instance, and print the output of its scripts and what happens to them."""

import argparse
import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator
from functools import partial
from typing import Final

import msgspec

from brummer.cli import options
from brummer.cli.colour import Prefixes, some
from brummer.cli.messages import say_later
from brummer.cli.run_events import PREFIX, RunEvents, shown
from brummer.core.background_writer import BackgroundWriter
from brummer.core.errors import BrummerError
from brummer.host import loop
from brummer.instance.changes import Published
from brummer.instance.service import Instance, Options, running_instance
from brummer.logs.output import Batch
from brummer.settings.limits import Limits
from brummer.settings.units import span

WAITING_LIMIT: Final = 8 << 20
"""Characters of output that may wait for the reader: as much as the instance itself keeps."""


def run(chosen: argparse.Namespace, limits: Limits) -> int:
    """Run until SIGTERM or Ctrl-C; returns the exit status: 1 when a named script could not be started."""
    return loop.run(_serve(chosen, limits, _Printer(chosen)))


async def _serve(chosen: argparse.Namespace, limits: Limits, printer: "_Printer") -> int:
    ended = asyncio.Event()
    _end_on_signals(ended)
    async with (
        running_instance(
            Options(chosen.dir, chosen.port, chosen.name, chosen.started_by), os.environ, limits=limits
        ) as instance,
        _serving_metrics(chosen.metrics, instance) as problem,
    ):
        instance.manager.output.follow(printer.print)
        instance.manager.changes.listen(printer.print_event)
        await _announce(instance)
        if problem is not None:
            say_later(problem.message)
        problems = await instance.start_scripts(chosen.scripts, autostart=not chosen.no_autostart)
        for each in problems:
            say_later(each.message)
        if chosen.end_idle is not None:
            instance.when_idle(chosen.end_idle, partial(_end_idle, ended, chosen.end_idle))
        await ended.wait()
        say_later("stopping")
    await asyncio.to_thread(printer.close)
    return 1 if problems else 0


@contextlib.asynccontextmanager
async def _serving_metrics(address: tuple[str, int] | None, instance: Instance) -> AsyncIterator[BrummerError | None]:
    """Yields why they can't be served, if they can't. Without an address nothing is loaded."""
    if address is None:
        yield None
        return
    from brummer.cli.ports import port_of
    from brummer.telemetry.metrics_server import serving_metrics

    async with serving_metrics(port_of(address), instance.families, os.getpid()) as problem:
        yield problem


def _end_on_signals(ended: asyncio.Event) -> None:
    """The first signal asks for an orderly end. A second Ctrl-C ends this process at once; then the guard stops the
    scripts.
    """
    running = asyncio.get_running_loop()

    def end(number: int) -> None:
        ended.set()
        if number == signal.SIGINT:
            running.remove_signal_handler(number)
            signal.signal(number, signal.SIG_DFL)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):  # SIGHUP: the terminal was closed
        running.add_signal_handler(number, end, number)


def _end_idle(ended: asyncio.Event, idle_s: float) -> None:
    say_later(f"no script has run, and no call has come, for {span(idle_s)}")
    ended.set()


async def _announce(instance: Instance) -> None:
    record = instance.record
    say_later(f"{record.name} ({record.instance_id}) is running")
    listing = await asyncio.to_thread(instance.scripts.read)
    for problem in listing.problems:
        place = problem.source if problem.line is None else f"{problem.source}:{problem.line}"
        say_later(f"{place}: {problem.message}")
    say_later(f"scripts: {some(list(listing.listed)) or 'none found'}; Ctrl-C stops everything")


class _Printer:
    """Prints lines with the script's name in front, in a colour of its own on a terminal, and what happens to the
    scripts; with ``--log-json`` one JSON object for each line, and for each change as `changes_since` returns it.
    """

    def __init__(self, chosen: argparse.Namespace) -> None:
        self._as_json = chosen.log_json
        self._paint = options.paint(chosen)
        self._prefix = Prefixes(self._paint, [PREFIX])
        self._events = RunEvents()
        self._output = BackgroundWriter(sys.stdout, "standard output", WAITING_LIMIT)
        self._output.start()  # now, because a script may use up all threads
        self.close = self._output.flush

    def print(self, batch: Batch) -> None:
        """Print all lines in one write: a flood must not cost one for each line."""
        if self._as_json:
            lines = (msgspec.json.encode(line).decode() for line in batch.lines)
        else:
            prefix = self._prefix(batch.process)
            texts = (
                map(self._paint.foreign, batch.raw) if self._paint.is_colourful else (each.text for each in batch.lines)
            )
            lines = (f"{prefix} {text}" for text in texts)
        self._output.write("".join(f"{line}\n" for line in lines))

    def print_event(self, published: Published) -> None:
        """Print what happened to a script, if its output does not show it."""
        if self._as_json:
            self._output.write(f"{msgspec.json.encode(published.change).decode()}\n")
            return
        for line in self._events.lines_of([msgspec.to_builtins(published.change)]):
            self._output.write(f"{self._prefix(PREFIX)} {shown(line, self._paint)}\n")
