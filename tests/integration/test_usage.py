"""CPU and memory of real scripts, as an agent, a person and a scraper see them, and after the death of the instance."""

import re
import signal
import sys
from typing import Any

from tests.integration.programs import WAIT_S, Brum, Hub, tasks, within

BURNS = f"{sys.executable} -I -S -c 'while True: pass' & {sys.executable} -I -S -c 'while True: pass' & wait"
HOLDS = f"{sys.executable} -I -S -c 'kept = bytearray(100 << 20); import time; time.sleep(600)' & wait"
ESCAPES = f"setsid {HOLDS}"
SHORT = f"{sys.executable} -I -S -c 'import time\nwhile time.process_time() < 0.3: pass'"


def used(hub: Hub, name: str) -> dict[str, Any]:
    answer = hub.call("instance_call", tool="scripts_usage", arguments={"name": name})
    (script,) = answer["scripts"]
    return dict(script)


def test_an_agent_finds_the_tool_and_sees_what_burns_and_what_holds_memory(brum: Brum) -> None:
    project = brum.project("shop", tasks({"burns": BURNS, "holds": HOLDS, "escapes": ESCAPES}))
    brum.instance(project)
    hub = brum.hub(cwd=project).greet()
    assert "scripts_usage" in [tool["name"] for tool in hub.call("instance_tools")["tools"]]
    for name in ("burns", "holds", "escapes"):
        hub.call("scripts_run", name=name, wait="none")
    assert within(WAIT_S, lambda: (used(hub, "burns")["cpu"] or 0) > 0.05)
    for name in ("holds", "escapes"):
        assert within(WAIT_S, lambda name=name: (used(hub, name)["memory_mib"] or 0) > 100)  # type: ignore[misc]
        assert used(hub, name)["cpu"] < 0.5
    assert used(hub, "burns")["processes"] >= 3
    status = {each["name"]: each for each in hub.call("scripts_status")["processes"]}
    assert status["holds"]["memory_max_mib"] > 100
    assert status["burns"]["cpu_s"] > 0.05
    stopped = hub.call("scripts_stop", name="escapes")
    assert stopped["memory_max_mib"] > 100
    assert used(hub, "escapes")["processes"] == 0


def test_a_person_sees_it_in_the_table_and_a_scraper_in_the_metrics(brum: Brum) -> None:
    project = brum.project("shop", tasks({"holds": HOLDS, "short": SHORT}))
    brum.instance(project, "holds")
    assert brum.run("up", "short", cwd=project).status == 0
    assert within(WAIT_S, lambda: re.search(r"holds +running .* 1\d\d MiB ", table(brum, project)) is not None)
    holds, short = (line.split() for line in sorted(table(brum, project).splitlines()[1:]))
    assert "%" in holds[3]
    assert short[1:6] == ["exited", "-", "-", "-", "-"]
    metrics = brum.run("metrics").stdout
    (memory,) = re.findall(r'brummer_script_memory_bytes\{script="holds",[^}]*\} (\S+)', metrics)
    assert float(memory) > 100 << 20
    assert {"holds", "short"} == set(re.findall(r'brummer_script_cpu_seconds_total\{script="(\w+)"', metrics))


def table(brum: Brum, project: Any) -> str:
    return str(brum.run("ps", "--usage", cwd=project).stdout)


def test_a_run_that_ended_keeps_its_figures_in_the_black_box_and_one_that_was_lost_has_none(brum: Brum) -> None:
    project = brum.project("shop", tasks({"short": SHORT, "holds": HOLDS}))
    instance = brum.instance(project)
    hub = brum.hub(cwd=project).greet()
    ended = hub.call("scripts_run", name="short", wait="exit")
    assert 0.3 <= ended["cpu_s"] < 30
    hub.call("scripts_run", name="holds", wait="none")
    assert hub.call("scripts_status", name="holds")["processes"][0]["cpu_s"] >= 0
    assert within(WAIT_S, lambda: is_kept(brum, b"holds-1"))  # it is written in the background
    instance.signal(signal.SIGKILL)
    instance.wait()
    assert within(WAIT_S, lambda: hub.call("scripts_status", instance="shop").get("from") == "black box")
    kept = {each["name"]: each for each in hub.call("scripts_status", instance="shop")["processes"]}
    assert kept["short"]["cpu_s"] == ended["cpu_s"]
    assert kept["holds"]["status"] == "lost"
    assert not {"cpu_s", "memory_max_mib"} & kept["holds"].keys()


def is_kept(brum: Brum, text: bytes) -> bool:
    files = (path for path in brum.instances.rglob("*") if "black-box" in path.parts and path.is_file())
    return any(text in path.read_bytes() for path in files)
