"""The managers that Brummer is measured beside, as they are published: fetched into a throw-away folder, and set up.

By pip and npm as they are set up on the machine. One that can't be had is named with its reason.
"""

import json
import os
import platform
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from processes import BRUM, environment

NOT_ON_A_REGISTRY = {
    "process-compose": "not had: published as binaries and a Go module, on neither PyPI nor npm",
    "overmind": "not had: the same (the package of this name on npm is something else)",
    "hivemind": "not had: the same (the package of this name on PyPI is something else)",
}
FETCH_S = 180


def sigterm(pid: int) -> None:
    os.kill(pid, signal.SIGTERM)


def ctrl_c(pid: int) -> None:
    """As a terminal does it: to the whole group."""
    os.killpg(pid, signal.SIGINT)


@dataclass(frozen=True)
class Peer:
    """A fetched one: `bin` is the folder of its programs."""

    bin: Path
    version: str


@dataclass(frozen=True)
class Manager:
    """How one is fetched, set up for the scripts ``NAME.sh`` of a folder, and started by what `prepare` returns."""

    name: str
    prepare: Callable[[Path, Peer, list[str]], list[str]]
    package: str = ""
    fetch: Callable[[Path, str], Peer] | None = None
    draws_a_screen: bool = False
    end: Callable[[int], None] = sigterm
    quit: bytes = b""  # the key that ends it, where it draws a screen
    kept: Callable[[Path], int] | None = None  # lines of the flood that it can show again


class NotHadError(Exception):
    """Why a peer is not there."""


def fetched(folder: Path) -> tuple[list[tuple[Manager, Peer]], list[tuple[str, str]]]:
    """Managers that are there, ours first, and (name, reason) of the others."""
    there, missing = [], []
    for manager in MANAGERS:
        try:
            peer = manager.fetch(folder, manager.package) if manager.fetch else Peer(Path(BRUM).parent, "this")
            there.append((manager, peer))
        except NotHadError as error:
            missing.append((manager.name, f"not had: {error}"))
    return there, missing + list(NOT_ON_A_REGISTRY.items())


def by_pip(folder: Path, package: str) -> Peer:
    venv = folder / package
    _do("venv", sys.executable, "-m", "venv", venv)
    _do("pip", venv / "bin" / "pip", "install", "--quiet", package)
    code = f"import importlib.metadata as m; print(m.version({package!r}))"
    version = subprocess.check_output([venv / "bin" / "python", "-c", code], text=True)
    return Peer(venv / "bin", version.strip())


def by_npm(folder: Path, package: str) -> Peer:
    npm = shutil.which("npm")
    if npm is None:
        raise NotHadError("no npm here")
    prefix = folder / package
    prefix.mkdir()
    _do("npm", npm, "install", "--silent", "--no-audit", "--no-fund", "--prefix", prefix, package)
    manifest = json.loads((prefix / "node_modules" / package / "package.json").read_text())
    return Peer(prefix / "node_modules" / ".bin", manifest["version"])


def mprocs_by_npm(folder: Path, package: str) -> Peer:
    """Its own binary, without the Node process that npm puts before it."""
    peer = by_npm(folder, package)
    machine = {"arm64": "aarch64"}.get(platform.machine(), platform.machine())
    for program in (peer.bin.parent / package).glob(f"*-linux-{machine}-*/mprocs"):
        return Peer(program.parent, peer.version)
    raise NotHadError(f"its package has no binary for {machine}")


def _do(what: str, *command: str | Path) -> None:
    try:
        done = subprocess.run(command, capture_output=True, timeout=FETCH_S, check=False)
    except subprocess.TimeoutExpired:
        raise NotHadError(f"{what} took over {FETCH_S} s") from None
    if done.returncode:
        raise NotHadError(f"{what} ended with status {done.returncode}")


def procfile(folder: Path, names: list[str]) -> None:
    (folder / "Procfile").write_text("".join(f"{name}: sh {name}.sh\n" for name in names))


def brum(folder: Path, peer: Peer, names: list[str]) -> list[str]:
    procfile(folder, names)
    return [str(peer.bin / "brum"), "--no-tui", *names]


def brum_that_keeps_all(folder: Path, peer: Peer, names: list[str]) -> list[str]:
    return [*brum(folder, peer, names), "--set", "output_size=64MiB"]


def kept_by_brum(folder: Path) -> int:
    page = subprocess.check_output([BRUM, "metrics"], env=environment(folder), text=True)
    values = dict(line.rsplit(" ", 1) for line in page.splitlines() if not line.startswith("#"))

    def total(name: str) -> float:
        return sum(float(value) for series, value in values.items() if series.startswith(name))

    return int(total("brummer_output_lines_total") - total("brummer_output_dropped_lines_total"))


def honcho(folder: Path, peer: Peer, names: list[str]) -> list[str]:
    procfile(folder, names)
    return [str(peer.bin / "honcho"), "start"]


def node_foreman(folder: Path, peer: Peer, names: list[str]) -> list[str]:
    procfile(folder, names)
    return [str(peer.bin / "nf"), "start"]


def supervisor(folder: Path, peer: Peer, names: list[str]) -> list[str]:
    """Its output goes where it prints itself: the files that it would write else are no capture that anybody reads."""
    programs = "".join(
        f"[program:{name}]\ncommand=sh {name}.sh\nstartsecs=0\nstdout_logfile=/dev/fd/1\nstdout_logfile_maxbytes=0\n"
        for name in names
    )
    own = "[supervisord]\nnodaemon=true\nlogfile=/dev/null\nlogfile_maxbytes=0\npidfile=supervisord.pid\n"
    (folder / "supervisord.conf").write_text(own + programs)
    return [str(peer.bin / "supervisord"), "-c", "supervisord.conf"]


def circus(folder: Path, peer: Peer, names: list[str]) -> list[str]:
    watchers = "".join(
        f"[watcher:{name}]\ncmd=sh {name}.sh\nworking_dir={folder}\ncopy_env=true\nstdout_stream.class=StdoutStream\n"
        for name in names
    )
    own = f"[circus]\nendpoint=ipc://{folder}/control\npubsub_endpoint=ipc://{folder}/events\n"
    (folder / "circus.ini").write_text(own + watchers)
    return [str(peer.bin / "circusd"), "circus.ini"]


def pm2(folder: Path, peer: Peer, names: list[str]) -> list[str]:
    apps = [{"name": name, "script": f"{name}.sh", "interpreter": "sh"} for name in names]
    (folder / "ecosystem.config.js").write_text(f"module.exports = {json.dumps({'apps': apps})}\n")
    return [str(peer.bin / "pm2-runtime"), "start", "ecosystem.config.js"]


def mprocs(folder: Path, peer: Peer, names: list[str]) -> list[str]:
    procs = {name: {"cmd": ["sh", f"{name}.sh"]} for name in names}
    (folder / "mprocs.yaml").write_text(json.dumps({"procs": procs}))
    return [str(peer.bin / "mprocs")]


MANAGERS = (
    Manager("brum", brum, kept=kept_by_brum),
    Manager("brum, output_size=64MiB", brum_that_keeps_all, kept=kept_by_brum),
    Manager("honcho", honcho, "honcho", by_pip),
    Manager("supervisor", supervisor, "supervisor", by_pip),
    Manager("circus", circus, "circus", by_pip),
    Manager("foreman (Node)", node_foreman, "foreman", by_npm, end=ctrl_c),
    Manager("pm2-runtime", pm2, "pm2", by_npm),
    Manager("mprocs", mprocs, "mprocs", mprocs_by_npm, draws_a_screen=True, quit=b"q"),
)
