"""``brum --test-resource-limits``: test each limit with the values in force; exit status 1 when one does not hold."""

import asyncio
import os
import sys
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

import msgspec

from brummer.cli.interrupts import until_interrupted
from brummer.cli.messages import print_json, say
from brummer.cli.progress import Progress
from brummer.cli.table import print_table
from brummer.host import loop
from brummer.host.descriptors import descriptor_limit, raise_descriptor_limit
from brummer.limit_tests import calls, files, journal, ledger, memory, output, sizes
from brummer.limit_tests.finding import LimitFinding, Measured, all_held, judged
from brummer.limit_tests.world import LimitTestWorld
from brummer.settings.table import BY_KEY, Settings
from brummer.settings.types import SIZE

TEST_S: Final = 30.0
"""The time limit of one test; each takes a second or two."""
INTERRUPTED: Final = 130
DESCRIPTORS: Final = 4_096
"""For the sockets of all simultaneous calls, in the instances that run in this process."""
OTHER_DESCRIPTORS: Final = 120
"""Descriptors of the instances for anything else."""

COLUMNS: Final = ("LIMIT", "SET", "REACHED", "THE EXCESS GOT", "RECOVERED", "")
MIB: Final = 1024**2
MARKS: Final = {"held": "held", "broken": "DID NOT HOLD", "skipped": "skipped"}


class LimitTest(msgspec.Struct, frozen=True):
    """How the limit of a setting is tested. For a value above ``most``, ``most`` is tested, and the output says so.

    ``is_of_calls``: the test needs a descriptor for each call.
    """

    key: str
    run: Callable[[LimitTestWorld, Any], Awaitable[Measured]]
    most: float
    is_of_calls: bool = False

    def tested(self, value: float) -> float:
        """The value that is tested instead of this one."""
        available = max(4, descriptor_limit() - OTHER_DESCRIPTORS) if self.is_of_calls else value
        return min(value, self.most, available)


LIMIT_TESTS: Final = (
    LimitTest("max_connections", calls.connections, calls.PER_INSTANCE, is_of_calls=True),
    LimitTest("max_in_flight", calls.in_flight, calls.INSTANCES * calls.PER_INSTANCE, is_of_calls=True),
    LimitTest("max_in_flight_per_instance", calls.in_flight_per_instance, calls.PER_INSTANCE, is_of_calls=True),
    LimitTest("max_waiting_per_instance", calls.waiting_per_instance, calls.PER_INSTANCE, is_of_calls=True),
    LimitTest("max_queued_per_instance", calls.queued_per_instance, 5_000),
    LimitTest("max_parked", calls.parked, calls.PER_INSTANCE, is_of_calls=True),
    LimitTest("max_reply", sizes.reply, 64 * MIB),
    LimitTest("max_request", sizes.request, 64 * MIB),
    LimitTest("ledger_entries", ledger.entries, 5_000),
    LimitTest("ledger_size", ledger.size, 64 * MIB),
    LimitTest("ledger_age", ledger.age, 1.0),
    LimitTest("output_size", output.size, 64 * MIB),
    LimitTest("journal_size", journal.size, 32 * MIB),
    LimitTest("memory_soft", memory.soft, 128 * MIB),
    LimitTest("memory_hard", memory.hard, 128 * MIB),
    *(
        [LimitTest("open_files", files.open_files, calls.PER_INSTANCE - calls.EXCESS)]
        if sys.platform == "linux"
        else []
    ),
)

NOT_TESTED: Final = {} if sys.platform == "linux" else {"open_files": "only Linux shows how many files are open"}
"""Why limits without a test are skipped."""


def run(settings: Settings, *, as_json: bool) -> int:
    """Test all limits with these values; returns the exit status."""
    raise_descriptor_limit(DESCRIPTORS)
    findings: list[LimitFinding] = []
    with tempfile.TemporaryDirectory(prefix="brum-limits-") as temporary:
        if loop.run(_run(settings, LimitTestWorld(Path(temporary).resolve(), os.environ), findings)):
            return INTERRUPTED
    if as_json:
        print_json({"limits": findings})
    else:
        print_findings(findings)
    for finding in findings:
        if finding.verdict == "broken":
            say(f"{finding.key} did not hold: {finding.why}")
    return 0 if all_held(findings) else 1


async def _run(settings: Settings, world: LimitTestWorld, findings: list[LimitFinding]) -> bool:
    """Fill ``findings``; whether a signal interrupted it."""
    return await until_interrupted(_test_all(settings, world, findings))


async def _test_all(settings: Settings, world: LimitTestWorld, findings: list[LimitFinding]) -> None:
    with Progress(sys.stderr, os.environ) as progress:
        for n, test in enumerate(LIMIT_TESTS, 1):
            progress.show(f"testing {test.key} ({n} of {len(LIMIT_TESTS)})")
            findings += [await _tested(test, settings.value_of(BY_KEY[test.key]), world)]
    findings += [LimitFinding(key, settings.value_of(BY_KEY[key]), "skipped", why) for key, why in NOT_TESTED.items()]


async def _tested(test: LimitTest, value: float, world: LimitTestWorld) -> LimitFinding:
    """A failed test is a finding about its limit."""
    try:
        async with asyncio.timeout(TEST_S):
            return judged(test.key, value, await test.run(world, test.tested(value)))
    except TimeoutError:
        return LimitFinding(test.key, value, "broken", f"the test did not end within {TEST_S:g} s")
    except Exception as error:  # noqa: BLE001 - a barrier: the other limits are still tested
        return LimitFinding(test.key, value, "broken", f"the test failed: {error!r}")


def print_findings(findings: list[LimitFinding]) -> None:
    print_table([COLUMNS, *map(_row, findings)])
    for finding in findings:
        if finding.was_scaled_down and finding.measured is not None:
            shown = BY_KEY[finding.key].kind.shown
            tested = shown(finding.measured.tested)
            print(f"{finding.key}: {shown(finding.value)} can't be tested here; it was tested with {tested}.")


def _row(finding: LimitFinding) -> tuple[str, ...]:
    shown, measured = BY_KEY[finding.key].kind.shown, finding.measured
    mark = MARKS[finding.verdict] + (f": {finding.why}" if finding.verdict == "skipped" else "")
    if measured is None:
        return finding.key, shown(finding.value), "-", "-", "-", mark
    got = ", ".join(f"{count} {code}" for code, count in measured.got.items())
    recovered = "yes" if measured.recovered else "no"
    return finding.key, shown(finding.value), _reached(finding.key, measured.reached), got or "nothing", recovered, mark


def _reached(key: str, reached: float) -> str:
    """Measured sizes are no round numbers."""
    kind = BY_KEY[key].kind
    return f"{reached / MIB:.2f}MiB" if kind is SIZE else kind.shown(reached)
