"""Who may speak at the HTTP doors: the token, the Host and the Origin are looked at before anything is done."""

import json
from http.client import HTTPConnection
from urllib.parse import urlsplit

import pytest

from tests.integration.programs import WAIT_S, Brum, Program

PING = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "ping"})


def status_of(program: Program, method: str = "POST", path: str = "/mcp", **headers: str) -> int:
    url = urlsplit(program.url)
    assert url.hostname is not None
    connection = HTTPConnection(url.hostname, url.port, timeout=WAIT_S)
    try:
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, PING, {"Content-Type": "application/json", **headers})
        answer = connection.getresponse()
        answer.read()
        return answer.status
    finally:
        connection.close()


def test_an_instance_answers_nobody_without_its_token(brum: Brum) -> None:
    instance = brum.instance(brum.project("shop"))
    assert status_of(instance, Authorization=f"Bearer {instance.token}") == 200
    for wrong in (
        "",
        "Bearer",
        f"Bearer {instance.token}x",
        f"Bearer {instance.token[:-1]}",
        f"Basic {instance.token}",
    ):
        assert status_of(instance, Authorization=wrong) == 401
    assert status_of(instance) == 401


def test_a_hub_over_http_demands_the_token_that_it_was_given(brum: Brum) -> None:
    hub = brum.hub_over_http(BRUMMER_HTTP_TOKEN="secret")
    assert status_of(hub, Authorization="Bearer secret") == 200
    assert status_of(hub, Authorization="Bearer other") == 401
    assert status_of(hub) == 401


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "evil.example:7777", "", "localhost@evil.example"]
)
def test_a_strange_host_is_turned_away_even_with_the_token(brum: Brum, host: str) -> None:
    instance = brum.instance(brum.project("shop"))
    assert status_of(instance, Authorization=f"Bearer {instance.token}", Host=host) in (400, 403)


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "file://", "http://localhost.evil.example"])
def test_a_strange_origin_is_turned_away_even_with_the_token(brum: Brum, origin: str) -> None:
    instance = brum.instance(brum.project("shop"))
    assert status_of(instance, Authorization=f"Bearer {instance.token}", Origin=origin) == 403


def test_a_browser_on_this_machine_may_come_in(brum: Brum) -> None:
    hub = brum.hub_over_http()
    for origin in ("http://localhost:3000", "http://127.0.0.1", "https://localhost", "http://[::1]:5173"):
        assert status_of(hub, Origin=origin) == 200
    for host in ("localhost", "localhost:99", "127.0.0.1", "[::1]:80"):
        assert status_of(hub, Host=host) == 200


def test_other_doors_are_closed(brum: Brum) -> None:
    instance = brum.instance(brum.project("shop"))
    authorization = f"Bearer {instance.token}"
    assert status_of(instance, path="/", Authorization=authorization) == 404
    assert status_of(instance, method="GET", Authorization=authorization) == 405
    assert status_of(instance, method="PUT", Authorization=authorization) == 405
    assert status_of(instance, method="GET", path="/identity") == 400
    assert status_of(instance, method="GET", path="/identity?nonce=0123456789abcdef") == 200


def test_loopback_is_all_that_an_instance_listens_on(brum: Brum) -> None:
    instance = brum.instance(brum.project("shop"))
    assert urlsplit(instance.url).hostname == "127.0.0.1"
    port = urlsplit(instance.url).port
    with pytest.raises(OSError, match="refused"):
        HTTPConnection("127.0.0.2", port, timeout=WAIT_S).connect()
