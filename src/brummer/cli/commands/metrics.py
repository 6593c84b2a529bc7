"""``brum metrics``: the metrics of every hub (through its socket) and every instance (over HTTP)."""

import argparse
import asyncio
import contextlib
import os
from pathlib import Path
from typing import Any, Final

import msgspec

from brummer.cli import options
from brummer.cli.messages import print_json, say
from brummer.cli.running_hubs import RunningHubs
from brummer.core.errors import BrummerError
from brummer.core.metrics import Family, merged
from brummer.discovery.directory import instances_directory
from brummer.discovery.record import Record
from brummer.discovery.registry import Registry
from brummer.host import loop
from brummer.host.pids import ProcessIdentity, same_namespace
from brummer.hub import status_socket
from brummer.instance.counting import FAMILIES_PATH
from brummer.peers.instance_client import InstanceClient

DETAILS: Final = (
    "The format is that of Prometheus; the label `source` names the hub or instance. Exit status 1 when nothing runs,"
    " or one does not answer."
)
ANSWER_S: Final = 2.0
LABEL: Final = "source"


class MetricsSource(msgspec.Struct, omit_defaults=True):
    """One process with metrics. ``pid`` is 0 if it is of another namespace; ``problem``: why it has no families."""

    source: str
    pid: int
    families: list[Family]
    problem: str | None = None


def add_options(parser: argparse.ArgumentParser) -> None:
    options.add_json(parser, "print JSON: a list with an entry for each hub and instance")


def run(chosen: argparse.Namespace) -> int:
    return loop.run(_run(instances_directory(os.environ), as_json=chosen.json))


async def _run(directory: Path, *, as_json: bool) -> int:
    found = [*await _hubs(directory), *await _instances(directory)]
    for source in found:
        if source.problem is not None:
            say(f"{source.source}: {source.problem}")
    await asyncio.to_thread(_print, found, as_json=as_json)
    if not found:
        say("no hub and no instance is running")
    return 1 if not found or any(source.problem for source in found) else 0


async def _hubs(directory: Path) -> list[MetricsSource]:
    async with contextlib.aclosing(RunningHubs(directory, status_socket.METRICS)) as hubs:
        return [_of_hub(answer) for answer in await hubs.ask()]


def _of_hub(answer: dict[str, Any]) -> MetricsSource:
    name = f"hub-{answer['hub']['pid']}"
    try:
        if "families" not in answer:
            return MetricsSource(name, 0, [], answer["problems"][0]["detail"])
        identity = msgspec.convert(answer["hub"], ProcessIdentity)
        return MetricsSource(name, _pid_here(identity), msgspec.convert(answer["families"], list[Family]))
    except (msgspec.ValidationError, LookupError, TypeError) as error:
        return MetricsSource(name, 0, [], f"this version does not understand its answer: {error}")


def _pid_here(identity: ProcessIdentity) -> int:
    return identity.pid if same_namespace(identity) else 0


async def _instances(directory: Path) -> list[MetricsSource]:
    async with Registry(directory) as registry:
        await registry.scan()
        records = registry.snapshot()
    return list(await asyncio.gather(*map(_of_instance, records.values())))


async def _of_instance(record: Record) -> MetricsSource:
    client = InstanceClient(record)
    try:
        async with asyncio.timeout(ANSWER_S):
            families = msgspec.json.decode(await client.get(FAMILIES_PATH), type=list[Family])
    except TimeoutError:
        problem = f"it does not answer within {ANSWER_S:g} s"
    except BrummerError as error:
        problem = error.message
    except msgspec.MsgspecError as error:
        problem = f"this version does not understand its answer: {error}"
    else:
        return MetricsSource(record.instance_id, _pid_here(record.identity), families)
    finally:
        client.close()
    return MetricsSource(record.instance_id, 0, [], problem)


def _print(sources: list[MetricsSource], *, as_json: bool) -> None:
    """In a thread: loading the library and reading /proc take milliseconds."""
    from brummer.telemetry import exposition

    for source in sources:
        if source.pid:
            source.families += exposition.process_families(source.pid)
    if as_json:
        print_json(sources)
    else:
        families = merged(((source.source, source.families) for source in sources), LABEL)
        print(exposition.render(families).decode(), end="")
