"""The user's own ssh as a carrier: one ssh process per box, which runs `brum bridge` there, and forwards ports.

It is a master (ControlMaster) with a control socket of our own, so neither the user's sessions nor their configuration
of multiplexing meet it. Its standard input is a pipe that only we hold: its end ends ssh and the bridge, however we
end. Everything else, such as names, keys, users and jump hosts, is from ~/.ssh/config and the user's agent.
"""

import asyncio
import contextlib
import os
import secrets
import signal
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Final, cast

from brummer.core.errors import BrummerError
from brummer.discovery.record import Record
from brummer.fleet.bridge_lines import ASK, LINE_LIMIT_BYTES
from brummer.fleet.ssh_command import explained, last_line, master, multiplexed
from brummer.host.directories import private_directory
from brummer.host.private_sockets import remove_dead
from brummer.host.threads import in_thread
from brummer.settings.servers import Server

FORWARD_S: Final = 5.0
"""The master answers in milliseconds, without asking the other side."""
END_S: Final = 0.5
"""ssh ends at once when it gets SIGTERM."""
PORT_TRIES: Final = 5
"""Another process may take the port that was free a moment ago."""
LAST_WORDS_BYTES: Final = 4096


class SshFailed(BrummerError):
    """ssh could not be started, has ended, or forwards no port."""

    code = "ssh_failed"


class SshConnection:
    """One ssh process. Await `line` from one task, and `close` in the end. Made by `start`."""

    def __init__(
        self, name: str, process: asyncio.subprocess.Process, control: Path, environ: Mapping[str, str]
    ) -> None:
        self._name = name
        self._process = process
        self._control = control
        self._environ = dict(environ)
        self._stdin = cast("asyncio.StreamWriter", process.stdin)
        self._stdout = cast("asyncio.StreamReader", process.stdout)
        stderr = cast("asyncio.StreamReader", process.stderr)
        self._said = b""
        self._listening = asyncio.create_task(self._listen(stderr), name=f"stderr of ssh {name}")

    @classmethod
    async def start(cls, box: Server, directory: Path, environ: Mapping[str, str]) -> "SshConnection":
        """``directory``: where the control socket is, made if need be. Raises SshFailed, DirectoryUnusable."""
        control = await in_thread(_place, directory)
        try:
            # In its own session: Ctrl-C at our terminal is not for it, and it can ask nothing there. The control socket
            # has a relative path, because the length of such a path is limited.
            process = await asyncio.create_subprocess_exec(
                *master(box, control.name),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                limit=LINE_LIMIT_BYTES,
                cwd=directory,
                env=dict(environ),
                start_new_session=True,
            )
        except FileNotFoundError:
            raise SshFailed("ssh is not installed here, or not on PATH") from None
        except OSError as error:
            raise SshFailed(f"ssh could not be started: {error.strerror}") from None
        return cls(box.name, process, control, environ)

    async def line(self) -> bytes:
        """The next line of the bridge; empty when ssh, or the bridge, has ended. Raises SshFailed for one too long."""
        try:
            return await self._stdout.readline()
        except ValueError:
            raise SshFailed(f"a line of the bridge on {self._name} is longer than {LINE_LIMIT_BYTES} bytes") from None

    def ask(self) -> None:
        """The bridge answers with a line."""
        self._stdin.write(ASK)

    async def forward(self, far: Record) -> int:
        """Open a port here that leads to this instance, and return it. Raises SshFailed."""
        said = ""
        for _ in range(PORT_TRIES):
            port = _free_port()
            if not (said := await self._multiplex("forward", port, far)):
                return port
        raise SshFailed(f"ssh forwards no port to {self._name}: {said}")

    async def cancel(self, port: int, far: Record) -> None:
        """Close that port; connections through it stay as long as their ends. Never fails: with ssh the port ends."""
        await self._multiplex("cancel", port, far)

    async def _multiplex(self, action: str, port: int, far: Record) -> str:
        """Empty if it is done, else why not."""
        try:
            process = await asyncio.create_subprocess_exec(
                *multiplexed(self._control.name, action, port, far),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.PIPE,
                cwd=self._control.parent,
                env=self._environ,
                start_new_session=True,
            )
        except OSError as error:
            return f"ssh could not be started: {error.strerror}"
        try:
            async with asyncio.timeout(FORWARD_S):
                _, said = await process.communicate()
        except TimeoutError:
            said = b"it does not answer"
        finally:
            await _end(process)
        return "" if process.returncode == 0 else last_line(said) or f"status {process.returncode}"

    async def close(self, *, has_greeted: bool) -> str:
        """End ssh, and with it the bridge and all forwarded ports; returns why it had ended before, if it had."""
        if self._stdout.at_eof():  # its status follows at once
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(END_S):
                    await self._process.wait()
        status = self._process.returncode
        self._stdin.close()
        await _end(self._process)
        with contextlib.suppress(TimeoutError):  # a process that ssh has started, such as a ProxyCommand, may hold it
            async with asyncio.timeout(END_S):
                await asyncio.shield(self._listening)
        self._listening.cancel()
        await asyncio.wait([self._listening])
        with contextlib.suppress(OSError, BrummerError):
            await in_thread(self._control.unlink)
        if status is None:
            return ""
        return explained(self._name, status, last_line(self._said), has_greeted=has_greeted)

    async def _listen(self, stderr: asyncio.StreamReader) -> None:
        while data := await stderr.read(LAST_WORDS_BYTES):
            self._said = (self._said + data)[-LAST_WORDS_BYTES:]


async def _end(process: asyncio.subprocess.Process) -> None:
    """SIGTERM lets ssh remove its control socket."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        if process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(number)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(END_S):
                await process.wait()


def _free_port() -> int:
    with socket.socket() as probing:
        probing.bind(("127.0.0.1", 0))
        port: int = probing.getsockname()[1]
        return port


def _place(directory: Path) -> Path:
    """A new name for a control socket; those of dead ssh processes are removed. Raises DirectoryUnusable."""
    private_directory(directory)
    for path in directory.glob("ssh-*.sock"):
        remove_dead(path)
    return directory / f"ssh-{os.getpid()}-{secrets.token_hex(4)}.sock"
