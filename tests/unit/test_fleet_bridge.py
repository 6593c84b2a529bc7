"""The far side of a box: what the bridge writes, what its reader takes of it, and when it ends."""

import asyncio
import contextlib
import json
import os
import socket
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from brummer import __version__
from brummer.discovery.record import Record, encode
from brummer.discovery.registry import Registry
from brummer.fleet import bridge_lines
from brummer.fleet.bridge import Bridge
from brummer.fleet.bridge_lines import ALIVE, ASK, RECORDS_MAX, UNSEEN, NotABridge, RosterLine, read_greeting, read_line
from brummer.host.pids import own_identity

from .discovery_support import Owner, directory_in_memory, record_of_this_process

WITHIN_S = 30


@pytest.fixture
def directory() -> Iterator[Path]:
    with directory_in_memory() as path:
        yield path


class Hub:
    """The other end of a bridge."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, serving: asyncio.Task[None]) -> None:
        self.reader, self.writer, self.serving = reader, writer, serving

    async def line(self) -> bytes:
        async with asyncio.timeout(WITHIN_S):
            return await self.reader.readline()

    async def roster(self) -> RosterLine:
        while (found := read_line(await self.line())) is None:
            pass
        return found


@contextlib.asynccontextmanager
async def bridged(directory: Path, **settings: Any) -> AsyncIterator[Hub]:
    near, far = socket.socketpair()
    with far, contextlib.closing(Registry(directory)) as registry:
        bridge = Bridge(registry, stdin=far.fileno(), stdout=far.fileno(), **settings)
        serving = asyncio.create_task(bridge.serve())
        reader, writer = await asyncio.open_connection(sock=near)
        try:
            yield Hub(reader, writer, serving)
        finally:
            writer.close()
            async with asyncio.timeout(WITHIN_S):
                await serving


async def test_the_bridge_says_who_it_is_and_follows_the_instances_of_its_machine(directory: Path) -> None:
    owner = await asyncio.to_thread(Owner, directory, Path("/projects/app"))
    await asyncio.to_thread(owner.publish)
    async with bridged(directory) as hub:
        assert read_greeting(await hub.line()).machine == own_identity().boot_id
        assert (await hub.roster()).records == (owner.record,)
        second = await asyncio.to_thread(Owner, directory, Path("/projects/b"))
        await asyncio.to_thread(second.publish)
        assert set((await hub.roster()).records) == {owner.record, second.record}
        await asyncio.to_thread(owner.kill)
        killed = await hub.roster()
        assert (killed.records, killed.gone) == ((second.record,), {owner.record.generation: "process died"})
        await asyncio.to_thread(second.path.unlink)
        await asyncio.to_thread(second.end)
        left = await hub.roster()
        assert (left.records, list(left.gone)) == ((), [second.record.generation])


async def test_each_question_is_answered_and_shows_that_the_bridge_lives(directory: Path) -> None:
    async with bridged(directory) as hub:
        await hub.line()
        await hub.roster()
        for _ in range(2):
            hub.writer.write(ASK)
            assert (await hub.line()).strip() == ALIVE
            assert read_line(ALIVE) is None


async def test_the_bridge_ends_when_its_hub_asks_nothing_any_more(directory: Path) -> None:
    async with bridged(directory, silent_s=0.01) as hub, asyncio.timeout(WITHIN_S):
        await hub.serving


async def test_a_hub_that_sends_no_line_end_is_none(directory: Path) -> None:
    async with bridged(directory) as hub, asyncio.timeout(WITHIN_S):
        hub.writer.write(b"x" * 5_000 + b"\n")
        await hub.serving


# What the reader takes of a line.


def test_a_reader_understands_one_version_of_the_bridge() -> None:
    assert read_greeting(bridge_lines.greeting("0.2.0", "machine")).brummer == "0.2.0"
    for line in (b"", b"hello", b"[]", b'{"brummer":"9","bridge":2,"machine":"m"}', b"[" * 100_000):
        with pytest.raises(NotABridge):
            read_greeting(line)


def line_with(*records: Record, **more: object) -> bytes:
    entries = {record.instance_id: json.loads(encode(record)) for record in records}
    return msgspec.json.encode({"records": entries, **more})


def test_a_record_that_is_none_is_left_out_and_counted() -> None:
    good = record_of_this_process()
    entries = json.loads(line_with(good))
    entry = entries["records"][good.instance_id]
    entries["records"]["another-12345678"] = entry
    entries["records"]["evil-12345678"] = {**entry, "instance_id": "evil-12345678", "url": "http://192.0.2.1:80/mcp"}
    entries["records"]["door-12345678"] = {
        **entry,
        "instance_id": "door-12345678",
        "via": {"host": "b", "carrier": "ssh"},
    }
    entries["records"]["later-12345678"] = {**entry, "instance_id": "later-12345678", "version": 9}
    found = read_line(json.dumps(entries).encode())
    assert found is not None
    assert (found.records, found.refused) == ((good,), 4)


def test_more_records_than_a_machine_can_have_are_left_out() -> None:
    record = record_of_this_process()
    many = [msgspec.structs.replace(record, instance_id=f"app-{number:08x}") for number in range(RECORDS_MAX + 5)]
    found = read_line(line_with(*many))
    assert found is not None
    assert (len(found.records), found.refused) == (RECORDS_MAX, 5)


def test_a_reason_that_only_a_later_version_knows_is_an_end_that_nobody_saw() -> None:
    found = read_line(line_with(gone={"a": "withdrawn", "b": "abducted"}))
    assert found is not None
    assert found.gone == {"a": "withdrawn", "b": UNSEEN}


@pytest.mark.parametrize("line", [b"x", b'{"records":3}', b'{"records":{"a":', b'{"records":{},"gone":[]}'])
def test_a_line_that_no_bridge_writes_is_refused(line: bytes) -> None:
    with pytest.raises(NotABridge):
        read_line(line)


async def test_the_command_serves_standard_input_and_output(directory: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "brummer",
        "bridge",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "BRUMMER_INSTANCES_DIR": str(directory)},
    )
    output, _ = await process.communicate(b"")
    assert process.returncode == 0
    assert read_greeting(output.splitlines()[0]).brummer == __version__
