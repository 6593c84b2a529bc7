"""Process start → first answer, for the hub and for an instance, beside a bare interpreter in the same run."""

import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from driver import INITIALIZE, Tree
from processes import BRUM, environment, wait_for_record
from tables import Report, median, percentile

ROUNDS = 15


def bare_ms(code: str) -> float:
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True)
    return (time.perf_counter() - started) * 1000


def hub_ms(folder: Path, then: str | None = None, flags: Sequence[str] = ()) -> float:
    """To the answer of the opening message, or to that of a second one."""
    tree = Tree("this", Path(BRUM), folder)
    started = time.perf_counter()
    with tree.hub(flags) as hub:
        hub.ask("initialize", INITIALIZE)
        if then:
            hub.ask(then, {})
        return (time.perf_counter() - started) * 1000


def instance_ms(folder: Path, port: int) -> tuple[float, float]:
    """To the first answer over HTTP on a port that is known, and to the record in the directory."""
    started = time.perf_counter()
    command = [BRUM, "--no-tui", "-d", str(folder), "-p", str(port)]
    process = subprocess.Popen(command, env=environment(folder), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    request = b"GET /identity?nonce=0123456789abcdef HTTP/1.1\r\nhost: localhost\r\n\r\n"
    while True:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
                connection.sendall(request)
                connection.recv(4096)
                break
        except ConnectionRefusedError:
            time.sleep(0.0005)
    answered = (time.perf_counter() - started) * 1000
    wait_for_record(folder, process.pid)
    registered = (time.perf_counter() - started) * 1000
    process.terminate()
    process.wait(15)
    return answered, registered


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


def measure(report: Report, folder: Path) -> None:
    hub_ms(folder, "tools/list")
    samples: dict[str, list[float]] = {}

    def add(name: str, value: float) -> None:
        samples.setdefault(name, []).append(value)

    for _ in range(ROUNDS):
        add("python -c pass", bare_ms("pass"))
        add("python -c 'import asyncio'", bare_ms("import asyncio"))
        add("hub: initialize", hub_ms(folder))
        add("hub: initialize, then tools/list", hub_ms(folder, "tools/list"))
        answered, registered = instance_ms(folder, free_port())
        add("instance: first answer", answered)
        add("instance: record published", registered)
    bare = median(samples["python -c pass"])
    rows = [
        (name, median(values), min(values), percentile(values, 90), median(values) / bare)
        for name, values in samples.items()
    ]
    report.table("Process start → first answer, ms", ("what", "median", "best", "p90", "× bare python"), rows)
