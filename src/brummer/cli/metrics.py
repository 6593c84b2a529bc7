"""``brum metrics``: ask every hub through its socket and every instance on its port, and print what they count."""

import asyncio
import contextlib
import os
from pathlib import Path
from typing import Any, Final

import msgspec

from brummer.cli.messages import say
from brummer.cli.status import Hubs
from brummer.core import json_text
from brummer.core.errors import BrummerError
from brummer.core.histogram import FAMILIES_PATH
from brummer.core.metrics import Family, merged
from brummer.discovery.directory import instances_directory
from brummer.discovery.record import Record
from brummer.discovery.registry import Registry
from brummer.host import loop
from brummer.host.pids import ProcessIdentity, same_namespace
from brummer.hub import status_socket
from brummer.peers.instance_client import target_of
from brummer.wire.http.connection import HttpConnection

ANSWER_S: Final = 2.0
ANSWER_LIMIT_BYTES: Final = 16 * 1024 * 1024
HTTP_OK: Final = 200
LABEL: Final = "source"


class Source(msgspec.Struct, omit_defaults=True):
    """One process that counts. ``pid`` is 0 where it says nothing to us; ``problem``: why it has no families."""

    source: str
    pid: int
    families: list[Family]
    problem: str | None = None


def run(*, as_json: bool) -> int:
    """Print them; returns 1 when nothing runs or somebody did not answer."""
    return loop.run(_run(instances_directory(os.environ), as_json=as_json))


async def _run(directory: Path, *, as_json: bool) -> int:
    found = [*await _hubs(directory), *await _instances(directory)]
    for source in found:
        if source.problem is not None:
            say(f"{source.source}: {source.problem}")
    await asyncio.to_thread(_print, found, as_json=as_json)
    if not found:
        say("no hub and no instance is running")
    return 1 if not found or any(source.problem for source in found) else 0


async def _hubs(directory: Path) -> list[Source]:
    async with contextlib.aclosing(Hubs(directory, status_socket.METRICS)) as hubs:
        return [_of_hub(answer) for answer in await hubs.ask()]


def _of_hub(answer: dict[str, Any]) -> Source:
    pid = answer["hub"]["pid"]
    name = f"hub-{pid}"
    try:
        if "families" not in answer:
            return Source(name, 0, [], answer["problems"][0]["detail"])
        identity = msgspec.convert(answer["hub"], ProcessIdentity)
        return Source(name, _pid_here(identity), msgspec.convert(answer["families"], list[Family]))
    except (msgspec.ValidationError, LookupError, TypeError) as error:
        return Source(name, 0, [], f"it speaks of things that this version does not know: {error}")


def _pid_here(identity: ProcessIdentity) -> int:
    return identity.pid if same_namespace(identity) else 0


async def _instances(directory: Path) -> list[Source]:
    async with Registry(directory) as registry:
        await registry.scan()
        records = registry.snapshot()
    return list(await asyncio.gather(*map(_of_instance, records.values())))


async def _of_instance(record: Record) -> Source:
    try:
        async with asyncio.timeout(ANSWER_S):
            families = await _ask(record)
    except TimeoutError:
        problem = f"it does not answer within {ANSWER_S:g} s"
    except BrummerError as error:
        problem = error.message
    except msgspec.MsgspecError as error:
        problem = f"what it says is not understood: {error}"
    else:
        return Source(record.instance_id, _pid_here(record.identity), families)
    return Source(record.instance_id, 0, [], problem)


async def _ask(record: Record) -> list[Family]:
    """It proves who it is before it is shown its token. Raises `BrummerError`, MsgspecError."""
    target = target_of(record)
    connection = await HttpConnection.open(
        target.host, target.port, timeout_s=ANSWER_S, limit_bytes=ANSWER_LIMIT_BYTES, on_close=lambda _: None
    )
    try:
        await target.prove(connection)
        response = await connection.exchange(
            b"GET %b HTTP/1.1\r\nhost: %b\r\nauthorization: Bearer %b\r\n\r\n"
            % (FAMILIES_PATH, target.authority.encode(), target.token.encode())
        )
    finally:
        connection.close()
    if response.status != HTTP_OK:
        raise BrummerError(f"it does not tell its metrics (HTTP {response.status}): it may be of another version")
    return msgspec.json.decode(response.body, type=list[Family])


def _print(sources: list[Source], *, as_json: bool) -> None:
    """In a thread: to load the library and to read /proc takes its time."""
    from brummer.telemetry import exposition

    for source in sources:
        if source.pid:
            source.families += exposition.process_families(source.pid)
    if as_json:
        print(json_text.indented(sources))
    else:
        families = merged(((source.source, source.families) for source in sources), LABEL)
        print(exposition.render(families).decode(), end="")
