"""Calls that wait for news (``wait_s``), through a hub, while their instance is killed, stopped, ended, and flooded."""

import asyncio
import signal
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

import pytest

from brummer.contract.texts import lines_of
from tests.integration.programs import BRUM, WAIT_S, Brum, Instance, within
from tests.integration.scenarios.stdio import Client

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="platform: /proc tells who is stopped")

LONGEST_S: Final = 20.0
FLOOD_PY: Final = """\
import sys
line = "nothing to see in this line of the flood\\n" * 200
while True:
    sys.stdout.write(line)
"""
PROCFILE: Final = f"""\
dev: echo up; exec sleep 300
flood: exec {sys.executable} flood.py
late: sleep 0.5; echo at last
"""


@pytest.fixture
def project(brum: Brum) -> Path:
    return brum.project("shop", {"Procfile": PROCFILE, "flood.py": FLOOD_PY})


@pytest.fixture
def instance(brum: Brum, project: Path) -> Instance:
    return brum.instance(project, "dev")


@pytest.fixture
async def client(brum: Brum, instance: Instance) -> AsyncIterator[Client]:
    async with Client.running(BRUM, "--mcp", env=brum.environment) as client:
        assert (await client.call("wait_for", instance=instance.id, process="dev", log="up", since="1h"))["matched"]
        yield client


async def read_up_to_now(client: Client, instance: Instance) -> dict[str, Any]:
    """Arguments that go on where everything has been read."""
    changes = await client.call("changes_since", instance=instance.id)
    lines = await client.call("logs_tail", instance=instance.id, cursor=changes["cursor"].rsplit(".", 2)[0] + ".0.0")
    return {
        "instance": instance.id,
        "cursor": lines["cursor"].rpartition(".")[0] + "." + changes["cursor"].rpartition(".")[2],
    }


async def waiting(client: Client, arguments: dict[str, Any]) -> dict[str, asyncio.Task[dict[str, Any]]]:
    """Both tools wait: an ordinary call after them is answered, and they are not."""
    tools = ("logs_tail", "changes_since")
    calls = {tool: asyncio.create_task(client.call(tool, wait_s=LONGEST_S, **arguments)) for tool in tools}
    await asyncio.sleep(0)  # they are sent first, and in this order
    await client.call("scripts_status", instance=arguments["instance"])
    assert not any(call.done() for call in calls.values())
    return calls


async def test_a_line_and_a_change_are_there_as_soon_as_they_happen(client: Client, instance: Instance) -> None:
    calls = await waiting(client, await read_up_to_now(client, instance))
    started = await client.call("scripts_run", instance=instance.id, name="late", wait="exit")
    assert started["status"] == "exited"
    news = await calls["changes_since"]
    assert (news["changes"][0]["kind"], news["changes"][0]["by"]) == ("started", "scenario 0")
    assert [line["text"] for line in lines_of(await calls["logs_tail"])] == ["at last"]


@pytest.mark.promise("news-is-waited-for")
@pytest.mark.parametrize("end", ["kill -9", "brum down"])
async def test_the_end_of_an_instance_ends_the_wait_and_its_black_box_answers(
    client: Client, brum: Brum, project: Path, instance: Instance, end: str
) -> None:
    calls = await waiting(client, await read_up_to_now(client, instance))
    began = time.monotonic()
    if end == "kill -9":
        instance.signal(signal.SIGKILL)
    else:
        await asyncio.to_thread(brum.run, "down", "-d", project)
    for tool, call in calls.items():
        answer = await call
        assert answer.get("from") == "black box", (tool, answer)
        assert "cursor_reset" not in answer
    assert time.monotonic() - began < LONGEST_S / 2
    again = time.monotonic()
    answer = await client.call(
        "logs_tail", instance=instance.id, wait_s=LONGEST_S, cursor="another.9.9", process="late"
    )
    assert "error" in answer or answer["from"] == "black box"
    assert time.monotonic() - again < LONGEST_S / 2, "a black box waits for nothing"


async def test_a_stopped_instance_is_replaced_by_its_black_box_and_answers_itself_when_it_goes_on(
    client: Client, instance: Instance
) -> None:
    arguments = await read_up_to_now(client, instance)
    calls = await waiting(client, arguments)
    instance.signal(signal.SIGSTOP)
    began = time.monotonic()
    try:
        for call in calls.values():
            assert (await call)["from"] == "black box"
        assert time.monotonic() - began < LONGEST_S
        again = time.monotonic()
        assert (await client.call("changes_since", wait_s=LONGEST_S, **arguments))["from"] == "black box"
        assert time.monotonic() - again < LONGEST_S / 2
    finally:
        instance.signal(signal.SIGCONT)
    async with asyncio.timeout(WAIT_S):
        while (await client.links())[instance.id]["state"] != "ready":
            await asyncio.sleep(0.01)
    calls = await waiting(client, arguments)
    await client.call("scripts_run", instance=instance.id, name="late", wait="exit")
    for call in calls.values():
        assert "from" not in await call


def connections(pid: int) -> int:
    """Of the process, with all else that is a socket."""
    return sum(1 for entry in Path(f"/proc/{pid}/fd").iterdir() if str(entry.readlink()).startswith("socket:"))


async def test_a_hub_that_is_killed_leaves_no_wait_in_the_instance(
    brum: Brum, client: Client, instance: Instance
) -> None:
    await read_up_to_now(client, instance)
    before = connections(instance.pid)
    other = await Client.start(BRUM, "--mcp", env=brum.environment)
    calls = await waiting(other, await read_up_to_now(other, instance))
    assert connections(instance.pid) >= before + len(calls)
    other.process.kill()
    for call in calls.values():
        with pytest.raises(EOFError):
            await call
    await other.close()
    assert await asyncio.to_thread(within, WAIT_S, lambda: connections(instance.pid) <= before)


async def test_waits_on_a_script_that_floods_go_on_and_leave_the_instance_answering(
    client: Client, instance: Instance
) -> None:
    """By level, where no line matches: each line is looked at once, and the wait lasts to its end."""
    arguments = await read_up_to_now(client, instance)
    await client.call("scripts_run", instance=instance.id, name="flood", wait="none")
    serious = asyncio.create_task(client.call("logs_tail", wait_s=5, level="error", **arguments))
    took: list[float] = []
    cursor = arguments["cursor"]
    read = 0
    while not serious.done():
        began = time.monotonic()
        page = await client.call("logs_tail", instance=instance.id, cursor=cursor, wait_s=LONGEST_S, limit=1_000)
        cursor, read = page["cursor"], read + len(lines_of(page))
        await client.call("scripts_status", instance=instance.id)
        took.append(time.monotonic() - began)
    answer = await serious
    assert (answer["lines"], "error" in answer) == ([], False)
    took.sort()
    print(
        f"{len(took)} rounds in a flood, the slowest of 100 took {took[len(took) * 99 // 100]:.3f} s; {read} lines read"
    )
    assert len(took) > 5
    assert took[len(took) // 2] < 1.0
    await client.call("scripts_stop", instance=instance.id, name="flood")


async def test_a_hundred_waits_queue_and_ordinary_calls_pass_them(client: Client, instance: Instance) -> None:
    arguments = await read_up_to_now(client, instance)
    asked = {"name": "changes_since", "arguments": {**arguments, "wait_s": LONGEST_S}}
    numbers = [client.send("tools/call", asked) for _ in range(100)]
    answers = [asyncio.create_task(client.answer(number)) for number in numbers[50:]]
    began = time.monotonic()
    assert (await client.call("scripts_status", instance=instance.id))["processes"]
    assert time.monotonic() - began < LONGEST_S / 2
    for number in numbers[:50]:
        client.cancel(number)
    await client.call("scripts_run", instance=instance.id, name="late", wait="none")
    for answer in await asyncio.gather(*answers):
        assert answer["result"]["structuredContent"]["changes"], answer
