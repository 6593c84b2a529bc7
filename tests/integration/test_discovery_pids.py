"""Pids that mean something else: recycled ones, and those of another pid namespace."""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from brummer.discovery.events import Appeared, Gone
from brummer.discovery.registry import Registry
from tests.integration.programs import BRUM, WAIT_S, Brum, within
from tests.unit.discovery_support import bad_path, directory_in_memory

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(
        os.geteuid() != 0 or shutil.which("unshare") is None,
        reason="platform: needs root and unshare for a private pid namespace",
    ),
]

# As process 1 of a private namespace: lets a pid be reused at once, over and over.
REUSE = """
import os, subprocess
from brummer.host.exits import open_exit_fd
from brummer.host.pids import identify, is_running

def start():
    return subprocess.Popen(["cat"], stdin=subprocess.PIPE)

def end(process):
    process.kill()
    process.communicate()

for _ in range(20):
    first = start()
    identity = identify(first.pid)
    descriptor = open_exit_fd(identity)
    end(first)
    while True:  # the same pid, one clock tick later at the earliest
        with open("/proc/sys/kernel/ns_last_pid", "w") as file:
            file.write(str(identity.pid - 1))
        second = start()
        assert second.pid == identity.pid, (second.pid, identity.pid)
        if identify(second.pid).start_token != identity.start_token:
            break
        end(second)
    assert not is_running(identity)
    assert open_exit_fd(identity) is None
    assert is_running(identify(second.pid))
    os.close(descriptor)
    end(second)
print("20 pids reused")
"""

# An instance in a namespace of its own.
INSTANCE = """
import asyncio, secrets, sys
from pathlib import Path
from brummer.discovery.registrar import Registrar, describe_self

async def main():
    record = describe_self(Path("/projects/inside"), generation=secrets.token_hex(8),
                           url="http://127.0.0.1:4000/mcp", token=secrets.token_urlsafe(32))
    registrar = Registrar(Path(sys.argv[1]), record.instance_id)
    await registrar.acquire()
    await registrar.publish(record)
    print(record.pid, flush=True)
    await registrar.keep_published()

asyncio.run(main())
"""


@pytest.fixture
def directory() -> Iterator[Path]:
    with directory_in_memory() as path:
        yield path


@pytest.mark.promise("a-recycled-pid-is-nobody")
def test_a_recycled_pid_is_never_taken_for_the_owner() -> None:
    command = ["unshare", "--pid", "--fork", "--mount-proc", sys.executable, "-c", REUSE]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=50)
    assert (done.returncode, done.stdout) == (0, "20 pids reused\n"), done.stderr


@pytest.mark.promise("gone-only-by-proof")
@pytest.mark.parametrize("options", [["--mount-proc"], []], ids=["own /proc", "the host's /proc"])
async def test_an_instance_in_another_pid_namespace_lives_until_its_lock_is_free(
    directory: Path, options: list[str]
) -> None:
    command = ["unshare", "--pid", "--fork", "--kill-child", *options, sys.executable, "-c", INSTANCE, str(directory)]
    async with Registry(directory) as registry:
        inside = await asyncio.to_thread(subprocess.Popen, command, stdout=subprocess.PIPE)
        try:
            event = await asyncio.wait_for(anext(registry), 10)
            assert isinstance(event, Appeared)
            assert event.record.pid == 1
            await registry.scan()
            assert registry.snapshot() == {event.record.instance_id: event.record}
        finally:
            inside.kill()
            await asyncio.to_thread(inside.communicate)
        assert await asyncio.wait_for(anext(registry), 5) == Gone(event.record, "life lock free")
        assert list(directory.glob("*.json")) == []


def test_without_a_proc_of_our_own_no_pid_is_looked_up() -> None:
    code = (
        "import sys; from brummer.host.pids import own_identity, same_namespace;"
        "sys.exit(same_namespace(own_identity()))"
    )
    command = ["unshare", "--pid", "--fork", sys.executable, "-c", code]
    subprocess.run(command, check=True, timeout=20)


def test_a_hub_in_another_time_namespace_removes_no_living_instance_and_says_what_it_can_not_see(brum: Brum) -> None:
    """There all start times are others."""
    web = brum.instance(brum.project("web"))
    outside = ["unshare", "--time", "--boottime", "100000", "--fork", "--kill-child"]
    try:
        subprocess.run([*outside, "true"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("platform: time namespaces are not to be had here")
    hub = brum.hub_by([*outside, BRUM, "--mcp"]).greet()
    assert within(WAIT_S, lambda: [each["state"] for each in hub.call("instances_list")["instances"]] == ["ready"])
    for number in range(5):
        bad_path(brum.instances, number).touch()  # which makes it look
        assert within(WAIT_S, lambda: len(hub.call("hub_status")["problems"]) > 1)
        bad_path(brum.instances, number).unlink()
        assert within(WAIT_S, lambda: len(hub.call("hub_status")["problems"]) == 1)
    (problem,) = hub.call("hub_status")["problems"]
    assert (problem["code"], problem["instance"]) == ("other_time_namespace", web.id)
    assert (brum.instances / f"{web.id}.json").exists()
    web.signal(signal.SIGKILL)
    web.wait()
    bad_path(brum.instances).touch()  # as above
    assert within(WAIT_S, lambda: [each["state"] for each in hub.call("instances_list")["instances"]] == ["gone"])
    hub.close_stdin()
    hub.wait()
