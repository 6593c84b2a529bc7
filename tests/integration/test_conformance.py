"""The official conformance suite against the instance and against the hub's HTTP front, for both revisions.

What may fail stands in conformance_baseline.yml, each entry with its reason; the suite compares both ways.
"""

import json
import re
import subprocess
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.integration.programs import LEGACY, MODERN, Brum
from tests.integration.token_proxy import proxy_with_token

HERE = Path(__file__).parent
BASELINE = HERE / "conformance_baseline.yml"
LIMIT_S = 120
RESULT_DIRECTORY = re.compile(r"server-(.+)-\d{4}-\d\d-\d\dT.*")

OF_BOTH = {
    "tools-list",
    "tools-call-simple-text",
    "tools-call-image",
    "tools-call-audio",
    "tools-call-embedded-resource",
    "tools-call-mixed-content",
    "tools-call-error",
    "tools-call-with-progress",
    "json-schema-2020-12",
    "server-sse-multiple-streams",
    "dns-rebinding-protection",
}
MUST_PASS = {
    LEGACY: OF_BOTH | {"server-initialize", "server-session-lifecycle", "ping"},
    MODERN: OF_BOTH
    | {
        "server-stateless",
        "http-header-validation",
        "http-custom-header-server-validation",
        "input-required-result-unsupported-methods",
        "input-required-result-ignore-extra-params",
    },
}
"""The issue's own list; the baseline could grow, this must not shrink."""

WITHOUT_DIAGNOSTICS = {
    LEGACY: [
        "server-initialize",
        "server-session-lifecycle",
        "ping",
        "tools-list",
        "server-sse-multiple-streams",
        "dns-rebinding-protection",
    ],
    MODERN: [
        "tools-list",
        "server-sse-multiple-streams",
        "dns-rebinding-protection",
        "caching",
        "http-header-validation",
        "input-required-result-unsupported-methods",
    ],
}
"""What a server can be asked that has none of the suite's own tools."""

OF_A_PAGE = {
    LEGACY: {"resources-list"},
    MODERN: {
        "resources-list",
        "sep-2164-resource-not-found",
        "caching:sep-2549-resources-list-caching-hints",
        "caching:sep-2549-resources-templates-list-caching-hints",
    },
}
"""What passes besides where a hub has the page as its one resource, as that which people start; see the baseline."""


CACHING_OF_TOOLS = {
    "sep-2549-tools-list-caching-hints",
    "sep-2549-ttl-non-negative",
    "sep-2549-cache-scope-valid",
}
"""The caching scenario fails in part, for the lists that are not there; these checks of it are about tools."""


@dataclass(frozen=True)
class Run:
    """What one run of the suite said. ``checks``: scenario → (check, status), a check perhaps more than once."""

    status: int
    checks: dict[str, list[tuple[str, str]]]
    said: str

    def passed(self) -> set[str]:
        """Scenarios in which something succeeded and nothing failed."""
        found = {name: {status for _, status in checks} for name, checks in self.checks.items()}
        return {
            name for name, statuses in found.items() if "SUCCESS" in statuses and not {"FAILURE", "WARNING"} & statuses
        }

    def succeeded_in(self, scenario: str) -> set[str]:
        return {check for check, status in self.checks[scenario] if status == "SUCCESS"}


def run_suite(suite: list[str], url: str, revision: str, results: Path, *more: str, baseline: Path = BASELINE) -> Run:
    done = subprocess.run(
        [
            *(*suite, "server", "--url", url, "--spec-version", revision),
            *("--expected-failures", str(baseline), "--output-dir", str(results), *more),
        ],
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    checks: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for report in results.glob("*/checks.json"):
        scenario = RESULT_DIRECTORY.sub(r"\1", report.parent.name)
        found: list[dict[str, Any]] = json.loads(report.read_text())
        checks[scenario] += [(check["id"], check["status"]) for check in found]
    return Run(done.returncode, dict(checks), summary_of(done.stdout + done.stderr))


def summary_of(output: str) -> str:
    return output[max(0, output.find("=== SUMMARY ===")) :][-6000:]


@pytest.fixture(params=["instance", "hub"])
def served(request: pytest.FixtureRequest, brum: Brum) -> Iterator[str]:
    """The way to the real instance and to the real hub, each with the suite's diagnostic tools."""
    program = brum.python(HERE / "conformance_server.py", request.param, brum.project("conforming"))
    url, token = program.stdout.line().strip(), program.stdout.line().strip()
    with proxy_with_token(url, token) as proxied:
        yield proxied


@pytest.fixture
def hub(brum: Brum) -> Iterator[str]:
    """The way to the hub that people start."""
    url = brum.hub_over_http().url
    with proxy_with_token(url, brum.http_token) as proxied:
        yield proxied


@pytest.mark.promise("both-eras")
@pytest.mark.parametrize("revision", [LEGACY, MODERN])
def test_every_scenario_passes_but_those_in_the_baseline(
    conformance: list[str], served: str, revision: str, tmp_path: Path
) -> None:
    run = run_suite(conformance, served, revision, tmp_path / "results", "--suite", "all")
    assert run.status == 0, run.said
    assert run.passed() >= MUST_PASS[revision], run.said
    if revision == MODERN:
        assert run.succeeded_in("caching") >= CACHING_OF_TOOLS


@pytest.mark.promise("both-eras")
@pytest.mark.parametrize("revision", [LEGACY, MODERN])
def test_the_hub_that_people_start_passes_what_needs_no_diagnostic_tool(
    conformance: list[str], hub: str, revision: str, tmp_path: Path
) -> None:
    passing = OF_A_PAGE[revision]
    baseline = tmp_path / "baseline.yml"
    rows = BASELINE.read_text().splitlines(keepends=True)
    left = [row for row in rows if row.partition("#")[0].strip().removeprefix("- ") not in passing]
    assert len(rows) - len(left) == len(passing)
    baseline.write_text("".join(left))
    for scenario in (*WITHOUT_DIAGNOSTICS[revision], *(each for each in sorted(passing) if ":" not in each)):
        run = run_suite(conformance, hub, revision, tmp_path / scenario, "--scenario", scenario, baseline=baseline)
        assert run.status == 0, run.said
        assert scenario == "caching" or scenario in run.passed(), run.said


@pytest.mark.parametrize(("listed", "scenario"), [("", "prompts-list"), ("server:\n  - tools-list\n", "tools-list")])
def test_the_comparison_bites_both_ways(
    conformance: list[str], hub: str, listed: str, scenario: str, tmp_path: Path
) -> None:
    baseline = tmp_path / "baseline.yml"
    baseline.write_text(listed)
    results = tmp_path / "results"
    assert run_suite(conformance, hub, LEGACY, results, "--scenario", scenario, baseline=baseline).status == 1


def test_every_entry_of_the_baseline_names_a_scenario_and_none_of_them_must_pass(conformance: list[str]) -> None:
    entries = set(re.findall(r"^  - ([a-z0-9-]+)", BASELINE.read_text(), re.MULTILINE))
    listed = subprocess.run([*conformance, "list", "--server"], capture_output=True, text=True, timeout=60, check=True)
    assert entries <= set(re.findall(r"^  - ([a-z0-9-]+)", listed.stdout, re.MULTILINE))
    assert entries.isdisjoint(MUST_PASS[LEGACY] | MUST_PASS[MODERN])
