"""The far side of a box: follows the instances of this machine, and writes them to standard output, for the hub that
has started this over SSH.

It ends with its input, which ends with the hub, however that has ended; when nobody reads its output; and when the hub
has been silent for so long that the machine between must be gone.
"""

import asyncio
import contextlib
from collections.abc import Mapping
from typing import Final

from brummer import __version__
from brummer.core.supervisor import Supervisor
from brummer.discovery.directory import instances_directory
from brummer.discovery.events import DirectoryEvent, Gone, GoneReason
from brummer.discovery.registry import Registry
from brummer.fleet import bridge_lines
from brummer.host.directories import DirectoryUnusable
from brummer.host.pids import own_identity
from brummer.wire.mcp.pipes import LineReader, Writer, start_reading

UNASKED_S: Final = 60.0
"""A hub asks every few seconds; one that sleeps connects anew when it wakes."""
LAST_WORDS_S: Final = 0.5
ASK_LIMIT_BYTES: Final = 1024


class Bridge:
    """Serves one hub over these descriptors: await `serve`."""

    def __init__(self, registry: Registry, *, stdin: int, stdout: int, silent_s: float = UNASKED_S) -> None:
        self._registry = registry
        self._silent_s = silent_s
        self._stdin = stdin
        self._loop = asyncio.get_running_loop()
        self._ended = asyncio.Event()
        end = self._ended.set
        self._writer = Writer(stdout, on_full=end, on_drained=lambda: None, on_broken=end)
        self._lines = LineReader(ASK_LIMIT_BYTES, self._on_ask, lambda _head, _tail: end(), end)
        self._gone: dict[str, GoneReason] = {}
        self._silence: asyncio.TimerHandle | None = None

    async def serve(self) -> None:
        """Until the hub has ended, or was silent for ``silent_s``."""
        supervisor = Supervisor()
        self._writer.write(bridge_lines.greeting(__version__, own_identity().boot_id))
        self._expect_ask()
        reader = start_reading(self._loop, self._stdin, self._lines.feed)
        try:
            supervisor.start("roster", self._follow)
            await self._ended.wait()
        finally:
            reader.pause()
            if self._silence is not None:
                self._silence.cancel()
            await supervisor.close()
            await self._writer.close(LAST_WORDS_S)

    async def _follow(self) -> None:
        await self._registry.scan()
        self._write_roster()
        async for event in self._registry:
            self._note(event)
            self._registry.take(self._note)
            self._write_roster()

    def _note(self, event: DirectoryEvent) -> None:
        if isinstance(event, Gone):
            self._gone[event.record.generation] = event.reason

    def _write_roster(self) -> None:
        self._registry.take(self._note)
        records = sorted(self._registry.snapshot().items())[: bridge_lines.RECORDS_MAX]
        self._writer.write(bridge_lines.roster((record for _, record in records), self._gone), is_last=True)
        self._gone = {}

    def _on_ask(self, _: bytes) -> None:
        self._expect_ask()
        self._writer.write(bridge_lines.ALIVE, is_last=True)

    def _expect_ask(self) -> None:
        if self._silence is not None:
            self._silence.cancel()
        self._silence = self._loop.call_later(self._silent_s, self._ended.set)


async def serve(environ: Mapping[str, str], *, stdin: int, stdout: int) -> int:
    """Serve the hub at the other end; returns the exit status."""
    try:
        registry = Registry(instances_directory(environ))
    except DirectoryUnusable as error:
        registry = Registry(error.path, refusal=error)
    with contextlib.closing(registry):
        await Bridge(registry, stdin=stdin, stdout=stdout).serve()
    return 0
