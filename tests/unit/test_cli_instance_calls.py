"""Calls of a command to its instance: what is repeated, and how a lost, silent or stopped instance is reported."""

import asyncio
import logging
from itertools import repeat
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest

from brummer.cli import instance_calls
from brummer.cli.instance_calls import ATTEMPTS, InstanceCalls, InstanceStopped, NothingRuns, Unanswered
from brummer.core.errors import BadAnswer, ConnectionClosed, ConnectionRefused
from brummer.discovery.record import Record
from brummer.discovery.registrar import describe_self
from brummer.link.call import Call
from brummer.link.errors import NotBegun, OutcomeUnknown
from brummer.link.peer import OTHER_NETWORK
from brummer.peers.instance_client import InstanceClient
from brummer.wire.mcp.not_begun import NotBegunData

RECORD = describe_self(Path("/shop"), generation="g" * 16, url="http://127.0.0.1:7777/mcp", token="t" * 40)


class Target:
    def __init__(self, condition: str, generation: str, *, in_other_network: bool = False) -> None:
        self._condition = condition
        self.generation = generation
        self.in_other_network = in_other_network

    def condition(self) -> str:
        return self._condition


class Instance:
    """Each connection and each call meets the next of these: an error to raise, or what the call returns."""

    def __init__(self, *script: object, condition: str = "idle", in_other_network: bool = False) -> None:
        self.script = iter(script)
        self.condition = condition
        self.in_other_network = in_other_network
        self.calls: list[Call] = []
        self.connections = 0

    def client(self, record: Record) -> InstanceClient:
        return cast("InstanceClient", Client(self, record))


class Client:
    def __init__(self, instance: Instance, record: Record) -> None:
        self.record, self._instance, self.is_open = record, instance, False
        self.target = Target(instance.condition, record.generation, in_other_network=instance.in_other_network)

    async def prove(self) -> None:
        self._instance.connections += 1
        self._met()
        self.is_open = True

    async def call(self, call: Call) -> bytes:
        self._instance.calls.append(call)
        if (met := self._met()) is None:
            await asyncio.Event().wait()
        return msgspec.json.encode(met)

    def _met(self) -> object:
        met = next(self._instance.script)
        if isinstance(met, Exception):
            raise met
        return met

    def close(self) -> None:
        self.is_open = False


PROVEN = "proven"
LOST = ConnectionClosed("the peer closed the connection", sent=True)
REFUSED = ConnectionRefused("refused")


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(instance_calls, "RETRY_S", 0.0)


def calls_of(instance: Instance, *records: Record | None, return_s: float = 0.0) -> InstanceCalls:
    """``records``: what is found, one after the other; the last one for ever."""
    found = list(records or [RECORD])

    def find() -> Record:
        record = found.pop(0) if len(found) > 1 else found[0]
        if record is None:
            raise NothingRuns("nothing runs")
        return record

    return InstanceCalls(find, return_s, instance.client)


async def ask(calls: InstanceCalls, tool: str = "scripts_status", patience_s: float = 30.0) -> dict[str, Any]:
    return await calls.result(tool, b"{}", patience_s, 0.0)


async def test_calls_share_one_connection_on_which_the_run_has_proven_its_identity() -> None:
    instance = Instance(PROVEN, {"n": 1}, {"n": 2})
    calls = calls_of(instance)
    assert [await ask(calls), await ask(calls)] == [{"n": 1}, {"n": 2}]
    assert instance.connections == 1
    assert instance.calls[0].key != instance.calls[1].key != ""


async def test_the_log_has_each_call_and_each_lost_connection(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    await ask(calls_of(Instance(REFUSED, PROVEN, LOST, PROVEN, {"n": 1})))
    logged = [record.__dict__["fields"] for record in caplog.records if "fields" in record.__dict__]
    assert [(each["event"], each["code"]) for each in logged] == [
        ("connection_failed", REFUSED.code),
        ("call_lost", LOST.code),
        ("call_ok", ""),
    ]
    assert {each["tool"] for each in logged[1:]} == {"scripts_status"}


async def test_a_refused_connection_is_tried_again_until_the_instance_accepts_it() -> None:
    instance = Instance(REFUSED, REFUSED, PROVEN, {"n": 1})
    assert await ask(calls_of(instance)) == {"n": 1}


@pytest.mark.parametrize("tool", ["scripts_status", "scripts_stop"])
async def test_a_call_that_may_run_twice_is_repeated_with_its_key_after_a_lost_connection(tool: str) -> None:
    instance = Instance(PROVEN, LOST, PROVEN, {"n": 1})
    assert await ask(calls_of(instance), tool) == {"n": 1}
    assert [call.key for call in instance.calls] == [instance.calls[0].key] * 2


async def test_a_call_that_was_not_sent_is_repeated() -> None:
    instance = Instance(PROVEN, ConnectionClosed("closed", sent=False), PROVEN, {"n": 1})
    assert await ask(calls_of(instance), "scripts_run") == {"n": 1}


async def test_a_call_that_must_not_run_twice_is_asked_for_again_under_its_key() -> None:
    instance = Instance(PROVEN, LOST, PROVEN, {"n": 1})
    assert await ask(calls_of(instance), "scripts_run") == {"n": 1}
    assert [(call.key, call.sent_to) for call in instance.calls] == [(instance.calls[0].key, RECORD.generation)] * 2


@pytest.mark.parametrize(
    "then",
    [
        NotBegun(NotBegunData("forgotten", 40, 5.0)),
        [LOST, PROVEN, LOST],
    ],
    ids=["its result is forgotten", "every connection is lost"],
)
async def test_a_call_that_was_sent_may_have_run_if_its_run_cannot_tell(then: object) -> None:
    instance = Instance(PROVEN, LOST, PROVEN, *(then if isinstance(then, list) else [then]))
    with pytest.raises(OutcomeUnknown):
        await ask(calls_of(instance), "scripts_run")


@pytest.mark.parametrize("next_run", [None, msgspec.structs.replace(RECORD, generation="another")])
async def test_only_the_run_that_got_a_call_is_asked_for_it_again(next_run: Record | None) -> None:
    instance = Instance(PROVEN, LOST, PROVEN)
    with pytest.raises(OutcomeUnknown):
        await ask(calls_of(instance, RECORD, next_run), "scripts_run")
    assert len(instance.calls) == 1


async def test_an_instance_that_loses_every_connection_is_not_asked_for_ever() -> None:
    instance = Instance(*[PROVEN, LOST] * ATTEMPTS)
    with pytest.raises(ConnectionClosed):
        await ask(calls_of(instance))


async def test_a_malformed_answer_is_no_lost_connection() -> None:
    with pytest.raises(BadAnswer):
        await ask(calls_of(Instance(PROVEN, BadAnswer("malformed", sent=True))), "scripts_run")


@pytest.mark.parametrize(
    ("tool", "error"), [("scripts_status", Unanswered), ("scripts_run", OutcomeUnknown)], ids=["reads", "changes"]
)
async def test_an_instance_that_does_not_answer_in_time_is_reported(tool: str, error: type[Exception]) -> None:
    with pytest.raises(error):
        await ask(calls_of(Instance(PROVEN, None)), tool, patience_s=0.01)


async def test_an_instance_that_accepts_no_connection_is_unanswered_with_the_reason(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(instance_calls, "NOTICE_S", 0.0)

    with pytest.raises(Unanswered) as raised:
        await ask(calls_of(Instance(*repeat(REFUSED, 1_000_000))), patience_s=0.05)
    assert "refused" in raised.value.message
    assert capsys.readouterr().err == f"brum: {RECORD.name} does not answer yet; waiting for it\n"


async def test_where_the_loopback_is_another_one_nothing_is_waited_for() -> None:
    instance = Instance(REFUSED, in_other_network=True)
    with pytest.raises(Unanswered) as raised:
        await ask(calls_of(instance), patience_s=3600.0)
    assert OTHER_NETWORK in raised.value.message
    assert instance.connections == 1
    assert await ask(calls_of(Instance(PROVEN, {"n": 1}, in_other_network=True))) == {"n": 1}, "the port is forwarded"


@pytest.mark.parametrize("condition", ["stopped", "frozen"])
async def test_a_process_that_does_not_run_is_named_before_it_is_asked(condition: str) -> None:
    instance = Instance(condition=condition)
    with pytest.raises(InstanceStopped) as raised:
        await ask(calls_of(instance))
    assert str(RECORD.pid) in raised.value.message
    assert instance.connections == 0


async def test_without_an_instance_nothing_is_waited_for() -> None:
    with pytest.raises(NothingRuns):
        await ask(calls_of(Instance(), None))


async def test_a_lost_call_waits_for_the_next_run_if_it_may() -> None:
    later = msgspec.structs.replace(RECORD, generation="h" * 16)
    instance = Instance(PROVEN, LOST, PROVEN, {"n": 1})
    assert await ask(calls_of(instance, RECORD, None, None, later, return_s=30.0)) == {"n": 1}
    with pytest.raises(NothingRuns):
        await ask(calls_of(Instance(PROVEN, LOST), RECORD, None))
