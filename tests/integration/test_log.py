"""What the programs say on stderr while things go wrong: the story with its ids, and never a secret."""

import json
import signal
from typing import Any

from tests.integration.programs import Brum

PASSWORD = "correct-horse-battery-staple"


def test_the_log_tells_each_transition_with_its_reason_and_no_secret(brum: Brum) -> None:
    project = brum.project("shop")
    first = brum.instance(project, "--log-level", "debug")
    (brum.home / ".brum.toml").write_text(
        f'[servers.docs]\nurl = "http://me:{PASSWORD}@127.0.0.1:9/mcp"\n'
        f'headers = {{ authorization = "Bearer {PASSWORD}" }}\n'
    )
    hub = brum.hub("--log-level", "debug", "--log-json").greet()
    hub.call("scripts_status", instance=first.id)
    first.signal(signal.SIGKILL)
    first.wait()
    second = brum.instance(project, "--log-level", "debug")
    hub.call("scripts_run", instance=second.id, name="hello")
    hub.call("hub_status")
    hub.close_stdin()
    assert hub.wait() == 0

    text = hub.stderr.rest()
    lines: list[dict[str, Any]] = [json.loads(line) for line in text.splitlines()]
    moves = [line for line in lines if line.get("event", "").startswith("link_") and line["link"] == second.id]
    assert all(line["reason"] and line["level"] == "info" for line in moves)
    assert [line["state"] for line in moves if line["state"] in ("ready", "gone")] == ["ready", "gone", "ready"]
    calls = [line for line in lines if line.get("event", "").startswith("call_")]
    assert {line["tool"] for line in calls} >= {"scripts_status", "scripts_run"}
    assert all(line["call"] for line in calls)

    for instance in (first, second):
        instance.end()
        for secret in (instance.token, PASSWORD):
            assert secret not in text
            assert secret not in "".join(instance.stderr.seen)
