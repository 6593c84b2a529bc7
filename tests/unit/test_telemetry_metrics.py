"""What is counted, how it is told, and that each metric is documented."""

import asyncio
import contextlib
import json
import os
import re
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from brummer.calls.caller import CallEnded, CallEnding, ending_of
from brummer.cli.start import is_valid
from brummer.core.errors import BrummerError, Internal
from brummer.core.events import CALL_S, Histogram
from brummer.core.metrics import Family, Metric, Sample, merged
from brummer.discovery.registry import Registry
from brummer.host import clocks
from brummer.host.http_token import TokenUnusable
from brummer.instance import metrics as instance_metrics
from brummer.instance.counting import CountedCalls
from brummer.link.call import Call
from brummer.link.errors import CallForgotten, OutcomeUnknown
from brummer.link.state import LinkEvent, LinkState, Transition, next_state
from brummer.network.wake import ClockSet, Slept
from brummer.peers.instances import Instances
from brummer.peers.timeline import Handled, Timeline
from brummer.telemetry import exposition
from brummer.telemetry import metrics as hub_metrics
from brummer.telemetry.metrics import HubMetrics
from brummer.telemetry.metrics_server import serving_metrics
from brummer.wire.http.listening import Port
from brummer.wire.mcp.server import Params, Request, ToolCall

from .discovery_support import record_of_this_process
from .wire_support import Tools

ROOT = Path(__file__).parent.parent.parent
WAIT_S = 30.0
SIZE = Metric("brummer_size_bytes", "gauge", "Of a thing", ("thing",))


def values(families: list[Family]) -> dict[str, float]:
    """Series by name and labels, as Prometheus writes them."""
    found = {}
    for family in families:
        for sample in family.samples:
            labels = ",".join(f"{name}={value}" for name, value in zip(family.labels, sample.labels, strict=True))
            found[f"{family.name}{{{labels}}}"] = sample.buckets[-1][1] if sample.buckets else sample.value
    return found


class Counting:
    """A hub's metrics, and the events that feed them."""

    def __init__(self, directory: Path) -> None:
        self.instances = Instances(directory)
        self.timeline = Timeline(clocks)
        self.registry = Registry(directory)
        self.metrics = HubMetrics(self.instances, self.timeline, self.registry)
        self._states: dict[str, LinkState] = {}

    def moves(self, who: str, event: LinkEvent, at_s: float, reason: str = "") -> None:
        before = self._states.get(who, LinkState.DISCOVERED)
        self._states[who] = next_state(before, event)
        self.instances.transitions.publish(Transition(who, at_s, before, event, self._states[who], reason))

    def becomes_ready(self, who: str, at_s: float) -> None:
        self.moves(who, LinkEvent.DIALLED, at_s)
        self.moves(who, LinkEvent.PROVEN, at_s)

    def ends(self, who: str, ending: CallEnding, tool: str = "scripts_run", took_s: float = 0.02) -> None:
        self.instances.calls_ended.publish(CallEnded(who, tool, "key", ending, "", took_s))

    @property
    def recoveries(self) -> tuple[int, float]:
        recovery = self.metrics._recovery
        return recovery.total, recovery.sum_s


@pytest.fixture
async def counting(tmp_path: Path) -> AsyncIterator[Counting]:
    made = Counting(tmp_path)
    yield made
    made.registry.close()
    await made.instances.close()


# What is counted.


def test_a_histogram_counts_up_to_and_including_its_edges() -> None:
    histogram = Histogram((1.0, 2.0))
    for seconds in (0.5, 1.0, 1.5, 3.0):
        histogram.observe(seconds)
    family = Metric("x_seconds", "histogram", "").single(histogram)
    assert family.samples == [Sample((), 6.0, (("1.0", 2.0), ("2.0", 3.0), ("+Inf", 4.0)))]


async def test_recovery_is_from_the_loss_of_a_ready_link_to_its_return(counting: Counting) -> None:
    counting.becomes_ready("shop", 1.0)
    assert counting.recoveries == (0, 0.0)
    counting.moves("shop", LinkEvent.PROBE_UNANSWERED, 10.0)
    counting.moves("shop", LinkEvent.CONNECTION_LOST, 11.0)
    counting.moves("shop", LinkEvent.DIALLED, 11.5)
    counting.moves("shop", LinkEvent.FAILED, 11.6)
    counting.becomes_ready("shop", 12.0)
    assert counting.recoveries == (1, 2.0)


async def test_a_killed_instance_that_is_started_again_is_a_recovery(counting: Counting) -> None:
    counting.becomes_ready("shop", 1.0)
    counting.moves("shop", LinkEvent.OWNER_GONE, 5.0, "process died")
    counting.moves("shop", LinkEvent.RECORD_CHANGED, 8.0)
    counting.becomes_ready("shop", 8.5)
    assert counting.recoveries == (1, 3.5)


async def test_an_instance_that_ended_as_it_should_is_no_loss(counting: Counting) -> None:
    counting.becomes_ready("shop", 1.0)
    counting.moves("shop", LinkEvent.CONNECTION_LOST, 4.9)
    counting.moves("shop", LinkEvent.OWNER_WITHDREW, 5.0)
    counting.moves("shop", LinkEvent.RECORD_CHANGED, 8.0)
    counting.becomes_ready("shop", 8.5)
    assert counting.recoveries == (0, 0.0)


async def test_only_wakes_and_pauses_are_timed_and_all_events_are_counted(counting: Counting) -> None:
    counting.timeline.handled.publish(Handled(Slept(100.0), "", 0.4))
    counting.timeline.handled.publish(Handled(ClockSet(5.0), "", 0.0))
    told = values(counting.metrics.families())
    assert told["brummer_wake_to_ready_seconds{}"] == 1
    assert (told["brummer_machine_events_total{kind=slept}"], told["brummer_machine_events_total{kind=clock}"]) == (
        1,
        1,
    )


@pytest.mark.promise("metrics-are-documented")
async def test_tools_that_are_not_frozen_share_one_label(counting: Counting) -> None:
    for tool in ("scripts_run", "whatever", "tools/list"):
        counting.ends("shop", "ok", tool)
    told = values(counting.metrics.families())
    assert told["brummer_call_duration_seconds{tool=scripts_run}"] == 1
    assert told["brummer_call_duration_seconds{tool=other}"] == 2


async def test_unknown_instances_are_forgotten(counting: Counting, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_metrics, "INSTANCES_LIMIT", 10)
    for number in range(100):
        counting.ends(f"shop{number}", "ok")
        counting.becomes_ready(f"shop{number}", 1.0)
        assert len(counting.metrics._counts) <= 10
    assert not any("shop" in series for series in values(counting.metrics.families()))


async def test_calls_of_an_instance_are_counted_by_how_they_ended() -> None:
    tools = Tools()
    counted = CountedCalls(tools)
    for name in ("echo", "not_found", "echo"):
        await tools_call(counted, name)
    waiting = asyncio.create_task(tools_call(counted, "wait"))
    await tools.started.wait()
    assert counted.running == 1
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    assert dict(counted.ended) == {("echo", "ok"): 2, ("not_found", "tool_error"): 1, ("wait", "cancelled"): 1}
    assert counted.running == 0


async def tools_call(counted: CountedCalls, name: str) -> bytes:
    return await counted.call_tool(
        ToolCall(name, b"{}", Request(b"1", "tools/call", Params(name=name), None, lambda _: None))
    )


# How it is told.


def test_the_text_is_what_prometheus_reads() -> None:
    histogram = Histogram(CALL_S)
    histogram.observe(0.02)
    families = [
        SIZE.family({('a"b\\c\n',): 3.0}),
        Metric("brummer_x_total", "counter", "x").single(2),
        Metric("brummer_y_seconds", "histogram", "y", ("tool",)).family({("t",): histogram}),
    ]
    told = {each.name: each for each in text_string_to_metric_families(exposition.render(families).decode())}
    assert [(each.labels, each.value) for each in told["brummer_size_bytes"].samples] == [({"thing": 'a"b\\c\n'}, 3.0)]
    assert [each.value for each in told["brummer_x"].samples] == [2.0]
    counts = {each.labels.get("le"): each.value for each in told["brummer_y_seconds"].samples}
    assert (counts["0.01"], counts["0.025"], counts["+Inf"]) == (0.0, 1.0, 1.0)


def test_several_processes_are_distinguished_by_one_more_label() -> None:
    one, two = SIZE.family({("a",): 1}), SIZE.family({("a",): 2})
    both = merged((("hub-1", [one]), ("shop", [two])), "source")
    assert [(each.labels, each.samples) for each in both] == [
        (("source", "thing"), [Sample(("hub-1", "a"), 1), Sample(("shop", "a"), 2)])
    ]


def test_families_survive_json() -> None:
    histogram = Histogram(CALL_S)
    histogram.observe(1e9)
    families = [SIZE.family({("a",): 1}), Metric("y_seconds", "histogram", "y").single(histogram)]
    assert msgspec.json.decode(msgspec.json.encode(families), type=list[Family]) == families


# Where it is served.


async def fetched(port: int, *headers: str, path: str = "/metrics", host: str = "127.0.0.1") -> tuple[int, str]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    lines = [f"GET {path} HTTP/1.1", f"host: {host}:{port}", "connection: close", *headers, "", ""]
    writer.write("\r\n".join(lines).encode())
    async with asyncio.timeout(WAIT_S):
        answer = (await reader.read()).decode()
    writer.close()
    head, _, body = answer.partition("\r\n\r\n")
    return int(head.split()[1]), body


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


BEARER = "authorization: Bearer secret"


@contextlib.asynccontextmanager
async def served() -> AsyncIterator[int]:
    port = free_port()

    async def families() -> list[Family]:
        return [SIZE.family({("a",): 1})]

    asked = Port(("127.0.0.1", port), lambda: "secret")
    async with serving_metrics(asked, families, os.getpid()) as problem:
        assert problem is None
        yield port


async def test_a_scraper_gets_the_text_and_nothing_else() -> None:
    async with served() as port:
        status, body = await fetched(port, BEARER)
        assert status == 200
        assert 'brummer_size_bytes{thing="a"} 1.0' in body
        assert (await fetched(port, BEARER, path="/mcp"))[0] == 404
        assert (await fetched(port, BEARER, "origin: http://evil.example"))[0] == 403
        assert (await fetched(port, BEARER, host="evil.example"))[0] == 200


@pytest.mark.promise("a-token-at-every-port")
async def test_metrics_require_the_token() -> None:
    async with served() as port:
        for path in ("/metrics", "/mcp"):
            assert (await fetched(port, path=path))[0] == 401
            assert (await fetched(port, "authorization: Bearer wrong", path=path))[0] == 401
        assert (await fetched(port, host="evil.example"))[0] == 403


def no_token() -> str:
    raise TokenUnusable("there is none")


async def no_families() -> list[Family]:
    return []


async def test_a_port_that_is_taken_and_a_token_that_is_unusable_are_problems_and_no_more() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        for asked, told in (
            (Port(("127.0.0.1", port), lambda: "secret"), {"host": "127.0.0.1", "port": port}),
            (Port(("127.0.0.1", 0), no_token), {}),
        ):
            async with serving_metrics(asked, no_families, os.getpid()) as problem:
                assert problem is not None
                assert (problem.code, problem.context) == ("metrics_not_served", told)


# Documentation.

PROCESS = exposition.process_families(os.getpid())


def documented(heading: str) -> dict[str, dict[str, Any]]:
    """The rows of the table below a heading of the page for operators."""
    page = (ROOT / "docs" / "operators.md").read_text()
    section = page.partition(f"\n### {heading}\n")[2].partition("\n#")[0]
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \|(.*?)\|", section, re.MULTILINE)
    return {name: {"kind": kind, "labels": re.findall(r"`(\w+)`", labels)} for name, kind, labels in rows}


@pytest.mark.promise("metrics-are-documented")
@pytest.mark.parametrize(
    ("heading", "metrics"),
    [
        ("Of a hub", hub_metrics.ALL),
        ("Of an instance", instance_metrics.ALL),
        ("Of both, on Linux", PROCESS),
    ],
)
def test_what_is_reported_is_documented_and_what_is_documented_is_reported(heading: str, metrics: Any) -> None:
    assert documented(heading) == {each.name: {"kind": each.kind, "labels": list(each.labels)} for each in metrics}


async def test_a_hub_tells_all_of_its_metrics(counting: Counting) -> None:
    assert {family.name for family in counting.metrics.families()} == {metric.name for metric in hub_metrics.ALL}


def test_every_ending_of_a_call_is_documented() -> None:
    page = (ROOT / "docs" / "operators.md").read_text()
    section = page.partition("### How a call ends")[2].partition("\n#")[0]
    assert {ending for ending in get_args(CallEnding) if f"`{ending}`" not in section} == set()


def test_alerts_and_dashboard_name_metrics_that_there_are() -> None:
    rules = (ROOT / "contrib" / "prometheus" / "brummer.rules.yml").read_text()
    dashboard = (ROOT / "contrib" / "grafana" / "brummer.json").read_text()
    everything: tuple[Metric | Family, ...] = (*hub_metrics.ALL, *instance_metrics.ALL, *PROCESS)
    known = {metric.name for metric in everything}
    for text in (rules, json.dumps(json.loads(dashboard))):
        named = set(re.findall(r"\b(?:brummer|process)_\w+(?=[{\[) )])", text))
        assert {re.sub(r"_(bucket|count|sum)$", "", name) for name in named} - known == set()
        assert len(named) > 5
    page = (ROOT / "docs" / "operators.md").read_text()
    assert set(re.findall(r"^      - alert: (\w+)", rules, re.MULTILINE)) == set(
        re.findall(r"^\| `(B\w+)`", page, re.MULTILINE)
    )


def selected_by_alert(name: str, families: list[Family]) -> list[float]:
    """The values of the series that an alert's expression selects; it must have exactly one selector."""
    groups = yaml.safe_load((ROOT / "contrib" / "prometheus" / "brummer.rules.yml").read_text())["groups"]
    (expression,) = [rule["expr"] for group in groups for rule in group["rules"] if rule.get("alert") == name]
    ((metric, label, value),) = re.findall(r'(\w+)\{(\w+)="(\w+)"\}', expression)
    (family,) = [each for each in families if each.name == metric]
    place = family.labels.index(label)
    return [sample.value for sample in family.samples if sample.labels[place] == value]


@pytest.mark.parametrize(
    "outcome",
    [
        CallForgotten("the instance has forgotten it"),
        OutcomeUnknown("the run of the instance has ended"),
        Internal("an internal error", outcome="unknown"),
        b'{"structuredContent":{"error":{"code":"internal","outcome":"unknown"}},"isError":true}',
    ],
)
async def test_the_alert_on_unknown_outcomes_selects_what_an_unknown_outcome_counts(
    counting: Counting, tmp_path: Path, outcome: bytes | BrummerError
) -> None:
    """The series exists before, with 0: an increase of a new series can't be seen."""
    record = record_of_this_process(tmp_path)
    counting.instances.appeared(record)
    assert selected_by_alert("BrummerOutcomeUnknown", counting.metrics.families()) == [0]
    call = Call("tools/call", {"name": "scripts_run"}, repeatable=False, deadline_s=5.0)
    ending, _ = ending_of(call, outcome, ours=True)
    counting.ends(record.instance_id, ending)
    assert selected_by_alert("BrummerOutcomeUnknown", counting.metrics.families()) == [1]


@pytest.mark.parametrize(
    ("arguments", "valid"),
    [
        (["--mcp"], True),
        (["--mcp", "--metrics", "127.0.0.1:9464"], True),
        (["--metrics", "[::1]:0", "--mcp", "--log-json"], True),
        (["--mcp", "--metrics"], False),
        (["--mcp", "--metrics", "9464"], False),
        (["--mcp", "--metrics", "127.0.0.1:00"], False),
        (["--mcp", "--metrics", "127.0.0.1:65536"], False),
        (["--mcp", "--metrics", "-x:1"], False),
        (["--mcp", "--metrics", "127.0.0.1:1", "--nonsense"], False),
    ],
)
def test_a_watched_hub_greets_as_early_as_any(*, arguments: list[str], valid: bool) -> None:
    assert is_valid(arguments) is valid
