"""Other process managers on the same scripts: twenty are started, one floods, all are stopped, the manager is killed.

Everybody runs in the foreground with its defaults and prints what the scripts print, which is what they all can do;
rounds alternate. Brummer keeps lines and a black box meanwhile. Linux only.
"""

import contextlib
import math
import os
import subprocess
import termios
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
from peers import Manager, Peer, fetched
from processes import environment, memory_mib
from tables import Report, median

ROUNDS = 3
SCRIPTS = 20
FLOOD_LINES = 100_000
LINE = "flood-" + "0" * 93  # with its newline 100 bytes
PATIENCE_S = 20.0
SCREEN = (40, 120)
ORPHANS_S = 2.0  # after kill -9: what we promise to need ourselves
POLL_S = 0.001

HELLO = """\
echo $$ >started/{name}
echo {name}-says-hello
exec sleep 600
"""
FLOOD = f"""\
echo $$ >started/{{name}}
while [ ! -e go ]; do sleep 0.01; done
yes {LINE} | head -n {FLOOD_LINES}
echo flood-has-ended
exec sleep 600
"""
OF_SCRIPTS = {"sh", "dash", "bash", "sleep", "yes", "head"}


class Shown:
    """What a manager prints, counted as it comes."""

    def __init__(self, source: int) -> None:
        self._source = source
        self._tail = b""
        self.hellos = self.flood_lines = 0
        self.flood_ended = False
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        with contextlib.suppress(OSError):  # EIO: nobody has the other end of the terminal any more
            while chunk := os.read(self._source, 1 << 20):
                whole, newline, self._tail = (self._tail + chunk).rpartition(b"\n")
                whole += newline
                self.hellos += whole.count(b"-says-hello")
                self.flood_lines += whole.count(LINE.encode())
                self.flood_ended |= b"flood-has-ended" in whole

    def close(self) -> None:
        self._thread.join()
        os.close(self._source)


class Run:
    """One start of one manager on its scripts. `end` leaves nothing."""

    def __init__(self, manager: Manager, peer: Peer, folder: Path, names: list[str], script: str) -> None:
        folder.mkdir()
        self.folder = folder
        self._quit, self._end = manager.quit, manager.end
        self._started = folder / "started"
        self._started.mkdir()
        self._count = len(names)
        self._go = folder / "go"
        for name in names:
            (folder / f"{name}.sh").write_text(script.format(name=name))
        command = manager.prepare(folder, peer, names)
        source, sink = os.openpty() if manager.draws_a_screen else os.pipe()
        if manager.draws_a_screen:
            termios.tcsetwinsize(sink, SCREEN)
        settings = {"PM2_HOME": str(folder / "pm2"), "TERM": "xterm", "PYTHONUNBUFFERED": "1"}
        self.began = time.perf_counter()
        self.process = subprocess.Popen(
            command, cwd=folder, env={**environment(folder), **settings}, start_new_session=True,
            stdin=sink if manager.draws_a_screen else subprocess.DEVNULL, stdout=sink, stderr=sink,
        )  # fmt: skip
        os.close(sink)
        self._source = source
        self.shown = Shown(source)

    def until(self, condition: Callable[[], bool]) -> float:
        """Seconds since the start, or the order to stop, at which it came true; infinite where it does not."""
        while not condition():
            if time.perf_counter() - self.began > PATIENCE_S:
                return math.inf
            time.sleep(POLL_S)
        return time.perf_counter() - self.began

    def all_run(self) -> bool:
        return sum(1 for _ in self._started.iterdir()) == self._count

    def release(self) -> None:
        self._go.touch()

    def scripts_alive(self) -> list[psutil.Process]:
        found = []
        for path in self._started.iterdir():
            with contextlib.suppress(psutil.Error, ValueError):
                process = psutil.Process(int(path.read_text()))
                if process.status() != psutil.STATUS_ZOMBIE and process.create_time() >= path.stat().st_mtime - 5:
                    found.append(process)
        return found

    def memory(self) -> float:
        """What the manager and its helpers have for themselves, in MiB."""
        own = psutil.Process(self.process.pid)
        helpers = [each for each in own.children(recursive=True) if each.name() not in OF_SCRIPTS]
        total = 0.0
        for each in (own, *helpers):
            with contextlib.suppress(OSError):  # a helper of a moment
                total += memory_mib(each.pid)[1]
        return total

    def stop_s(self) -> float:
        """From the signal, or the key, for it until the manager and every script are gone."""
        self.began = time.perf_counter()
        if self._quit:
            os.write(self._source, self._quit)
        else:
            self._end(self.process.pid)
        return self.until(lambda: self.process.poll() is not None and not self.scripts_alive())

    def left_after_kill(self) -> int:
        self.process.kill()
        self.process.wait()
        time.sleep(ORPHANS_S)
        return len(self.scripts_alive())

    def end(self) -> None:
        left = self.scripts_alive()
        with contextlib.suppress(psutil.NoSuchProcess):
            left += [each for each in psutil.Process(self.process.pid).children(recursive=True) if each not in left]
        self.process.kill()
        self.process.wait()
        for process in left:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self.shown.close()


@contextlib.contextmanager
def run(manager: Manager, peer: Peer, folder: Path, names: list[str], script: str) -> Iterator[Run]:
    folders = sum(1 for _ in folder.iterdir())
    started = Run(manager, peer, folder / f"{manager.name.split()[0]}-{folders}", names, script)
    try:
        yield started
    finally:
        started.end()


def start_and_stop(manager: Manager, peer: Peer, folder: Path) -> tuple[float, float, float, float]:
    """Milliseconds until all run, until all are shown, and from then until all are gone; MiB in between."""
    with run(manager, peer, folder, [f"w{number:02}" for number in range(SCRIPTS)], HELLO) as started:
        all_run = started.until(started.all_run)
        shown = math.nan if manager.draws_a_screen else started.until(lambda: started.shown.hellos >= SCRIPTS)
        memory = started.memory()
        return all_run * 1000, shown * 1000, started.stop_s() * 1000, memory


def orphans(manager: Manager, peer: Peer, folder: Path) -> int:
    with run(manager, peer, folder, [f"w{number:02}" for number in range(SCRIPTS)], HELLO) as started:
        started.until(started.all_run)
        return started.left_after_kill()


def flood(manager: Manager, peer: Peer, folder: Path) -> tuple[float, float, float, float]:
    """Lines shown per second, until the last; percent that are shown; MiB more than before; lines kept."""
    with run(manager, peer, folder, ["flood"], FLOOD) as started:
        started.until(started.all_run)
        before = started.memory()
        began = time.perf_counter()
        started.release()
        started.until(lambda: started.shown.flood_ended)  # or not: what was shown until then counts
        took = time.perf_counter() - began
        grown = started.memory() - before
        kept = manager.kept(started.folder) if manager.kept else 0
        shown = started.shown.flood_lines
        return shown / took, shown / FLOOD_LINES * 100, grown, kept


def measure(report: Report, folder: Path) -> None:
    peers, missing = fetched(folder)
    runs = folder / "runs"
    runs.mkdir()
    days: dict[str, list[tuple[float, ...]]] = {}
    floods: dict[str, list[tuple[float, ...]]] = {}
    start_and_stop(*peers[0], runs)  # and its pages in memory, as the peers' are since they were written
    for _ in range(ROUNDS):
        for manager, peer in peers:
            days.setdefault(manager.name, []).append(start_and_stop(manager, peer, runs))
            if not manager.draws_a_screen:
                floods.setdefault(manager.name, []).append(flood(manager, peer, runs))
    left = {manager.name: orphans(manager, peer, runs) for manager, peer in peers}

    rows: list[tuple[object, ...]] = []
    for manager, peer in peers:
        run_ms, shown_ms, gone_ms, mib = medians(days[manager.name])
        ratios = ratio(days, manager.name, 1), ratio(days, manager.name, 2)
        rows.append(
            (manager.name, peer.version, run_ms, shown_ms, ratios[0], gone_ms, ratios[1], mib, left[manager.name])
        )
    rows += [(name, reason, *[""] * 7) for name, reason in missing]
    report.table(
        f"Process managers: {SCRIPTS} scripts ({ROUNDS} alternating rounds, medians; inf: not in {PATIENCE_S:.0f} s)",
        (
            "manager", "version", "all run, ms", "all have printed, ms", "× brum", "stopped: all gone, ms", "× brum",
            "memory with all, MiB", f"left {ORPHANS_S:.0f} s after kill -9",
        ),
        rows,
    )  # fmt: skip

    rows = []
    for name, measured in floods.items():
        rate, percent, grown, kept = medians(measured)
        each = grown / kept * 100_000 if kept else math.nan
        rows.append((name, f"{rate:.0f}", ratio(floods, name, 0), percent, grown, f"{kept:.0f}", each))
    report.table(
        f"Process managers: one script prints {FLOOD_LINES} lines of 100 bytes ({ROUNDS} rounds, medians)",
        (
            "manager", "lines/s", "× brum", "shown, %", "memory more than before, MiB", "lines that it can show again",
            "MiB per 100,000 of those",
        ),
        rows,
    )  # fmt: skip


def medians(rows: list[tuple[float, ...]]) -> list[float]:
    return [median(column) for column in zip(*rows, strict=True)]


def ratio(measured: dict[str, list[tuple[float, ...]]], name: str, column: int) -> float:
    """To Brummer of the same round, the median over the rounds."""
    return median(
        [theirs[column] / ours[column] for theirs, ours in zip(measured[name], measured["brum"], strict=True)]
    )
