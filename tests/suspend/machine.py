"""One QEMU with a kernel and our initramfs: its console, its monitor, and a line on which the guest talks to us.

Theory of operation: QEMU connects to two sockets of ours. On the one it speaks QMP; the other is the guest's second
serial port, on which each side sends JSON, one object a line. The first serial port is the guest's console, which we
read for what the kernel says: it alone knows when a suspend to idle has begun. QMP's events and the console's lines go
into one log, so that waiting for something is the same for both.
"""

import asyncio
import contextlib
import json
import os
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any, Final, Self

from tests.suspend.fetch import Kit

LINE_LIMIT_BYTES: Final = 1024 * 1024

HARDWARE: Final = (
    *("-machine", "pc,hpet=off,accel=tcg"),  # software emulation: hardware's is not to be had in most places
    *("-global", "PIIX4_PM.disable_s3=0"),
    *("-cpu", "max", "-smp", "1", "-m", "1024"),
    *("-rtc", "base=utc,clock=host"),  # the alarm's clock goes on while the guest sleeps
    *("-nodefaults", "-display", "none", "-no-reboot"),
)


class MachineFailed(Exception):
    """The machine ended, or never began; the message has the last that was heard of it."""


class Port:
    """A Unix socket on which QEMU connects to us, once. Objects go both ways, one a line."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._caller: asyncio.Future[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = asyncio.Future()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_unix_server(self._called, self.path, limit=LINE_LIMIT_BYTES)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        if self._caller.done() and self._caller.exception() is None:
            self._caller.result()[1].close()

    def _called(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._caller.set_result((reader, writer))

    def ended(self) -> None:
        """Nobody will connect any more: whoever waits for it learns so."""
        if not self._caller.done():
            self._caller.set_exception(MachineFailed("QEMU ended before it began"))

    async def send(self, **message: Any) -> None:
        _, writer = await asyncio.shield(self._caller)
        writer.write(json.dumps(message).encode() + b"\n")
        await writer.drain()

    async def __aiter__(self) -> AsyncIterator[dict[str, Any]]:
        reader, _ = await asyncio.shield(self._caller)
        async for line in reader:
            yield json.loads(line)


class Machine:
    """A running one. Made by `booted`."""

    def __init__(self, process: asyncio.subprocess.Process, monitor: Port, channel: Port) -> None:
        self.channel = channel
        self.log: list[str] = []
        self._process = process
        self._monitor = monitor
        self._heard = asyncio.Condition()
        self._answers: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

    async def follow_console(self) -> None:
        """Keep what the guest's kernel and programs print, until the machine ends."""
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            await self._note(line.decode(errors="backslashreplace").rstrip())
        self.channel.ended()
        self._monitor.ended()

    async def follow_monitor(self) -> None:
        await self._monitor.send(execute="qmp_capabilities")
        async for message in self._monitor:
            if "event" in message:
                await self._note(f"QMP {message['event']}")
            elif "QMP" not in message:
                await self._answers.put(message)

    async def _note(self, line: str) -> None:
        async with self._heard:
            self.log.append(line)
            self._heard.notify_all()

    async def heard(self, text: str, since: int) -> None:
        """Wait until a line of the log contains this, at or after its ``since``-th."""
        async with self._heard:
            await self._heard.wait_for(lambda: any(text in line for line in self.log[since:]))

    async def command(self, name: str) -> None:
        """One of QMP's, carried out. Raises `MachineFailed`."""
        while not self._answers.empty():
            self._answers.get_nowait()
        await self._monitor.send(execute=name)
        answer = await self._answers.get()
        if "error" in answer:
            raise MachineFailed(f"{name}: {answer['error']['desc']}")

    def last_words(self, lines: int = 40) -> str:
        return "\n".join(self.log[-lines:])


@contextlib.asynccontextmanager
async def booted(kit: Kit, initramfs: Path, arguments: Sequence[str]) -> AsyncIterator[Machine]:
    """A machine whose init has these arguments. However the block ends, the machine ends with it."""
    folder = initramfs.parent
    async with Port(folder / "monitor") as monitor, Port(folder / "channel") as channel:
        process = await asyncio.create_subprocess_exec(
            *("setpriv", "--pdeathsig", "KILL"),  # for when we are killed ourselves
            *kit.qemu,
            *HARDWARE,
            *("-kernel", str(kit.kernel), "-initrd", str(initramfs), "-append", _command_line(arguments)),
            *("-serial", "stdio"),
            *("-chardev", f"socket,id=channel,path={channel.path}", "-serial", "chardev:channel"),
            *("-chardev", f"socket,id=monitor,path={monitor.path}", "-mon", "chardev=monitor,mode=control"),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env={**os.environ, "LD_LIBRARY_PATH": kit.libraries},
        )
        machine = Machine(process, monitor, channel)
        tasks = [asyncio.create_task(machine.follow_console()), asyncio.create_task(machine.follow_monitor())]
        try:
            yield machine
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


def _command_line(arguments: Sequence[str]) -> str:
    """For the kernel; what stands after the dashes is init's."""
    return f"console=ttyS0 panic=-1 no_console_suspend -- {' '.join(arguments)}"
