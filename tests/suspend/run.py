"""``make suspend-test``: a real kernel is suspended in QEMU, with a hub, two instances and calls under way in it.

Theory of operation: `fetch` sees to QEMU and a kernel, `initramfs` packs Brummer as it stands here with Debian's
Python, `machine` runs it all in software emulation, without KVM, root or anything installed. Inside,
`guest/scenario.py` goes through the scenarios and measures; here is what can only be done from outside: wake it, press
its power button, stop it for a while. Then the table, and whether it is as it should be.

Names of scenarios as arguments run these only, and leave reports/suspend.md as it is. Exit status: 0 when all is well,
1 when something is not, 2 when this machine can't do it.
"""

import asyncio
import signal
import sys
import tempfile
import time
from collections.abc import Coroutine, Sequence
from pathlib import Path
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "bench"))
from tables import Report

from tests.suspend.fetch import Kit, Unavailable, kit
from tests.suspend.initramfs import build
from tests.suspend.machine import Machine, MachineFailed, booted
from tests.suspend.measured import EXPECTED, MEANING, MISSING, USABLE_MS, Measured

LIMIT_S: Final = 240
"""For the machine, from power on to power off; some 100 s on two cores."""

HEADER: Final = (
    *("scenario", "away s", "noticed as", "noticed after ms", "links ready after ms", "calls pass after ms"),
    *("re-dialled without need", "breakers opened", "calls answered once"),
)


class Run:
    """One machine's scenarios: what they measured, and what was wrong beside that."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self._started_s = time.monotonic()
        self._helping: set[asyncio.Task[None]] = set()
        self.results: list[Measured] = []
        self.faults: list[str] = []

    async def follow(self) -> None:
        """Do what the guest asks for, until it has come to its end. Raises `MachineFailed`."""
        async for message in self._machine.channel:
            match message:
                case {"want": what, "seconds": seconds}:
                    await self._help(what, seconds)
                case {"result": members}:
                    self._result(Measured.from_json(members))
                case {"say": text}:
                    self.say(text)
                case {"end": faults}:
                    self.faults += faults
                    return
                case {"failed": text}:
                    raise MachineFailed(f"inside the guest:\n{text}")
        raise MachineFailed("the guest ended before its end")

    def say(self, text: str) -> None:
        say(f"{time.monotonic() - self._started_s:6.1f} s  {text}")

    def _result(self, measured: Measured) -> None:
        self.results.append(measured)
        self.say(f"{measured.scenario}: {'; '.join(measured.faults()) or 'as it should be'}")

    async def _help(self, what: str, seconds: float) -> None:
        """The guest waits to hear that it was heard; of a pause it hears when it is over."""
        since = len(self._machine.log)
        match what:
            case "pause":
                await self._machine.command("stop")
                await asyncio.sleep(seconds)
                await self._machine.command("cont")
            case "wake":
                self._later(self._once_asleep("QMP SUSPEND", since, seconds, "system_wakeup"))
            case "press":
                self._later(self._once_asleep("PM: suspend entry (s2idle)", since, seconds, "system_powerdown"))
        await self._machine.channel.send(heard=what)

    async def _once_asleep(self, sign: str, since: int, seconds: float, command: str) -> None:
        await self._machine.heard(sign, since)
        await asyncio.sleep(seconds)
        try:
            await self._machine.command(command)
        except MachineFailed as error:  # it was awake before its time
            self.faults.append(str(error))

    def _later(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._helping.add(task)
        task.add_done_callback(self._helping.discard)


async def run(parts: Kit, folder: Path, names: Sequence[str]) -> Run:
    """Raises `MachineFailed`, and TimeoutError."""
    async with booted(parts, build(parts, folder), names) as machine:
        running = Run(machine)
        try:
            async with asyncio.timeout(LIMIT_S):
                await running.follow()
        except (MachineFailed, TimeoutError):
            say(f"the last of its console and its events:\n{machine.last_words()}")
            raise
    return running


def tell(report: Report, kernel: str, results: Sequence[Measured], faults: Sequence[str]) -> None:
    report.table(f"Linux {kernel} in QEMU, software emulation: two instances, a hub, a client", HEADER, rows(results))
    meanings = [(name, MEANING[name], " or ".join(sorted(EXPECTED[name])) or "nothing") for name in EXPECTED]
    report.table(
        "The scenarios, and as what the hub may notice them", ("scenario", "what happens", "noticed as"), meanings
    )
    wrong = [(fault,) for fault in faults] or [("nothing",)]
    report.table(f"What is wrong; calls must pass within {USABLE_MS} ms", ("problem",), wrong)


def rows(results: Sequence[Measured]) -> list[tuple[object, ...]]:
    return [
        (
            *(each.scenario, each.away_s, each.told(), _shown(each.noticed_ms)),
            *(_shown(each.ready_ms), _shown(each.usable_ms), each.redialled, each.breakers),
            f"{each.once}/{each.calls}",
        )
        for each in results
    ]


def _shown(value: int | None) -> object:
    return MISSING if value is None else value


def say(text: str) -> None:
    print(f"suspend: {text}", file=sys.stderr, flush=True)  # noqa: T201 — it talks to a person


def main(names: list[str]) -> int:
    if unknown := set(names) - set(EXPECTED):
        say(f"unknown: {', '.join(sorted(unknown))}; there is {', '.join(EXPECTED)}")
        return 2
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _: sys.exit(128 + number))  # so that everything is cleaned up
    report = Report("suspend")
    try:
        parts = kit()
        with tempfile.TemporaryDirectory(prefix="brummer-suspend-") as folder:
            done = asyncio.run(run(parts, Path(folder), names or list(EXPECTED)))
    except Unavailable as error:
        say(str(error))
        return 2
    except (MachineFailed, TimeoutError) as error:
        say(str(error) or f"not at its end within {LIMIT_S} s")
        return 1
    faults = [f"{each.scenario}: {fault}" for each in done.results for fault in each.faults()] + done.faults
    tell(report, parts.kernel_release, done.results, faults)
    if not names:
        report.write()
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
