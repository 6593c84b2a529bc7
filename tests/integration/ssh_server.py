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
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import psutil
import pytest

from tests.integration.programs import BRUM, Brum, Program

SBIN: Final = "/usr/sbin:/sbin"
PRIVILEGE_SEPARATION: Final = Path("/run/sshd")


BRUM_THERE: Final = f'exec {BRUM} "$@"'


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
        self.lead_to(self.port)
        self._program: Program | None = None

    def lead_to(self, port: int) -> None:
        """The port that ``box`` has in the user's configuration."""
        home = self.home
        (home / "ssh_config").write_text(
            f"Host box\n HostName 127.0.0.1\n Port {port}\n IdentityFile {home}/user\n IdentitiesOnly yes\n"
            f" UserKnownHostsFile {home}/known_hosts\n GlobalKnownHostsFile none\n StrictHostKeyChecking yes\n"
            " LocalForward 127.0.0.1:1 127.0.0.1:1\n"  # of the user's own sessions: we must not open it
        )

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
        self._put_brum(BRUM_THERE)

    def _put_brum(self, command: str | None) -> None:
        brum = self.programs_there / "brum"
        brum.unlink(missing_ok=True)
        if command is not None:
            brum.write_text(f"#!/bin/sh\n{command}\n")
            brum.chmod(0o755)

    @contextlib.contextmanager
    def other_brum(self, command: str | None) -> Iterator[None]:
        """Within the block ``brum`` is this line of shell there, or is missing."""
        self._put_brum(command)
        try:
            yield
        finally:
            self._put_brum(BRUM_THERE)

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

    def descendants(self) -> list[psutil.Process]:
        """What serves the connections, and what runs there for them."""
        assert self._program is not None
        return psutil.Process(self._program.pid).children(recursive=True)

    def signal(self, number: signal.Signals) -> None:
        """To the daemon and what serves its connections, as when the machine, or the path to it, is gone."""
        assert self._program is not None
        serving = [each for each in self.descendants() if each.name().startswith("sshd")]
        for process in (psutil.Process(self._program.pid), *serving):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(number)

    def end(self) -> None:
        if self._program is not None:
            self.signal(signal.SIGCONT)
            for process in self.descendants():
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()
            self._program.end()
        self.far.end()
