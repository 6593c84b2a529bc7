"""Spans of calls: one each, with what befell it, in the agent's own trace, and passed on."""

import asyncio
import contextlib
import importlib.util
import subprocess
import sys
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from brummer.core.errors import BrummerError
from brummer.core.events import Hook
from brummer.hub.router import _tool_call
from brummer.link.call import Call
from brummer.link.link import Link
from brummer.telemetry.traces import TRACES_VARIABLE, TracedCaller, TracesUnavailable, Tracing, tracing
from brummer.wire.http.server import Exchange
from brummer.wire.mcp.server import Meta, Params, Request, ToolCall

from .fakes import FakeInstance, answer_with_arguments, respond

AGENT = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "tracestate": "agent=1"}


class Traced:
    def __init__(self, caller: TracedCaller, spans: InMemorySpanExporter) -> None:
        self.caller = caller
        self._spans = spans

    async def span_of(self, **more: Any) -> ReadableSpan:
        """Of one call."""
        self._spans.clear()
        made = Call("tools/call", {"name": "scripts_run", "arguments": {}}, repeatable=False, deadline_s=5.0)
        for name, value in more.items():
            setattr(made, name, value)
        with contextlib.suppress(BrummerError):
            await self.caller.call(made)
        (span,) = self._spans.get_finished_spans()
        return span


@contextlib.asynccontextmanager
async def traced(instance: FakeInstance) -> AsyncIterator[Traced]:
    spans = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(spans))
    link = Link(instance.target)
    caller = Tracing(provider).caller(link, lambda: False, Hook())
    task = asyncio.create_task(link.run())
    try:
        yield Traced(caller, spans)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await caller.close()


async def test_a_call_is_one_span_in_the_agents_trace_and_its_context_is_passed_on() -> None:
    async with FakeInstance() as instance, traced(instance) as it:
        span = await it.span_of(trace=dict(AGENT))
        assert span.name == "tools/call scripts_run"
        assert span.parent is not None
        assert f"{span.parent.span_id:016x}" == AGENT["traceparent"].split("-")[2]
        passed_on = instance.calls[-1]["params"]["_meta"]
        context = span.context
        assert context is not None
        assert passed_on["traceparent"] == f"00-{context.trace_id:032x}-{context.span_id:016x}-01"
        assert f"{context.trace_id:032x}" == AGENT["traceparent"].split("-")[1]
        assert passed_on["tracestate"] == AGENT["tracestate"]


async def test_a_span_tells_what_befell_its_call() -> None:
    async def drops_once(exchange: Exchange, message: dict[str, Any]) -> None:
        instance.answer = answer_with_arguments
        instance.drop_connections()

    async with FakeInstance() as instance, traced(instance) as it:
        span = await it.span_of()
        assert [event.name for event in span.events] == ["parked", "released"]
        attributes = dict(span.attributes or {})
        assert (attributes["brummer.outcome"], attributes["brummer.attempts"]) == ("parked", 1)
        assert attributes["brummer.instance_id"] == instance.instance_id
        instance.answer = drops_once
        span = await it.span_of()
        attributes = dict(span.attributes or {})
        assert (attributes["brummer.outcome"], attributes["brummer.attempts"]) == ("reattached", 2)
        assert span.events[0].name == "connection_lost"
        assert span.status.status_code is StatusCode.UNSET


async def test_a_failed_call_is_an_error_with_its_code_and_a_failed_tool_is_none() -> None:
    async def silent(exchange: Exchange, message: dict[str, Any]) -> None:
        await asyncio.Event().wait()

    async def fails(exchange: Exchange, message: dict[str, Any]) -> None:
        respond(exchange, message, {"content": [], "isError": True})

    async with FakeInstance() as instance, traced(instance) as it:
        await it.span_of()
        instance.answer = fails
        span = await it.span_of()
        assert dict(span.attributes or {})["brummer.outcome"] == "tool_error"
        assert span.status.status_code is StatusCode.UNSET
        instance.answer = silent
        span = await it.span_of(deadline_s=0.05)
        attributes = dict(span.attributes or {})
        assert (attributes["brummer.outcome"], attributes["error.type"]) == ("unknown", "deadline_exceeded")
        assert span.status.status_code is StatusCode.ERROR


async def test_without_traces_an_agents_context_is_passed_on_as_it_came() -> None:
    made = Call("tools/call", {"name": "x"}, repeatable=False, deadline_s=1.0, trace=dict(AGENT))
    message = msgspec.json.decode(made.message(b"1", made.meta_with({})))
    assert message["params"]["_meta"] == AGENT


def test_the_hub_takes_the_context_from_the_agents_request() -> None:
    meta = msgspec.json.decode(msgspec.json.encode(AGENT), type=Meta)
    request = Request(b"1", "tools/call", Params(meta=meta), None, lambda _: None)
    assert _tool_call("scripts_run", b"{}", ToolCall("scripts_run", b"{}", request)).trace == AGENT


@pytest.mark.parametrize(
    ("meta", "trace"),
    [
        (AGENT, AGENT),
        ({"traceparent": "x"}, {"traceparent": "x"}),
        ({"traceparent": 5, "tracestate": None}, {}),
        ({}, {}),
    ],
)
def test_a_malformed_context_makes_no_call_fail(meta: dict[str, Any], trace: dict[str, str]) -> None:
    assert msgspec.json.decode(msgspec.json.encode(meta), type=Meta).trace() == trace


def test_traces_must_be_asked_for_and_say_what_they_need(monkeypatch: pytest.MonkeyPatch) -> None:
    assert tracing({}) is None
    assert tracing({TRACES_VARIABLE: "false"}) is None
    assert tracing({TRACES_VARIABLE: "true"}) is not None
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    assert tracing({}) is None
    with pytest.raises(TracesUnavailable) as raised:
        tracing({TRACES_VARIABLE: "1"})
    assert raised.value.code == "traces_unavailable"


@pytest.mark.parametrize("module", ["brummer.hub.service", "brummer.instance.service", "brummer.cli.dispatch"])
def test_a_start_loads_neither_opentelemetry_nor_prometheus(module: str) -> None:
    code = f"import sys, {module}; sys.exit(bool({{'opentelemetry', 'prometheus_client'}} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=30).returncode == 0
