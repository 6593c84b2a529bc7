"""What is done when memory runs short: caches first, then new work; and back again."""

import asyncio
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest

from brummer.core.memory import COPIES, LARGE_BYTES, SAMPLE_EVERY_S, SHED_AGAIN_S, SHED_EVERY_S, Memory, MemoryFull
from brummer.host.memory import give_back, resident_bytes
from brummer.instance.keyed_calls import DidNotBegin, KeyedCalls
from brummer.instance.ledger import Ledger
from brummer.settings.limits import DEFAULTS, Limits
from brummer.settings.load import SettingsFile, gather
from brummer.settings.types import USER

from .test_hub import call, code_of, hub_with, served
from .test_instance_ledger import Counting, keyed

SOFT, HARD = 100, 200


class Machine:
    """Takes as much as the test says; ``sheds`` is what it can give up at once."""

    def __init__(self) -> None:
        self.used = 50
        self.can_shed = 0
        self.sheds = 0
        self.memory = Memory(SOFT, HARD, lambda: self.used, self._shed)

    def _shed(self) -> None:
        self.sheds += 1
        self.used -= self.can_shed

    @property
    def level(self) -> str:
        return self.memory.level


def test_between_the_limits_caches_are_given_up_now_and_then() -> None:
    machine = Machine()
    machine.memory.admit(0.0)
    assert (machine.sheds, machine.level) == (0, "well")
    machine.used = SOFT
    machine.memory.admit(1.0)
    machine.memory.sample(1.0 + SHED_EVERY_S / 2)
    assert (machine.sheds, machine.level) == (1, "soft")
    machine.memory.sample(1.0 + SHED_EVERY_S)
    assert machine.sheds == 2


def test_at_the_hard_limit_new_work_is_refused_until_there_is_room() -> None:
    machine = Machine()
    machine.used = HARD
    with pytest.raises(MemoryFull) as caught:
        machine.memory.admit(1.0)
    assert (caught.value.code, caught.value.retryable) == ("busy", True)
    assert caught.value.retry_after_s
    assert caught.value.context == {"memory_bytes": HARD, "limit_bytes": HARD}
    assert (machine.level, machine.memory.refused) == ("hard", 1)
    machine.used = 50
    machine.memory.admit(1.0 + SAMPLE_EVERY_S)
    assert machine.level == "well"


def test_what_was_shed_may_be_enough() -> None:
    machine = Machine()
    machine.used, machine.can_shed = HARD, HARD
    machine.memory.admit(1.0)
    assert machine.level == "well"


def test_a_large_message_is_let_in_only_with_room_for_its_copies_and_for_the_next_one() -> None:
    used = 0
    memory = Memory(SOFT << 20, HARD << 20, lambda: used, lambda: None)
    memory.admit(1.0, 10 << 20)
    used = (HARD - 2 * 10 * COPIES) << 20
    with pytest.raises(MemoryFull):
        memory.admit(1.0, 10 << 20)
    memory.admit(1.0, LARGE_BYTES - 1)
    memory.admit(1.0 + SAMPLE_EVERY_S)


def test_who_would_be_refused_has_caches_given_up_once_more_and_room_is_found_at_once() -> None:
    machine = Machine()
    machine.used = SOFT
    machine.memory.sample(1.0)
    machine.used = HARD
    with pytest.raises(MemoryFull):
        machine.memory.admit(1.0 + SHED_AGAIN_S / 2)
    machine.can_shed = HARD
    machine.memory.admit(1.0 + 2 * SHED_AGAIN_S)
    assert (machine.sheds, machine.level) == (2, "well")
    machine.used = HARD
    with pytest.raises(MemoryFull):
        machine.memory.admit(1.0 + 2.5 * SHED_AGAIN_S)
    machine.used = 0
    machine.memory.admit(1.0 + 2.6 * SHED_AGAIN_S)


def test_a_system_that_does_not_tell_limits_nothing() -> None:
    memory = Memory(SOFT, HARD, lambda: None, lambda: None)
    memory.admit(1.0)
    assert memory.level == "well"


def test_what_this_process_takes_is_known_and_can_be_given_back() -> None:
    before = resident_bytes()
    assert before is not None
    ballast = bytearray(64 << 20)
    ballast[::4096] = b"x" * len(ballast[::4096])
    with_ballast = resident_bytes()
    assert with_ballast is not None
    assert with_ballast - before > 48 << 20
    del ballast
    give_back()
    after = resident_bytes()
    assert after is not None
    assert with_ballast - after > 48 << 20


def test_results_that_no_hub_will_ask_for_are_forgotten_first() -> None:
    ledger = Ledger()
    for key, ended_s in (("old", 10.0), ("new", 90.0)):
        ledger.close(ledger.open(key), b"result", ended_s)
    ledger.shed(100.0, older_than_s=60.0)
    assert (ledger.find("old"), ledger.size_bytes) == (None, len(b"result"))
    assert ledger.may_have_forgotten(0)
    assert not ledger.may_have_forgotten(1)


async def test_an_instance_without_room_refuses_new_work_and_answers_for_what_it_has_run() -> None:
    full = False

    def admit(_: float) -> None:
        if full:
            raise MemoryFull("full", retry_after_s=1.0)

    tools = Counting()
    tools.may_end.set()
    calls = KeyedCalls(tools, frozenset(), admit=admit)
    first = await calls.call_tool(keyed("key-1"))
    full = True
    assert await calls.call_tool(keyed("key-1")) == first
    with pytest.raises(DidNotBegin) as refused:
        await calls.call_tool(keyed("key-2"))
    assert cast("Any", refused.value.data)["why"] == "no_room"
    unkeyed = msgspec.json.decode(await calls.call_tool(keyed(None)))
    assert unkeyed["structuredContent"]["error"]["code"] == "busy"
    await calls.close()


async def test_an_instance_without_room_refuses_the_request_of_a_read_not_the_call() -> None:
    def admit(_: float) -> None:
        raise MemoryFull("full", retry_after_s=1.0)

    calls = KeyedCalls(Counting(), frozenset({"count"}), admit=admit)
    with pytest.raises(DidNotBegin) as refused:  # an earlier request of this call may have run the tool
        await calls.call_tool(keyed("key-1"))
    assert cast("Any", refused.value.data)["why"] == "no_room"
    await calls.close()


def test_a_soft_limit_over_the_hard_one_is_an_error_and_neither_holds() -> None:
    chosen = gather([SettingsFile(Path("/p/.brum.toml"), 'logind = true\nmemory_soft = "2GiB"\n', USER)], {})
    assert (chosen.limits, chosen.logind) == (DEFAULTS, True)
    assert [(problem.line, problem.context["key"]) for problem in chosen.problems] == [(2, "memory_soft")]
    hard = gather([], {"BRUMMER_MEMORY_HARD": "128MiB"})
    assert [problem.context["key"] for problem in hard.problems] == ["BRUMMER_MEMORY_HARD"]
    both = gather([], {"BRUMMER_MEMORY_HARD": "128MiB", "BRUMMER_MEMORY_SOFT": "64MiB"})
    assert both.limits == Limits(memory_soft_bytes=64 << 20, memory_hard_bytes=128 << 20)


async def test_a_hub_without_room_refuses_calls_and_says_so_in_its_status(tmp_path: Path) -> None:
    async with served(tmp_path / "shop") as record, hub_with(record) as router:
        await call(router, "logs_tail", {})
        memory = router.instances.memory
        memory.hard_bytes = memory.soft_bytes = 1
        memory.sample(asyncio.get_running_loop().time())
        assert await code_of(router, "logs_tail", {}) == "busy"
        status = (await call(router, "hub_status", {}))["structuredContent"]
        assert "memory_full" in [problem["code"] for problem in status["problems"]]
        assert status["limits"]["in_use"]["memory_hard_bytes"] > 1
        memory.hard_bytes = memory.soft_bytes = 1 << 40
        memory.sample(asyncio.get_running_loop().time())
        assert (await call(router, "logs_tail", {}))["isError"] is False
