"""Which ends of calls the log shows."""

import logging
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, get_args

import pytest

from brummer.calls.caller import CallEnded, CallEnding
from brummer.host import clocks
from brummer.link.state import LinkState
from brummer.peers.instances import Instances
from brummer.peers.timeline import Timeline
from brummer.telemetry.event_log import log_events
from brummer.wire.http.server import Exchange

from .fakes import FakeInstance, respond
from .test_calls_fast_path import Asked
from .test_calls_known import not_begun
from .test_link import reached, running, tool_call

LOGGER = "brummer.telemetry.event_log"


@pytest.fixture
async def instances(tmp_path: Path) -> AsyncIterator[Instances]:
    made = Instances(tmp_path)
    yield made
    await made.close()


def ends(caplog: pytest.LogCaptureFixture) -> list[tuple[str, str]]:
    """Level and event of what was logged of calls."""
    return [(each.levelname, each.__dict__["fields"]["event"]) for each in caplog.records if each.name == LOGGER]


async def fails_without_knowing(exchange: Exchange, message: dict[str, Any]) -> None:
    error = {"code": "internal", "message": "it failed", "outcome": "unknown"}
    respond(exchange, message, {"content": [], "structuredContent": {"error": error}, "isError": True})


@pytest.mark.parametrize("how", ["the instance forgot it", "the instance does not know"])
async def test_a_call_whose_outcome_is_unknown_is_logged_without_debug(
    instances: Instances, caplog: pytest.LogCaptureFixture, how: str
) -> None:
    caplog.set_level(logging.INFO)
    log_events(instances, Timeline(clocks))
    async with FakeInstance() as instance, running(instance.target) as link:
        link.caller.ended.subscribe(instances.calls_ended.publish)
        await reached(link, LinkState.READY)
        if how == "the instance forgot it":
            not_begun(instance, "forgotten", began=True)
            await Asked(link, tool_call()).error()
        else:
            instance.answer = fails_without_knowing
            await link.call(tool_call())
    assert ends(caplog) == [("INFO", "call_unknown")]


@pytest.mark.parametrize("ending", get_args(CallEnding))
async def test_only_plain_ends_of_calls_need_debug_to_be_logged(
    instances: Instances, caplog: pytest.LogCaptureFixture, ending: CallEnding
) -> None:
    caplog.set_level(logging.DEBUG)
    log_events(instances, Timeline(clocks))
    instances.calls_ended.publish(CallEnded("shop", "scripts_run", "key", ending, "", 0.02))
    level = "DEBUG" if ending in ("ok", "tool_error") else "INFO"
    assert ends(caplog) == [(level, f"call_{ending}")]
