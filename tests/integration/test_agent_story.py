"""What an agent does all day: start the server, break it, learn what happened, mend it; in few calls and few bytes.

The dev server is `node --watch`: it restarts on a change, and stays when the program has crashed.
"""

import http.client
import json
import os
import socket
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import msgspec
import psutil
import pytest

from tests.integration.programs import WAIT_S, Brum, Hub

MOST_CALLS: Final = 6
MOST_BYTES: Final = 4 * 1024
"""Bytes that an agent reads: the results."""

SERVER_JS: Final = """\
const http = require("http");
const greeting = () => "hello";
http.createServer((_, response) => response.end(greeting()))
  .listen(0, "127.0.0.1", function () { console.log(`ready on http://127.0.0.1:${this.address().port}/`); });
"""
BROKEN_JS: Final = SERVER_JS.replace('const greeting = () => "hello";', "const greeting = config.greeting;")


class Agent:
    """Counts its calls and what it has read."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self.calls = 0
        self.bytes = 0

    def call(self, tool: str, **arguments: Any) -> dict[str, Any]:
        """A model is shown the text or the structured content, by its client: the longer one counts."""
        result = self._hub.ask("tools/call", 3 * WAIT_S, name=tool, arguments=arguments)
        answer: dict[str, Any] = result["structuredContent"]
        text: str = result["content"][0]["text"]
        self.calls += 1
        self.bytes += max(len(text.encode()), len(msgspec.json.encode(answer)))
        assert not result["isError"], answer
        return answer


@pytest.fixture
def project(brum: Brum, node: Path) -> Path:
    return brum.project("shop", {"Procfile": f"dev: exec {node} --watch server.js\n", "server.js": SERVER_JS})


@pytest.mark.promise("few-calls-to-understand")
def test_a_server_is_started_broken_understood_and_mended_in_few_calls_and_bytes(
    brum: Brum, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    brum.instance(project)
    agent = Agent(brum.hub(cwd=project).greet())

    server = agent.call("scripts_run", name="dev")
    assert server["status"] == "ready"

    (project / "server.js").write_text(BROKEN_JS)
    agent.call("wait_for", process="dev", log="Failed running", cursor=server["cursor"])
    happened = agent.call("changes_since")
    [error] = [change for change in happened["changes"] if change["kind"] == "error"]
    assert error["title"] == "ReferenceError: config is not defined"
    assert error["where"] == f"{project / 'server.js'}:2"
    assert "const greeting = config.greeting;" in error["lines"]

    (project / "server.js").write_text(SERVER_JS)
    again = agent.call("wait_for", process="dev", log="ready on", since=error["at"])
    assert again["matched"]
    after = agent.call("changes_since", cursor=happened["cursor"])
    assert [change["kind"] for change in after["changes"]] == ["url"]

    with capsys.disabled():
        print(f"\nan agent's story: {agent.calls} calls, {agent.bytes} bytes of results")
    assert agent.calls <= MOST_CALLS
    assert agent.bytes <= MOST_BYTES


@pytest.mark.promise("few-calls-to-understand")
def test_a_script_that_crashes_at_its_start_is_understood_and_mended_in_few_calls_and_bytes(brum: Brum) -> None:
    """Without any watcher: the answer to the start names the error."""
    project = brum.project(
        "tool", {"Procfile": "job: python3 job.py\n", "job.py": "import json\nprint(json.loads('{'))\n"}
    )
    brum.instance(project)
    agent = Agent(brum.hub(cwd=project).greet())
    failed = agent.call("scripts_run", name="job", wait="exit")
    assert failed["errors"]["first"].startswith("json.decoder.JSONDecodeError: Expecting property name")
    assert failed["errors"]["where"].endswith("/job.py:2")
    (project / "job.py").write_text("print('done')\n")
    assert agent.call("scripts_run", name="job", wait="exit")["exit_code"] == 0
    assert (agent.calls, agent.bytes < MOST_BYTES) == (2, True)


# From nothing: no instance runs.

WATCH_PY: Final = """\
import os, subprocess, sys, time
while True:
    app = subprocess.Popen([sys.executable, "-I", "app.py"])
    seen = os.stat("app.py").st_mtime_ns
    while os.stat("app.py").st_mtime_ns == seen:
        time.sleep(0.05)
    print("Restarting 'app.py'", flush=True)
    app.kill()
    app.wait()
"""
APP_PY: Final = """\
import http.server

PRICES = {"/tea": 3}

class Shop(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        price = PRICES[self.path]
        self.send_response(200)
        self.end_headers()
        self.wfile.write(str(price).encode())

if __name__ == "__main__":
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Shop)
    print(f"ready on http://127.0.0.1:{server.server_port}/", flush=True)
    server.serve_forever()
"""
TEST_PY: Final = """\
import sys, unittest
sys.path.insert(0, ".")
import app

class Prices(unittest.TestCase):
    def test_cake(self):
        self.assertEqual(app.PRICES["/cake"], 4)

unittest.main()
"""
FLAKY_PY: Final = """\
import pathlib, time
runs = pathlib.Path("runs")
count = int(runs.read_text()) + 1 if runs.exists() else 1
runs.write_text(str(count))
print(f"run {count}", flush=True)
if count < 3:
    raise ConnectionError("database is not there yet")
print("serving", flush=True)
time.sleep(600)
"""
SHOP: Final = {
    "Procfile": f"dev: exec {sys.executable} -I watch.py\ntest: {sys.executable} -I test_app.py\n",
    ".brum.toml": '[scripts.worker]\ncommand = "sleep 600"\nautostart = true\n',
    "watch.py": WATCH_PY,
    "app.py": APP_PY,
    "test_app.py": TEST_PY,
}


@pytest.fixture
def world(brum: Brum) -> Iterator[Brum]:
    """Instances that agents have started are nobody's children: they are ended by their mark."""
    yield brum
    brum.kill_all()


def get(url: str) -> bool:
    """Whether the server answers with 200."""
    try:
        with urllib.request.urlopen(url, timeout=WAIT_S) as page:
            return bool(page.status == 200)
    except (OSError, http.client.HTTPException):
        return False


def told(capsys: pytest.CaptureFixture[str], story: str, agent: Agent) -> None:
    with capsys.disabled():
        print(f"\n{story}: {agent.calls} calls, {agent.bytes} bytes of results")
    assert agent.calls <= MOST_CALLS
    assert agent.bytes <= MOST_BYTES


@pytest.mark.promise("few-calls-to-understand")
def test_from_nothing_a_project_is_started_its_error_found_and_mended_and_its_tests_run(
    world: Brum, capsys: pytest.CaptureFixture[str]
) -> None:
    project = world.project("shop", SHOP)
    agent = Agent(world.hub(cwd=project).greet())

    server = agent.call("scripts_run", instance=str(project), name="dev")
    assert server["status"] == "ready"
    assert server["started_instance"]["directory"] == str(project)
    assert not get(f"{server['urls'][0]}cake")

    happened = agent.call("changes_since", cursor=server["cursor"])
    [error] = [change for change in happened["changes"] if change["kind"] == "error"]
    assert (error["title"], error["where"]) == ("KeyError: '/cake'", f"{project / 'app.py'}:7")

    (project / "app.py").write_text(APP_PY.replace('"/tea": 3', '"/tea": 3, "/cake": 4'))
    mended = agent.call("wait_for", process="dev", log="ready on", cursor=happened["cursor"])
    assert (mended["matched"], mended["process"]["errors"]["since_start"]) == (True, 0)
    assert get(f"{mended['line']['text'].split()[-1]}cake")

    tests = agent.call("scripts_run", name="test", wait="exit")
    assert tests["exit_code"] == 0
    told(capsys, "from nothing", agent)
    [listed] = json.loads(world.run("ls", "--json").stdout)["instances"]
    assert listed["started_by"] == "test", "the name that the client gives"
    assert "STARTED BY" in world.run("ls").stdout
    assert "--end-idle=30m" in psutil.Process(listed["pid"]).cmdline()

    [status] = [each["name"] for each in json.loads(world.run("ps", "--json", cwd=project).stdout)["processes"]][:1]
    assert status != "worker", "scripts with autostart are not started"


@pytest.mark.promise("few-calls-to-understand")
def test_a_server_that_crashes_now_and_then_is_understood(world: Brum, capsys: pytest.CaptureFixture[str]) -> None:
    settings = f'[scripts.dev]\ncommand = "exec {sys.executable} -I flaky.py"\nrestart = "on-failure"\n'
    project = world.project("flaky", {".brum.toml": settings, "flaky.py": FLAKY_PY})
    agent = Agent(world.hub(cwd=project).greet())

    first = agent.call("scripts_run", instance=str(project), name="dev", wait="none")
    steady = agent.call("wait_for", process="dev", log="serving", cursor=first["cursor"])
    assert steady["matched"]
    assert steady["process"]["restarts"] == 2
    happened = agent.call("changes_since", cursor=first["cursor"])
    failures = [change for change in happened["changes"] if change["kind"] == "failed"]
    assert [change["first_error"] for change in failures] == [
        f"ConnectionError: database is not there yet ({project / 'flaky.py'}:7)"
    ] * 2
    told(capsys, "a flaky server", agent)


@pytest.mark.promise("few-calls-to-understand")
def test_a_port_that_another_program_has_is_named_with_its_owner(
    world: Brum, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as stranger:
        port = stranger.getsockname()[1]
        serve = f"exec {sys.executable} -I -m http.server --bind 127.0.0.1 {port}"
        settings = f'[scripts.dev]\ncommand = "{serve}"\nready = {{ port = {port} }}\n'
        project = world.project("late", {".brum.toml": settings})
        agent = Agent(world.hub(cwd=project).greet())
        failed = agent.call("scripts_run", instance=str(project), name="dev")
        assert (failed["status"], failed["port_owner"]["pid"]) == ("failed", os.getpid())
    served = agent.call("scripts_run", instance=str(project), name="dev")
    assert (served["status"], agent.calls) == ("ready", 2)
    told(capsys, "a port taken by somebody", agent)


def test_an_instance_that_ends_when_idle_waits_for_its_script_and_then_ends(world: Brum) -> None:
    """As one that was started for an agent, which has half an hour; the script runs longer than this one has."""
    project = world.project("shop", {"Procfile": "job: sleep 3\n"})
    instance = world.instance(project, "job", "--end-idle", "1s", "--started-by", "an agent")
    assert instance.wait() == 0
    assert world.gone()
    [job] = json.loads(world.run("ps", "--json", cwd=project).stdout)["processes"]
    assert (job["status"], job["exit_code"]) == ("exited", 0)
    assert json.loads(world.run("ls", "--json").stdout)["instances"] == []


@pytest.mark.promise("run-ensures")
def test_two_hubs_that_ask_at_once_start_one_instance_and_it_outlives_both(world: Brum) -> None:
    project = world.project("shop", SHOP)
    hubs = [world.hub(cwd=project).greet() for _ in range(2)]
    asked = {"name": "scripts_run", "arguments": {"instance": str(project), "name": "dev", "wait": "none"}}
    for number, hub in enumerate(hubs):
        hub.send(
            json.dumps({"jsonrpc": "2.0", "id": f"at-once-{number}", "method": "tools/call", "params": asked}).encode()
            + b"\n"
        )
    answers = [hub.answer_to(f"at-once-{number}")["result"] for number, hub in enumerate(hubs)]
    assert not any(answer["isError"] for answer in answers), answers
    assert len({answer["structuredContent"]["pid"] for answer in answers}) == 1
    assert sorted(answer["structuredContent"]["already_running"] for answer in answers) == [False, True]
    for hub in hubs:
        hub.process.kill()
    assert world.run("ps", cwd=project).status == 0
    assert world.run("down", cwd=project).status == 0


def test_an_instance_that_does_not_start_says_why_and_one_that_may_not_names_the_command(world: Brum) -> None:
    project = world.project("shop", {**SHOP, ".brum.toml": "journal_size = 'nonsense'\n"})
    hub = world.hub(cwd=project).greet()
    failed = hub.ask("tools/call", 3 * WAIT_S, name="scripts_run", arguments={"instance": str(project), "name": "dev"})
    error = failed["structuredContent"]["error"]
    assert (error["code"], error["outcome"]) == ("not_started", "not_executed")
    assert error["context"]["last_lines"]
    empty = world.project("empty", {"README": "nothing to run"})
    other = world.hub(cwd=empty).greet()
    texts = []
    for place, code in ((empty, "nothing_to_run"), (project, "not_allowed")):
        answer = other.ask("tools/call", WAIT_S, name="instances_connect", arguments={"instance": str(place)})
        assert answer["structuredContent"]["error"]["code"] == code
        texts.append(answer["content"][0]["text"])
    assert f"brum up -d {project}" in texts[-1]


@pytest.mark.promise("few-calls-to-understand")
def test_of_two_projects_the_one_that_is_broken_is_found(world: Brum, capsys: pytest.CaptureFixture[str]) -> None:
    shop = world.project("shop", SHOP)
    api = world.project("api", {**SHOP, "app.py": APP_PY.replace("PRICES = ", "PRICES = CURRENCY, ")})
    agent = Agent(world.hub(cwd=world.home).greet())
    world.instance(shop, "dev", "--no-autostart")
    world.instance(api, "dev", "--no-autostart")

    while True:  # a person has started both, and looks when they have: that is not the agent's work
        agent.calls = agent.bytes = 0
        status = agent.call("scripts_status", instance="*")
        states = {each["status"] for each in status["processes"] if "errors" in each or each["urls"]}
        if states == {"ready", "running"}:
            break
    [broken] = [each for each in status["processes"] if each["status"] == "running"]
    assert broken["instance"].startswith("api-")
    assert broken["errors"]["last"] == "NameError: name 'CURRENCY' is not defined"
    assert broken["errors"]["last_where"] == f"{api / 'app.py'}:3"

    (api / "app.py").write_text(APP_PY)
    mended = agent.call("wait_for", instance="*", log="ready on", cursor=status["cursor"])
    assert mended["instance"] == broken["instance"]
    happened = agent.call("changes_since", instance="*", cursor=status["cursor"])
    assert [(each["instance"], each["kind"]) for each in happened["changes"]][:1] == [(broken["instance"], "url")]
    assert "cursor_reset" not in happened
    told(capsys, "two projects compared", agent)
