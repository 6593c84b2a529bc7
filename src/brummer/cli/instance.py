"""``brum``: run this project's instance, and print what its scripts print."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator, Iterable
from typing import Final

import msgspec

from brummer.cli.colour import Paint, Prefixes, wants_colours
from brummer.cli.messages import say, say_later
from brummer.core.background_writer import BackgroundWriter
from brummer.core.errors import BrummerError
from brummer.host import loop
from brummer.host.settings_files import read_settings
from brummer.instance.service import Instance, Options, running_instance
from brummer.logs.output import Batch
from brummer.settings.limits import Limits
from brummer.settings.table import Flags

WAITING_LIMIT: Final = 8 << 20
"""Characters of output that may wait for the reader: as much as the instance itself keeps."""


def run(
    options: Options,
    scripts: Iterable[str],
    *,
    flags: Flags,
    as_json: bool,
    no_color: bool,
    metrics: tuple[str, int] | None,
) -> int:
    """Run until SIGTERM or Ctrl-C; returns the exit status, 1 when a script that was named could not be started, or
    a setting not be understood.
    """
    settings = read_settings(options.project.resolve(), os.environ, flags)
    for problem in (*settings.problems, *settings.warnings):
        say(problem.message)
    if settings.problems:
        return 1
    printer = _JsonPrinter() if as_json else _Printer(no_color=no_color)
    return loop.run(_serve(options, settings.limits, list(scripts), printer, metrics))


async def _serve(
    options: Options, limits: Limits, scripts: list[str], printer: "_Printer", metrics: tuple[str, int] | None
) -> int:
    ended = asyncio.Event()
    _on_signals(ended)
    async with (
        running_instance(options, os.environ, limits=limits) as instance,
        _serving_metrics(metrics, instance) as problem,
    ):
        instance.manager.output.follow(printer.print)
        await _announce(instance)
        if problem is not None:
            say_later(problem.message)
        problems = await instance.start_scripts(scripts)
        for each in problems:
            say_later(each.message)
        await ended.wait()
        say_later("stopping")
    await asyncio.to_thread(printer.close)
    return 1 if problems else 0


@contextlib.asynccontextmanager
async def _serving_metrics(address: tuple[str, int] | None, instance: Instance) -> AsyncIterator[BrummerError | None]:
    """What is wrong with it, if anything is. Without an address nothing of it is loaded."""
    if address is None:
        yield None
        return
    from brummer.cli.ports import port_of
    from brummer.telemetry.metrics_server import serving_metrics

    async with serving_metrics(port_of(address), instance.families, os.getpid()) as problem:
        yield problem


def _on_signals(ended: asyncio.Event) -> None:
    """The first asks for an orderly end; a second Ctrl-C ends us on the spot, and the guard ends the scripts."""
    running = asyncio.get_running_loop()

    def end(number: int) -> None:
        ended.set()
        if number == signal.SIGINT:
            running.remove_signal_handler(number)
            signal.signal(number, signal.SIG_DFL)

    for number in (signal.SIGINT, signal.SIGTERM):
        running.add_signal_handler(number, end, number)
    running.add_signal_handler(signal.SIGHUP, end, signal.SIGHUP)  # the terminal was closed


async def _announce(instance: Instance) -> None:
    record = instance.record
    say_later(f"{record.name} ({record.instance_id}) answers MCP at {record.url}")
    listing = await asyncio.to_thread(instance.scripts.read)
    for problem in listing.problems:
        place = problem.source if problem.line is None else f"{problem.source}:{problem.line}"
        say_later(f"{place}: {problem.message}")
    say_later(f"scripts: {', '.join(listing.scripts) or 'none found'}; Ctrl-C stops everything")


class _Printer:
    """Lines with the script's name in front, aligned, each name in a colour of its own on a terminal."""

    def __init__(self, *, no_color: bool = False) -> None:
        self._paint = Paint(colourful=wants_colours(sys.stdout, os.environ, no_color=no_color))
        self._prefix = Prefixes(self._paint)
        self._output = BackgroundWriter(sys.stdout, "standard output", WAITING_LIMIT)
        self._output.start()  # now, because a script may use up all threads
        self.close = self._output.flush

    def print(self, batch: Batch) -> None:
        """In one write: a flood must not cost one for each line."""
        prefix = self._prefix(batch.process)
        texts = map(self._paint.foreign, batch.raw) if self._paint.is_colourful else (line.text for line in batch.lines)
        self._output.write("".join(f"{prefix} {text}\n" for text in texts))


class _JsonPrinter(_Printer):
    """With ``--log-json``: one JSON object a line."""

    def print(self, batch: Batch) -> None:
        self._output.write("".join(f"{msgspec.json.encode(line).decode()}\n" for line in batch.lines))
