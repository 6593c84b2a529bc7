"""Standard streams without a reader block neither a hub nor an instance, nor their end."""

import os
import select
import signal
import subprocess
import tty
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.programs import BRUM, WAIT_S, Brum, within

PING = b'{"jsonrpc":"2.0","id":1,"method":"ping"}\n'


@pytest.fixture
def full(tmp_path: Path) -> Iterator[Path]:
    """A full named pipe without a reader."""
    path = tmp_path / "full"
    os.mkfifo(path)
    readable = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    writable = os.open(path, os.O_WRONLY | os.O_NONBLOCK)
    for size in (4096, 1):
        try:
            while True:
                os.write(writable, b"x" * size)
        except BlockingIOError:
            pass
    yield path
    os.close(writable)
    os.close(readable)


@pytest.mark.promise("a-client-that-does-not-read")
@pytest.mark.parametrize("ends", ["end of input", "SIGTERM"])
def test_a_hub_without_a_reader_of_its_log_answers_and_ends(brum: Brum, full: Path, ends: str) -> None:
    web = brum.instance(brum.project("web"))
    hub = brum.hub_by(["sh", "-c", f'exec "$0" "$@" 2>{full}', BRUM, "--mcp", "--log-level", "debug"]).greet()
    assert within(WAIT_S, lambda: [each["state"] for each in hub.call("instances_list")["instances"]] == ["ready"])
    for _ in range(3):
        web.signal(signal.SIGKILL)
        web.wait()
        web = brum.instance(brum.home / "web")
        assert within(WAIT_S, lambda: hub.call("hub_status")["links"][0]["state"] == "ready")
    hub.ask("ping")
    if ends == "SIGTERM":
        hub.signal(signal.SIGTERM)
    else:
        hub.close_stdin()
    assert hub.wait() == 0


@pytest.mark.parametrize("ends", ["end of input", "SIGTERM"])
def test_a_hub_on_a_stopped_terminal_ends(brum: Brum, ends: str) -> None:
    """Some clients give their servers one; and Ctrl-S stops any."""
    outside, inside = os.openpty()
    tty.setraw(inside)
    hub = subprocess.Popen(
        [BRUM, "--mcp"], stdin=subprocess.PIPE, stdout=inside, stderr=subprocess.DEVNULL, env=brum.environment
    )
    try:
        assert hub.stdin is not None
        hub.stdin.write(PING)
        hub.stdin.flush()
        assert os.read(outside, 100).startswith(b'{"jsonrpc"')  # it runs
        hub.stdin.write(PING.replace(b"ping", b"tools/list") * 10)
        hub.stdin.flush()
        assert within(WAIT_S, lambda: select.select([outside], [], [], 0)[0] != [])
        if ends == "SIGTERM":
            hub.terminate()
        else:
            hub.stdin.close()
        assert hub.wait(WAIT_S) == 0
        assert os.get_blocking(inside)
    finally:
        hub.kill()
        hub.communicate()
        os.close(inside)
        os.close(outside)


def test_an_instance_without_a_reader_of_its_output_and_log_runs_its_scripts_and_ends(brum: Brum, full: Path) -> None:
    project = brum.project("web")
    command: list[str | Path] = [BRUM, "--no-tui", "--log-level", "debug", "-d", str(project), "hello"]
    web = brum.instance_by(["sh", "-c", f'exec "$0" "$@" >{full} 2>{full}', *command])
    hub = brum.hub().greet()
    assert within(WAIT_S, lambda: [each["state"] for each in hub.call("instances_list")["instances"]] == ["ready"])
    assert hub.call("scripts_run", name="fail", wait="exit")["exit_code"] == 3
    web.signal(signal.SIGTERM)
    assert web.wait() == 0
