"""Who may speak at the HTTP doors: the token, the Host and the Origin are looked at before anything is done."""

import json
from http.client import HTTPConnection
from urllib.parse import urlsplit

import pytest

from tests.integration.programs import BRUM, WAIT_S, Brum, Program, within
from tests.integration.scenarios.http_client import HttpClient
from tests.integration.scenarios.ports import free_port

PING = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "ping"})


def status_of(
    program: Program, method: str = "POST", path: str = "/mcp", body: str | None = PING, **headers: str
) -> int:
    url = urlsplit(program.url)
    assert url.hostname is not None
    connection = HTTPConnection(url.hostname, url.port, timeout=WAIT_S)
    try:
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, body, {"Content-Type": "application/json", **headers})
        answer = connection.getresponse()
        answer.read()
        return answer.status
    finally:
        connection.close()


@pytest.mark.promise("a-token-at-every-port")
def test_an_instance_answers_no_client_without_its_token(brum: Brum) -> None:
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


def test_a_hub_over_http_requires_the_users_token_which_outlives_it(brum: Brum) -> None:
    first = brum.hub_over_http()
    token = brum.http_token
    assert status_of(first, Authorization=f"Bearer {token}") == 200
    assert status_of(first) == 401
    assert status_of(first, Authorization=f"Bearer {token}x") == 401
    first.end()
    assert status_of(brum.hub_over_http(), Authorization=f"Bearer {token}") == 200


def test_hubs_that_start_at_once_agree_on_the_token(brum: Brum) -> None:
    programs = [brum.start(BRUM, "--mcp", "--http", "127.0.0.1:0") for _ in range(5)]
    for program in programs:
        program.url = program.stdout.until("http://").split()[-1]
    statuses = [status_of(program, **brum.authorization) for program in programs]
    assert statuses == [200] * len(programs)


def test_the_variable_overrides_the_token_and_creates_none(brum: Brum) -> None:
    hub = brum.hub_over_http(BRUMMER_HTTP_TOKEN="secret")
    assert status_of(hub, Authorization="Bearer secret") == 200
    assert status_of(hub, Authorization="Bearer other") == 401
    assert status_of(hub) == 401
    assert not brum.http_token_file.exists()


@pytest.mark.parametrize("kind", ["readable", "link", "directory", "empty"])
def test_a_token_file_that_proves_nothing_is_refused_with_its_path(brum: Brum, kind: str) -> None:
    file = brum.http_token_file
    file.parent.mkdir(parents=True)
    if kind == "link":
        file.symlink_to(brum.home / "elsewhere")
    elif kind == "directory":
        file.mkdir()
    else:
        file.write_text("known\n" if kind == "readable" else "")
        file.chmod(0o644 if kind == "readable" else 0o600)
    for command in (["--mcp", "--http", "127.0.0.1:0"], ["mcp-config", "--http"]):
        done = brum.run(*command)
        assert (done.status, done.stdout) == (1, "")
        assert str(file) in done.stderr
        assert "known" not in done.stderr


@pytest.mark.promise("a-token-at-every-port")
@pytest.mark.parametrize("command", [["--mcp", "--http"], ["--mcp", "--metrics"], ["--metrics"]], ids=" ".join)
def test_every_port_refuses_requests_without_the_token_in_the_same_words(brum: Brum, command: list[str]) -> None:
    address = f"127.0.0.1:{free_port()}"
    if "--http" in command:
        program: Program = brum.start(BRUM, *command, address)
        program.stdout.until("http://")
    elif "--mcp" in command:
        program = brum.hub("--metrics", address).greet()
    else:
        program = brum.instance(brum.project("shop"), "--metrics", address)
    program.url = f"http://{address}/"
    assert within(WAIT_S, lambda: answers(program))
    for method in ("GET", "POST", "DELETE", "OPTIONS"):
        for path in ("/", "/mcp", "/metrics", "/identity?nonce=0123456789abcdef"):
            assert status_of(program, method, path) == 401
            assert status_of(program, method, path, Host="evil.example") == 403
            assert status_of(program, method, path, Origin="http://evil.example") == 403
    served = ("GET", "/metrics") if "--metrics" in command else ("POST", "/mcp")
    assert status_of(program, *served, **brum.authorization) == 200
    assert status_of(program, *served, Host="my-machine.example", **brum.authorization) == 200
    assert status_of(program, *served, Origin="http://evil.example", **brum.authorization) == 403


def answers(program: Program) -> bool:
    try:
        status_of(program)
    except OSError:
        return False
    return True


@pytest.mark.promise("no-secret-leaks")
@pytest.mark.parametrize("started", ["instance", "in the background"])
def test_no_script_inherits_the_token(brum: Brum, started: str) -> None:
    told = "echo token=${BRUMMER_HTTP_TOKEN-none}"
    project = brum.project("shop", {"Procfile": f"tell: {told}\n"})
    if started == "instance":
        brum.instance(project, BRUMMER_HTTP_TOKEN="secret")
    else:
        brum.run("up", cwd=project, BRUMMER_HTTP_TOKEN="secret")
    content = json.loads(brum.run("call", "shop", "scripts_run", '{"name": "tell", "wait": "exit"}').stdout)
    assert content["exit_code"] == 0
    try:
        assert "token=none" in brum.run("logs", "tell", cwd=project).stdout
    finally:
        brum.run("down", cwd=project)


def test_a_hub_for_other_machines_serves_requests_with_the_token_under_any_name(brum: Brum) -> None:
    hub = brum.start(BRUM, "--mcp", "--http", "0.0.0.0:0")
    hub.url = hub.stdout.until("http://").split()[-1].replace("0.0.0.0", "127.0.0.1")
    for host in ("192.0.2.7:7700", "my-machine.example", "localhost"):
        assert status_of(hub, Host=host, **brum.authorization) == 200
    assert status_of(hub, Host="my-machine.example") == 403
    assert status_of(hub, Host="localhost") == 401


def test_localhost_is_served_at_both_addresses(brum: Brum) -> None:
    hub = brum.start(BRUM, "--mcp", "--http", "localhost:0")
    url = hub.stdout.until("http://").split()[-1]
    for address in ("127.0.0.1", "[::1]"):
        hub.url = url.replace("localhost", address)
        assert status_of(hub, **brum.authorization) == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "evil.example:7777", "", "localhost@evil.example"]
)
def test_a_strange_host_is_turned_away_without_the_token(brum: Brum, host: str) -> None:
    instance = brum.instance(brum.project("shop"))
    assert status_of(instance, Host=host) in (400, 403)


@pytest.mark.promise("loopback-only")
@pytest.mark.parametrize("origin", ["http://evil.example", "null", "file://", "http://localhost.evil.example"])
def test_a_strange_origin_is_turned_away_even_with_the_token(brum: Brum, origin: str) -> None:
    instance = brum.instance(brum.project("shop"))
    assert status_of(instance, Authorization=f"Bearer {instance.token}", Origin=origin) == 403


def test_a_browser_on_this_machine_may_come_in(brum: Brum) -> None:
    hub = brum.hub_over_http()
    for origin in ("http://localhost:3000", "http://127.0.0.1", "https://localhost", "http://[::1]:5173"):
        assert status_of(hub, Origin=origin, **brum.authorization) == 200
    for host in ("localhost", "localhost:99", "127.0.0.1", "[::1]:80"):
        assert status_of(hub, Host=host, **brum.authorization) == 200


def test_other_doors_are_closed(brum: Brum) -> None:
    instance = brum.instance(brum.project("shop"))
    authorization = f"Bearer {instance.token}"
    assert status_of(instance, path="/", Authorization=authorization) == 404
    assert status_of(instance, method="GET", Authorization=authorization) == 405
    assert status_of(instance, method="PUT", Authorization=authorization) == 405
    identity = "/identity?nonce=0123456789abcdef"
    assert status_of(instance, method="GET", path="/identity", body=None) == 400
    assert status_of(instance, method="GET", path=identity, body=None) == 200
    assert status_of(instance, method="GET", path=identity) == 401, "no byte of a body is kept without the token"
    assert status_of(instance, path=identity, body=None) == 401


@pytest.mark.promise("loopback-only")
def test_loopback_is_all_that_an_instance_listens_on(brum: Brum) -> None:
    instance = brum.instance(brum.project("shop"))
    assert urlsplit(instance.url).hostname == "127.0.0.1"
    port = urlsplit(instance.url).port
    with pytest.raises(OSError, match="refused"):
        HTTPConnection("127.0.0.2", port, timeout=WAIT_S).connect()


# Sessions.


async def test_a_session_outlives_the_hub(brum: Brum) -> None:
    """The next hub is another process, on the same port."""
    brum.instance(brum.project("shop"))
    address = f"127.0.0.1:{free_port()}"
    first = brum.start(BRUM, "--mcp", "--http", address)
    url = first.stdout.until("http://").split()[-1]
    client = await HttpClient.connected(url, token=brum.http_token)
    assert (await client.call("scripts_list"))["scripts"]
    first.end()
    brum.start(BRUM, "--mcp", "--http", address).stdout.until("http://")
    assert (await client.call("scripts_list"))["scripts"]


async def test_a_choice_is_said_to_be_remembered_only_in_a_session_that_lasts(brum: Brum) -> None:
    brum.instance(brum.project("shop"))
    url = brum.hub_over_http().url
    for_one_call = await HttpClient.connected(url, token=brum.http_token)
    assert (await for_one_call.call("instances_connect", instance="shop"))["remembered"] is False
    client = await HttpClient.connected(url, token=brum.http_token)
    assert (await client.call("instances_connect", instance="shop"))["remembered"] is False
    assert (await client.call("instances_connect", instance="shop"))["remembered"] is True
