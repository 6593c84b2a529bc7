"""What an agent does all day: start the server, break it, learn what happened, mend it; in few calls and few bytes.

The dev server is `node --watch`: it restarts on a change, and stays when the program has crashed.
"""

from pathlib import Path
from typing import Any, Final

import msgspec
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
