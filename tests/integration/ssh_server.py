"""A real sshd on loopback with keys and configuration of its own, and an `ssh` that knows it as ``box``.

The other machine is a second instances directory: what sshd starts finds that one. Nothing of the system's own SSH
configuration is read or changed, but for the empty directory that sshd wants as root.
"""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
from pathlib import Path
from typing import Final

import psutil
import pytest

from tests.integration.programs import BRUM, Brum, Program

SBIN: Final = "/usr/sbin:/sbin"
PRIVILEGE_SEPARATION: Final = Path("/run/sshd")


class SshServer:
    """``far``: the programs of the other machine. ``environment``: in which ``ssh box`` leads to it."""

    def __init__(self, home: Path) -> None:
        path = f"{os.environ['PATH']}:{SBIN}"
        self._sshd, self._ssh = (shutil.which(name, path=path) for name in ("sshd", "ssh"))
        if self._sshd is None or self._ssh is None:
            pytest.skip("sshd is missing: run make integration-test")
        self.home = home
        self.far = Brum(home / "far")
        self.far.home.mkdir(parents=True)
        with socket.create_server(("127.0.0.1", 0)) as probing:
            self.port: int = probing.getsockname()[1]
        for key in ("host", "user", "stranger"):
            self._keygen(key)
        self.programs_there = home / "bin-there"
        self._put_programs()
        (home / "sshd_config").write_text(self._config())
        self.trust("host")
        (home / "ssh_config").write_text(
            f"Host box\n HostName 127.0.0.1\n Port {self.port}\n IdentityFile {home}/user\n IdentitiesOnly yes\n"
            f" UserKnownHostsFile {home}/known_hosts\n GlobalKnownHostsFile none\n StrictHostKeyChecking yes\n"
            " LocalForward 127.0.0.1:1 127.0.0.1:1\n"  # of the user's own sessions: we must not open it
        )
        self._program: Program | None = None

    def _keygen(self, name: str) -> None:
        command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", str(self.home / name)]
        subprocess.run(command, check=True, stdin=subprocess.DEVNULL)

    def _put_programs(self) -> None:
        """``ssh`` with our configuration here, and ``brum`` there, where PATH begins with this directory."""
        here = self.home / "bin-here"
        here.mkdir()
        self.programs_there.mkdir()
        (here / "ssh").write_text(f'#!/bin/sh\nexec {self._ssh} -F {self.home}/ssh_config "$@"\n')
        (here / "ssh").chmod(0o755)
        self.put_brum(f'exec {BRUM} "$@"')

    def put_brum(self, command: str) -> None:
        """What ``brum`` is there: a line of shell."""
        brum = self.programs_there / "brum"
        brum.write_text(f"#!/bin/sh\n{command}\n")
        brum.chmod(0o755)

    def _config(self) -> str:
        shutil.copy(self.home / "user.pub", self.home / "authorized_keys")
        environment = {**self.far.environment, "PATH": f"{self.programs_there}:/usr/bin:/bin"}
        kept = ("BRUMMER_", "XDG_STATE_HOME", "PATH", "PYTHON")
        given = " ".join(f"{name}={value}" for name, value in environment.items() if name.startswith(kept))
        return (
            f"ListenAddress 127.0.0.1\nPort {self.port}\nHostKey {self.home}/host\nPidFile none\nUsePAM no\n"
            f"AuthorizedKeysFile {self.home}/authorized_keys\nStrictModes no\nPasswordAuthentication no\n"
            f"PermitRootLogin prohibit-password\nMaxStartups 100\nSetEnv {given}\n"
        )

    def trust(self, key: str) -> None:
        """The host key that the user knows."""
        public = (self.home / f"{key}.pub").read_text().rpartition(" ")[0]
        (self.home / "known_hosts").write_text(f"[127.0.0.1]:{self.port} {public}\n")

    @property
    def environment(self) -> dict[str, str]:
        """Variables for programs here."""
        return {"PATH": f"{self.home / 'bin-here'}:{os.environ['PATH']}"}

    def start(self) -> None:
        with contextlib.suppress(OSError):
            PRIVILEGE_SEPARATION.mkdir(mode=0o755)
        assert self._sshd is not None
        self._program = Program([self._sshd, "-D", "-e", "-f", self.home / "sshd_config"])
        self._program.stderr.until("Server listening")

    def processes(self) -> list[psutil.Process]:
        """The daemon, and what serves its connections."""
        assert self._program is not None
        daemon = psutil.Process(self._program.pid)
        return [daemon, *(each for each in daemon.children(recursive=True) if each.name().startswith("sshd"))]

    def signal(self, number: signal.Signals) -> None:
        """To all of them, as when the machine, or the path to it, is gone."""
        for process in self.processes():
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(number)

    def end(self) -> None:
        if self._program is not None:
            self.signal(signal.SIGCONT)
            for process in reversed(self.processes()):
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
            self._program.end()
        self.far.end()


def marked(mark: str, *names: str) -> list[psutil.Process]:
    """Processes with this in their environment, of these names."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.name() in names and mark in [f"{key}={value}" for key, value in process.environ().items()]:
                found.append(process)
    return found
