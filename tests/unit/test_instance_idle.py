"""An instance that was started for an agent ends when nobody needs it. In virtual time."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from brummer.instance.idle import Signs, until_idle
from brummer.testing.virtual_time import START_S, VirtualLoop

HALF_HOUR_S = 1800.0
LOOK_S = 60.0
"""Between two looks."""


class Needed:
    """What shows that an instance is needed."""

    def __init__(self) -> None:
        self.runs = False
        self.calls = 0
        self.daemons = 0
        self.daemon_scans = 0

    async def has_daemons(self) -> bool:
        self.daemon_scans += 1
        self.daemons -= 1
        return self.daemons >= 0

    async def ended_after_s(self) -> float:
        await until_idle(HALF_HOUR_S, Signs(lambda: self.runs, lambda: self.calls, self.has_daemons))
        return asyncio.get_running_loop().time() - START_S


def in_virtual_time(main: Coroutine[Any, Any, float]) -> float:
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)


def test_an_instance_that_nobody_uses_ends_after_half_an_hour() -> None:
    needed = Needed()
    assert in_virtual_time(needed.ended_after_s()) == pytest.approx(HALF_HOUR_S, abs=LOOK_S)
    assert needed.daemon_scans == 1


def test_the_time_begins_anew_with_each_call() -> None:
    needed = Needed()

    async def calls() -> float:
        loop = asyncio.get_running_loop()
        for minute in (10, 35, 64):
            loop.call_at(START_S + 60 * minute, lambda: setattr(needed, "calls", needed.calls + 1))
        return await needed.ended_after_s()

    ended_s = in_virtual_time(calls())
    assert 64 * 60 + HALF_HOUR_S <= ended_s <= 64 * 60 + HALF_HOUR_S + 2 * LOOK_S


def test_a_script_that_runs_keeps_it_and_the_time_begins_at_its_end() -> None:
    needed = Needed()
    needed.runs = True

    async def runs() -> float:
        asyncio.get_running_loop().call_later(86_400, lambda: setattr(needed, "runs", False))
        return await needed.ended_after_s()

    assert 86_400 + HALF_HOUR_S - LOOK_S <= in_virtual_time(runs()) <= 86_400 + HALF_HOUR_S + LOOK_S


def test_a_daemon_that_a_script_has_left_behind_keeps_it() -> None:
    needed = Needed()
    needed.daemons = 3
    assert in_virtual_time(needed.ended_after_s()) == pytest.approx(4 * HALF_HOUR_S, abs=4 * LOOK_S)
    assert needed.daemon_scans == 4, "all processes are scanned once in half an hour"


def test_a_call_during_the_scan_for_daemons_keeps_it() -> None:
    class Late(Needed):
        async def has_daemons(self) -> bool:
            self.calls += self.daemon_scans == 0
            return await super().has_daemons()

    needed = Late()
    assert in_virtual_time(needed.ended_after_s()) == pytest.approx(2 * HALF_HOUR_S, abs=2 * LOOK_S)
