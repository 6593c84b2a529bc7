"""Standard streams that nobody reads hold up neither a hub nor an instance, nor their end."""

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.programs import BRUM, WAIT_S, Brum, within

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="platform: named pipes of POSIX")


@pytest.fixture
def full(tmp_path: Path) -> Iterator[Path]:
    """A named pipe that nobody reads, and into which nothing more goes."""
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


@pytest.mark.parametrize("ends", ["end of input", "SIGTERM"])
def test_a_hub_whose_log_nobody_reads_answers_and_ends(brum: Brum, full: Path, ends: str) -> None:
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


def test_an_instance_whose_output_and_log_nobody_reads_runs_its_scripts_and_ends(brum: Brum, full: Path) -> None:
    project = brum.project("web")
    command: list[str | Path] = [BRUM, "--no-tui", "--log-level", "debug", "-d", str(project), "hello"]
    web = brum.instance_by(["sh", "-c", f'exec "$0" "$@" >{full} 2>{full}', *command])
    hub = brum.hub().greet()
    assert within(WAIT_S, lambda: [each["state"] for each in hub.call("instances_list")["instances"]] == ["ready"])
    assert hub.call("scripts_run", name="fail", wait="exit")["exit_code"] == 3
    web.signal(signal.SIGTERM)
    assert web.wait() == 0
