"""More than a hub can take: what is over a limit gets a typed answer, the others theirs, and afterwards all is well."""

import json
import socket
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final

import psutil
import pytest

from brummer.settings.limits import DEFAULTS
from tests.integration.programs import BRUM, WAIT_S, Brum, Hub, within

CROWD: Final = Path(__file__).with_name("crowd.py")
ANSWERS_S: Final = 120.0
"""For a storm to be over, on a machine that does other things, too."""
MB: Final = 1_000_000


class Storm:
    """Many calls at once over one pipe."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._asked: dict[int, str] = {}
        self._next_id = 1_000_000

    def call(self, instance: str, **arguments: Any) -> None:
        self.calls([instance], **arguments)

    def calls(self, instances: Iterable[str], **arguments: Any) -> None:
        """One to each, all in one write."""
        lines = []
        for instance in instances:
            self._next_id += 1
            self._asked[self._next_id] = instance
            params = {"name": "scripts_list", "arguments": {"instance": instance, **arguments}}
            lines.append(json.dumps({"jsonrpc": "2.0", "id": self._next_id, "method": "tools/call", "params": params}))
        self._hub.send("\n".join([*lines, ""]).encode())

    def answers(self) -> Iterator[tuple[str, str]]:
        """Whom it was for, and ``ok`` or the error's code; until there is one for every call."""
        deadline = time.monotonic() + ANSWERS_S
        while self._asked:
            answer = self._hub.receive(max(0.0, deadline - time.monotonic()))
            if "id" in answer:
                yield self._asked.pop(answer["id"]), outcome(answer)

    def outcomes(self) -> Counter[str]:
        return Counter(code for _, code in self.answers())


def outcome(answer: dict[str, Any]) -> str:
    """Every error must say what it is, and `busy` when to come back."""
    if "error" in answer:
        code: str = answer["error"]["data"]["code"]
        return code
    content = answer["result"]["structuredContent"]
    if "error" not in content:
        return "ok"
    error = content["error"]
    assert error["code"] != "busy" or error["retry_after_s"] > 0, error
    return str(error["code"])


def crowd(brum: Brum, count: int) -> None:
    brum.instances.mkdir(mode=0o700, exist_ok=True)
    brum.python(CROWD, brum.instances, str(count)).stdout.until("up", ANSWERS_S)


def all_ready(hub: Hub, count: int) -> list[str]:
    def ready() -> list[str]:
        listed = hub.every("instances_list", "instances")
        return [each["instance_id"] for each in listed if each["state"] == "ready"]

    assert within(3 * WAIT_S, lambda: len(ready()) == count), Counter(
        each["state"] for each in hub.every("instances_list", "instances")
    )
    return ready()


def sockets(hub: Hub) -> int:
    return len(psutil.Process(hub.pid).net_connections("tcp"))


def all_is_well(hub: Hub, instances: list[str]) -> None:
    """Every instance answers, and nothing is held any more."""
    storm = Storm(hub)
    storm.calls(instances)
    assert storm.outcomes() == {"ok": len(instances)}
    in_use = hub.call("hub_status")["limits"]["in_use"]
    assert (in_use["in_flight"], in_use["parked"]) == (0, 0)


def peak_bytes(hub: Hub) -> int:
    """The most that it has ever had resident."""
    status = Path(f"/proc/{hub.pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


def memory_stayed_within(hub: Hub, limit_bytes: int = DEFAULTS.memory_hard_bytes) -> None:
    peak = peak_bytes(hub)
    print(f"\nthe hub took {peak / 1024**2:.0f} MiB at the most, of {limit_bytes / 1024**2:.0f}")
    assert peak < limit_bytes


def test_five_hundred_instances_share_the_connections_and_answer_five_thousand_calls_or_say_busy(brum: Brum) -> None:
    crowd(brum, 500)
    hub = brum.hub().greet()
    instances = all_ready(hub, 500)
    assert sockets(hub) <= DEFAULTS.connections
    storm = Storm(hub)
    storm.calls(instances * 10)
    outcomes = storm.outcomes()
    assert set(outcomes) <= {"ok", "busy"}
    assert outcomes["ok"] >= 2500
    assert sockets(hub) <= DEFAULTS.connections
    assert {link["state"] for link in hub.every("hub_status", "links")} == {"ready"}
    assert hub.call("hub_status")["problems"] == []
    all_is_well(hub, instances)
    memory_stayed_within(hub)


@pytest.mark.promise("bulkheads")
def test_under_contention_every_instance_gets_its_share(brum: Brum) -> None:
    crowd(brum, 10)
    hub = brum.hub(BRUMMER_MAX_CONNECTIONS="32").greet()
    instances = all_ready(hub, 10)
    storm = Storm(hub)
    storm.calls(instances * 20)
    served: Counter[str] = Counter()
    for instance, code in storm.answers():
        assert code == "ok"
        served[instance] += 1
        if served.total() == 4000:
            break
        storm.call(instance)
    mean = served.total() / len(instances)
    print(f"\nserved: {sorted(served.values())}")
    assert all(abs(count - mean) <= 0.1 * mean for count in served.values())


@pytest.mark.promise("busy-is-typed")
def test_five_thousand_slow_calls_at_once_are_answered_or_refused_as_busy(brum: Brum) -> None:
    crowd(brum, 4)
    hub = brum.hub().greet()
    instances = all_ready(hub, 4)
    storm = Storm(hub)
    storm.calls(instances * 1250, takes_s=0.05)
    outcomes = storm.outcomes()
    assert set(outcomes) == {"ok", "busy"}
    assert outcomes["ok"] >= 4 * (DEFAULTS.in_flight_per_instance + DEFAULTS.queued_per_instance)
    all_is_well(hub, instances)
    memory_stayed_within(hub)


@pytest.mark.promise("large-answers")
def test_large_arguments_and_replies_are_carried_or_refused_and_memory_stays_within_its_limit(brum: Brum) -> None:
    crowd(brum, 4)
    limit_bytes = 256 * 1024**2
    hub = brum.hub(BRUMMER_MEMORY_HARD="256MiB", BRUMMER_MEMORY_SOFT="160MiB").greet()
    instances = all_ready(hub, 4)
    storm = Storm(hub)
    for _ in range(10):
        for instance in instances:
            storm.call(instance, fill="x" * (10 * MB))
    arguments = storm.outcomes()
    for _ in range(10):
        storm.calls(instances, size=20 * MB)
    replies = storm.outcomes()
    print(f"\narguments of 10 MB: {dict(arguments)}; replies of 20 MB: {dict(replies)}")
    assert arguments.keys() <= {"ok", "busy"}
    assert replies.keys() <= {"ok", "busy", "too_large"}
    assert arguments["ok"]
    assert replies["ok"]

    def is_too_large(**arguments: Any) -> bool:
        storm.calls(instances[:1], **arguments)
        return storm.outcomes() == {"too_large": 1}

    assert within(WAIT_S, lambda: is_too_large(size=200 * MB))  # busy until what the storm took is given back
    assert is_too_large(fill="x" * (17 * MB))
    assert within(WAIT_S, lambda: all(each["code"] != "memory_full" for each in hub.call("hub_status")["problems"]))
    all_is_well(hub, instances)
    memory_stayed_within(hub, limit_bytes)


@pytest.mark.promise("shortages-pass")
@pytest.mark.parametrize("open_files", [128])
def test_with_few_open_files_a_hub_does_what_it_can(brum: Brum, open_files: int) -> None:
    crowd(brum, 200)
    command: list[str | Path] = ["sh", "-c", f'ulimit -n {open_files}; exec "$0" --mcp', BRUM]
    hub = brum.hub_by(command).greet()
    instances = all_ready(hub, 200)
    storm = Storm(hub)
    storm.calls(instances * 10)
    assert set(storm.outcomes()) <= {"ok", "busy"}
    assert psutil.Process(hub.pid).num_fds() <= open_files
    all_is_well(hub, instances)


@pytest.mark.promise("fan-out")
def test_a_wait_on_more_instances_than_connections_has_one_deadline_and_names_those_not_asked(brum: Brum) -> None:
    crowd(brum, 150)
    hub = brum.hub().greet()
    instances = set(all_ready(hub, 150))
    for takes_s in (0, WAIT_S):  # one after the other, the latter would take five times as long as anybody waits here
        answer = hub.call("wait_for", instance="*", log=f"takes_s={takes_s}", timeout_s=1)
        not_asked = {each["instance"] for each in answer["incomplete"]}
        assert (answer["matched"], not_asked) == (False, instances if takes_s else set())
    all_is_well(hub, sorted(instances))


def test_an_instance_without_open_files_refuses_and_recovers(brum: Brum) -> None:
    project = brum.project("shop")
    command: list[str | Path] = ["sh", "-c", 'ulimit -n 128; exec "$0" --no-tui -d "$1"', BRUM, project]
    instance = brum.instance_by(command).published()
    hub = brum.hub(cwd=project).greet()
    assert hub.call("scripts_list")["scripts"]
    port = int(instance.record["url"].split(":")[2].split("/")[0])
    taken = []
    for _ in range(200):
        try:
            taken.append(socket.create_connection(("127.0.0.1", port), 1))
        except OSError:
            break
    answer = hub.call("scripts_run", name="hello")
    assert "error" not in answer or answer["error"]["code"]
    for each in taken:
        each.close()
    assert within(WAIT_S, lambda: "error" not in hub.call("scripts_run", name="hello", timeout_s=5))
