"""logind's word before a sleep, from a bus of our own with somebody on it who says what logind says."""

import asyncio
import shutil
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.integration.programs import BRUM, WAIT_S, Brum
from tests.integration.scenarios.stdio import Client

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="platform: logind is Linux'")

CONFIGURATION = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>system</type>
  <listen>unix:path=PATH</listen>
  <policy context="default"><allow send_destination="*"/><allow eavesdrop="true"/><allow own="*"/></policy>
</busconfig>
"""


@pytest.fixture
async def bus(tmp_path: Path) -> AsyncIterator[str]:
    """The address of a private system bus."""
    daemon = shutil.which("dbus-daemon")
    assert daemon, "make integration-test installs it"
    configuration = tmp_path / "bus.conf"
    configuration.write_text(CONFIGURATION.replace("PATH", str(tmp_path / "bus")))
    process = await asyncio.create_subprocess_exec(
        daemon, f"--config-file={configuration}", "--nofork", "--print-address", stdout=asyncio.subprocess.PIPE
    )
    try:
        assert process.stdout
        async with asyncio.timeout(WAIT_S):
            yield (await process.stdout.readline()).decode().strip()
    finally:
        process.kill()
        await process.wait()


async def announce(address: str, *, sleeping: bool) -> None:
    from dbus_fast import Message  # noqa: PLC0415 — installed on Linux only
    from dbus_fast.aio import MessageBus  # noqa: PLC0415

    bus = await MessageBus(bus_address=address).connect()
    await bus.send(
        Message.new_signal(
            "/org/freedesktop/login1", "org.freedesktop.login1.Manager", "PrepareForSleep", "b", [sleeping]
        )
    )
    bus.disconnect()


async def test_a_sleep_that_logind_announces_is_noted_before_it_begins(brum: Brum, bus: str) -> None:
    project = brum.project("shop")
    environment = {**brum.environment, "BRUMMER_LOGIND": "true", "DBUS_SYSTEM_BUS_ADDRESS": bus}
    async with Client.running("env", "-C", project, BRUM, "--mcp", env=environment) as client:
        async with asyncio.timeout(WAIT_S):
            while not (timeline := (await client.call("hub_status"))["timeline"]):
                await announce(bus, sleeping=True)  # the hub may still be on its way to the bus
                await asyncio.sleep(0.1)
        assert timeline[0]["kind"] == "sleeping"
        assert timeline[0]["reasons"] == ["the machine is about to sleep"]
        noted = len((await client.call("hub_status"))["timeline"])
        await announce(bus, sleeping=False)  # a wake that no clock confirms is none
        assert len((await client.call("hub_status"))["timeline"]) == noted


async def test_without_a_bus_that_is_a_problem_and_the_hub_serves(brum: Brum) -> None:
    project = brum.project("shop")
    environment = {
        **brum.environment,
        "BRUMMER_LOGIND": "true",
        "DBUS_SYSTEM_BUS_ADDRESS": f"unix:path={brum.home}/nobody",
    }
    async with Client.running("env", "-C", project, BRUM, "--mcp", env=environment) as client:
        async with asyncio.timeout(WAIT_S):
            while not (problems := (await client.call("hub_status"))["problems"]):
                await asyncio.sleep(0.05)
        assert [problem["code"] for problem in problems] == ["logind_unavailable"]
        assert "system bus" in problems[0]["detail"]
