"""``brum --test-resource-limits``: see each limit hold, with the values in force; exit status 1 when one does not."""

import asyncio
import contextlib
import os
import signal
import sys
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, Final

import msgspec

from brummer.cli.messages import say
from brummer.cli.table import print_table
from brummer.core import json_text
from brummer.host import loop
from brummer.host.descriptors import descriptor_limit, raise_descriptor_limit
from brummer.host.settings_files import read_settings
from brummer.limit_tests import calls, files, journal, ledger, memory, output, sizes
from brummer.limit_tests.finding import Finding, Measured, all_held, judged
from brummer.limit_tests.world import World
from brummer.settings.table import BY_KEY, TABLE, Flags, Settings
from brummer.settings.types import SIZE

DRIVE_S: Final = 30.0
"""For one limit; each takes a second or two."""
DESCRIPTORS: Final = 4_096
"""For the sockets of as many calls as are made at once, in the instances that we run ourselves."""
OTHER_DESCRIPTORS: Final = 120
"""Those of the instances themselves."""

COLUMNS: Final = ("LIMIT", "SET", "REACHED", "THE EXCESS GOT", "RECOVERED", "")
MIB: Final = 1024**2
MARKS: Final = {"held": "held", "broken": "DID NOT HOLD", "skipped": "skipped"}


class Drive(msgspec.Struct, frozen=True):
    """How the limit of a setting is tested. A larger value than ``most`` is tested with that one, and said to be.

    ``is_of_calls``: it takes a descriptor for each, which may be few.
    """

    key: str
    run: Callable[[World, Any], Awaitable[Measured]]
    most: float
    is_of_calls: bool = False

    def tested(self, value: float) -> float:
        """What is tested for this value."""
        room = max(4, descriptor_limit() - OTHER_DESCRIPTORS) if self.is_of_calls else value
        return min(value, self.most, room)


DRIVES: Final = (
    Drive("max_connections", calls.connections, calls.PER_INSTANCE, is_of_calls=True),
    Drive("max_in_flight", calls.in_flight, calls.INSTANCES * calls.PER_INSTANCE, is_of_calls=True),
    Drive("max_in_flight_per_instance", calls.in_flight_per_instance, calls.PER_INSTANCE, is_of_calls=True),
    Drive("max_waiting_per_instance", calls.waiting_per_instance, calls.PER_INSTANCE, is_of_calls=True),
    Drive("max_queued_per_instance", calls.queued_per_instance, 5_000),
    Drive("max_parked", calls.parked, calls.PER_INSTANCE, is_of_calls=True),
    Drive("max_reply", sizes.reply, 64 * MIB),
    Drive("max_request", sizes.request, 64 * MIB),
    Drive("ledger_entries", ledger.entries, 5_000),
    Drive("ledger_size", ledger.size, 64 * MIB),
    Drive("ledger_age", ledger.age, 1.0),
    Drive("output_size", output.size, 64 * MIB),
    Drive("journal_size", journal.size, 32 * MIB),
    Drive("memory_soft", memory.soft, 128 * MIB),
    Drive("memory_hard", memory.hard, 128 * MIB),
    *([Drive("open_files", files.open_files, calls.PER_INSTANCE - calls.EXCESS)] if sys.platform == "linux" else []),
)

NOT_DRIVEN: Final = {} if sys.platform == "linux" else {"open_files": "only Linux tells how many there are"}
"""Why the limits that have no drive are left out."""


def run(directory: Path, flags: Flags, *, as_json: bool) -> int:
    """Test all limits with the values that hold in this directory; returns the exit status."""
    settings = read_settings(directory.resolve(), os.environ, flags)
    for problem in (*settings.problems, *settings.warnings):
        say(problem.message)
    if settings.problems:
        return 1
    raise_descriptor_limit(DESCRIPTORS)
    if sys.stderr.isatty():
        say("this takes about 20 seconds")
    findings: list[Finding] = []
    with tempfile.TemporaryDirectory(prefix="brum-limits-") as temporary:
        status = loop.run(_test(settings, World(Path(temporary).resolve(), os.environ), findings))
    if status:
        return status
    if as_json:
        print(json_text.indented({"limits": findings}))
    else:
        _print(findings)
    for finding in findings:
        if finding.verdict == "broken":
            say(f"{finding.key} did not hold: {finding.why}")
    return 0 if all_held(findings) else 1


async def _test(settings: Settings, world: World, findings: list[Finding]) -> int:
    """Fills in ``findings``; returns 130 when it was interrupted."""
    this = asyncio.current_task()
    assert this is not None  # noqa: S101 — it runs
    with _interrupting(this):
        try:
            for drive in DRIVES:
                value = settings.value_of(BY_KEY[drive.key])
                findings.append(await _driven(drive, value, world))
        except asyncio.CancelledError:
            return 130
    findings += [
        Finding(setting.key, settings.value_of(setting), "skipped", why)
        for setting in TABLE
        if (why := NOT_DRIVEN.get(setting.key))
    ]
    return 0


async def _driven(drive: Drive, value: float, world: World) -> Finding:
    """What goes wrong on the way is told of the limit that was tested."""
    try:
        async with asyncio.timeout(DRIVE_S):
            return judged(drive.key, value, await drive.run(world, drive.tested(value)))
    except TimeoutError:
        return Finding(drive.key, value, "broken", f"the test was not over within {DRIVE_S:g} s")
    except Exception as error:  # noqa: BLE001 — the barrier: whatever a hub does here, the others are still tested
        return Finding(drive.key, value, "broken", f"the test could not be carried out: {error!r}")


@contextlib.contextmanager
def _interrupting(task: "asyncio.Task[int]") -> Iterator[None]:
    """Ctrl-C and SIGTERM end what was started here, and then us."""
    running = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        running.add_signal_handler(number, task.cancel)
    yield


def _print(findings: list[Finding]) -> None:
    print_table([COLUMNS, *map(_row, findings)])
    for finding in findings:
        if finding.was_scaled_down and finding.measured is not None:
            shown = BY_KEY[finding.key].kind.shown
            tested = shown(finding.measured.tested)
            print(
                f"{finding.key}: {shown(finding.value)} is more than can be tested here; it was tested with {tested}."
            )


def _row(finding: Finding) -> tuple[str, ...]:
    shown, measured = BY_KEY[finding.key].kind.shown, finding.measured
    mark = MARKS[finding.verdict] + (f": {finding.why}" if finding.verdict == "skipped" else "")
    if measured is None:
        return finding.key, shown(finding.value), "-", "-", "-", mark
    got = ", ".join(f"{count} {code}" for code, count in measured.got.items())
    recovered = "yes" if measured.recovered else "no"
    return finding.key, shown(finding.value), _about(finding.key, measured.reached), got or "nothing", recovered, mark


def _about(key: str, reached: float) -> str:
    """Sizes that were measured are no round numbers."""
    kind = BY_KEY[key].kind
    return f"{reached / MIB:.2f}MiB" if kind is SIZE else kind.shown(reached)
