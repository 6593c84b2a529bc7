"""Hundreds of connections without the token: clients that have it are served all the same."""

from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest

from tests.integration.programs import WAIT_S, Brum, Program, within
from tests.integration.scenarios.http_client import HttpClient
from tests.integration.scenarios.ports import free_port
from tests.integration.test_http_doors import status_of

FLOOD = Path(__file__).parent / "scenarios" / "flood.py"
FLOODS = [
    ["silent"],
    ["half", "drip", "tls"],
    ["unauthorized", "foreign", "http2"],
    ["open", "forged"],
    ["churn"],
]
COUNT = 300
"""More than the places of all clients together."""


def flood(brum: Brum, url: str, *kinds: str) -> list[Program]:
    """Under way."""
    parts = urlsplit(url)
    assert parts.hostname
    programs = [brum.python(FLOOD, parts.hostname, str(parts.port), kind, str(COUNT)) for kind in kinds]
    for program in programs:
        program.stdout.until("flooding", 3 * WAIT_S)
    return programs


@pytest.mark.promise("floods-of-connections")
@pytest.mark.parametrize("kinds", FLOODS, ids="-".join)
def test_an_instance_that_is_flooded_serves_its_hubs_and_new_ones(brum: Brum, kinds: Sequence[str]) -> None:
    project = brum.project("shop")
    instance = brum.instance(project)
    early = brum.hub().greet()
    assert early.call("scripts_list")["scripts"]
    before = early.call("hub_status")["links"][0]
    flood(brum, instance.url, *kinds)
    late = brum.hub().greet()
    for hub in (early, late, early):
        assert hub.call("scripts_list")["scripts"]
    after = early.call("hub_status")["links"][0]
    assert (after["state"], after["local_port"]) == ("ready", before["local_port"])


@pytest.mark.parametrize("kind", ["silent", "half", "churn"])
async def test_a_hub_over_http_that_is_flooded_serves_its_clients_and_new_ones(brum: Brum, kind: str) -> None:
    hub = brum.hub_over_http()
    early = await HttpClient.connected(hub.url, token=brum.http_token)
    flood(brum, hub.url, kind)
    late = await HttpClient.connected(hub.url, token=brum.http_token)
    for client in (early, late):
        assert await client.call("instances_list") == {"instances": []}


def test_a_port_of_metrics_that_is_flooded_serves_its_scraper(brum: Brum) -> None:
    address = f"127.0.0.1:{free_port()}"
    instance: Program = brum.instance(brum.project("shop"), "--metrics", address)
    instance.url = f"http://{address}/"
    flood(brum, instance.url, "silent", "half")
    assert status_of(instance, "GET", "/metrics", **brum.authorization) == 200


def test_a_flood_leaves_no_connection_behind(brum: Brum) -> None:
    instance = brum.instance(brum.project("shop"))
    process = psutil.Process(instance.pid)
    floods = flood(brum, instance.url, "silent", "half")
    assert len(process.net_connections()) <= 200
    for program in floods:
        program.end()
    assert within(WAIT_S, lambda: [each.status for each in process.net_connections()] == ["LISTEN"])
