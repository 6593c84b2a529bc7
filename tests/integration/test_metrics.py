"""A real Prometheus scrapes hub and instance, and shows a kill and the return in what it has stored."""

import json
import shutil
import signal
import socket
import subprocess
import time
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from tests.integration.conftest import ROOT
from tests.integration.programs import WAIT_S, Brum, Program, within

RULES = ROOT / "contrib" / "prometheus" / "brummer.rules.yml"

PROMETHEUS = shutil.which("prometheus")
PROMTOOL = shutil.which("promtool")

REAL = pytest.mark.skipif(
    PROMETHEUS is None or PROMTOOL is None,
    reason="Prometheus is missing: run make integration-test as root",
)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


def promtool(*arguments: str, stdin: str = "") -> str:
    """What it complains of: nothing, if all is well."""
    done = subprocess.run([str(PROMTOOL), *arguments], input=stdin, capture_output=True, text=True, check=False)
    return "" if done.returncode == 0 else done.stdout + done.stderr


def text_of(brum: Brum, port: int) -> str:
    request = urllib.request.Request(f"http://127.0.0.1:{port}/metrics", headers=brum.authorization)
    with urllib.request.urlopen(request, timeout=WAIT_S) as answer:
        return str(answer.read().decode())


class Prometheus:
    """One that scrapes these ports often, and answers questions."""

    def __init__(self, brum: Brum, ports: dict[str, int]) -> None:
        self.port = free_port()
        home = brum.home / "prometheus"
        home.mkdir()
        config = home / "prometheus.yml"
        config.write_text(
            json.dumps(  # which is YAML, too
                {
                    "global": {"scrape_interval": "200ms"},
                    "rule_files": [str(RULES)],
                    "scrape_configs": [
                        {
                            "job_name": "brummer",
                            "authorization": {"credentials_file": str(brum.http_token_file)},
                            "static_configs": [
                                {"targets": [f"127.0.0.1:{port}"], "labels": {"role": role}}
                                for role, port in ports.items()
                            ],
                        }
                    ],
                }
            )
        )
        self._program: Program = brum.start(
            str(PROMETHEUS),
            f"--config.file={config}",
            f"--storage.tsdb.path={home / 'data'}",
            f"--web.listen-address=127.0.0.1:{self.port}",
            "--log.level=warn",
        )

    def ask(self, query: str) -> list[dict[str, Any]]:
        """The instant vector; empty while it can't be asked yet."""
        url = f"http://127.0.0.1:{self.port}/api/v1/query?{urllib.parse.urlencode({'query': query})}"
        try:
            with urllib.request.urlopen(url, timeout=WAIT_S) as answer:
                found: list[dict[str, Any]] = json.load(answer)["data"]["result"]
        except OSError:
            return []
        return found

    def value(self, query: str) -> float | None:
        found = self.ask(query)
        return float(found[0]["value"][1]) if found else None

    def comes_to(self, query: str, wanted: float) -> bool:
        return within(3 * WAIT_S, lambda: self.value(query) == wanted)


@REAL
def test_the_rules_are_clean() -> None:
    assert promtool("check", "rules", str(RULES)) == ""


@pytest.mark.promise("metrics-are-documented")
@REAL
def test_a_kill_and_the_return_show_in_prometheus(brum: Brum) -> None:
    ports = {"hub": free_port(), "instance": free_port()}
    project = brum.project("shop", {"Procfile": "hello: echo hello\nquiet: sleep 300\n"})
    instance = brum.instance(project, "--metrics", f"127.0.0.1:{ports['instance']}", "hello")
    hub = brum.hub("--metrics", f"127.0.0.1:{ports['hub']}").greet()
    assert hub.call("scripts_status", instance=instance.id)
    prometheus = Prometheus(brum, ports)

    answered = 'sum(brummer_calls_total{outcome=~"ok|parked|reattached|resent|tool_error"})'
    assert prometheus.comes_to('sum(up{job="brummer"})', 2)
    assert prometheus.comes_to(f'brummer_link_state{{instance_id="{instance.id}",state="ready"}}', 1)
    assert prometheus.comes_to("brummer_link_recovery_seconds_count", 0)
    assert prometheus.comes_to(answered, 1)
    assert prometheus.comes_to('brummer_script_events_total{kind="exited"}', 1)
    for port in ports.values():
        assert promtool("check", "metrics", stdin=text_of(brum, port)) == ""

    arguments = {"instance": instance.id, "name": "quiet", "wait": "exit"}
    call = {
        "jsonrpc": "2.0",
        "id": 900,
        "method": "tools/call",
        "params": {"name": "scripts_run", "arguments": arguments},
    }
    hub.send(json.dumps(call).encode() + b"\n")
    assert prometheus.comes_to(f'brummer_calls_in_flight{{instance_id="{instance.id}"}}', 1)
    assert prometheus.comes_to('brummer_scripts{state="running"}', 1)
    instance.signal(signal.SIGKILL)
    instance.wait()
    lost = hub.answer_to(900)["result"]["structuredContent"]["error"]
    assert lost["outcome"] == "unknown"
    assert prometheus.comes_to(f'brummer_link_state{{instance_id="{instance.id}",state="gone"}}', 1)
    assert prometheus.comes_to('brummer_calls_total{outcome="unknown"}', 1)
    assert prometheus.comes_to(f"{answered} / sum(brummer_calls_total)", 1 / 2)
    again = brum.instance(project, "--metrics", f"127.0.0.1:{ports['instance']}")
    assert again.id == instance.id

    assert prometheus.comes_to(f'brummer_link_state{{instance_id="{instance.id}",state="ready"}}', 1)
    assert hub.call("scripts_status", instance=again.id)  # before that, its black box might answer
    assert prometheus.comes_to("brummer_link_recovery_seconds_count", 1)
    sum_s = prometheus.value("brummer_link_recovery_seconds_sum")
    assert sum_s is not None
    assert 0 < sum_s < 6 * WAIT_S
    assert within(WAIT_S, lambda: (prometheus.value("increase(brummer_link_recovery_seconds_count[1m])") or 0) > 0)
    assert prometheus.comes_to(answered, 2)
    assert prometheus.comes_to(f"{answered} / sum(brummer_calls_total)", 2 / 3)
    assert prometheus.comes_to('sum(brummer_connection_attempts_total{result="proven"})', 2)


@REAL
def test_brum_metrics_tells_of_everybody_and_promtool_reads_it(brum: Brum) -> None:
    assert brum.run("metrics").status == 1
    instance = brum.instance(brum.project("shop"))
    hub = brum.hub().greet()
    assert within(WAIT_S, (brum.instances / f"hub-{hub.pid}.sock").is_socket)
    hub.call("scripts_status")
    done = brum.run("metrics")
    assert (done.status, done.stderr) == (0, "")
    assert f'brummer_link_state{{instance_id="{instance.id}",source="hub-{hub.pid}",state="ready"}} 1.0' in done.stdout
    assert f'brummer_ledger_entries{{source="{instance.id}"}} 0.0' in done.stdout
    assert f'process_open_fds{{source="hub-{hub.pid}"}}' in done.stdout
    assert promtool("check", "metrics", stdin=done.stdout) == ""
    told = json.loads(brum.run("metrics", "--json").stdout)
    assert {each["source"]: each["pid"] for each in told} == {f"hub-{hub.pid}": hub.pid, instance.id: instance.pid}

    instance.signal(signal.SIGSTOP)
    try:
        began = time.monotonic()
        done = brum.run("metrics")
        assert (done.status, time.monotonic() - began < WAIT_S) == (1, True)
        assert f"brum: {instance.id}: it does not answer" in done.stderr
        assert f'source="hub-{hub.pid}"' in done.stdout
    finally:
        instance.signal(signal.SIGCONT)


def test_a_taken_port_costs_a_line_and_not_the_connection(brum: Brum) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        instance = brum.instance(brum.project("shop"), "--metrics", address)
        instance.stderr.until("metrics are not served")
        hub = brum.hub("--metrics", address).greet()
        problems = hub.call("hub_status")["problems"]
        assert [problem["code"] for problem in problems] == ["metrics_not_served"]
        assert hub.call("scripts_status")


def test_an_instance_tells_its_numbers_only_to_who_shows_its_token(brum: Brum, tmp_path: Path) -> None:
    instance = brum.instance(brum.project("shop"))
    url = instance.url.replace("/mcp", "/metrics.json")
    for token, status in (("wrong", 401), (instance.token, 200)):
        request = urllib.request.Request(url, headers={"authorization": f"Bearer {token}"})
        try:
            with urllib.request.urlopen(request, timeout=WAIT_S) as answer:
                assert (answer.status, status) == (200, 200)
        except urllib.error.HTTPError as error:
            assert error.code == status  # noqa: PT017
