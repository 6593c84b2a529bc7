"""Which instances the hub knows: what the registry reports, and the servers of the user's settings."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from brummer.discovery.record import Record
from brummer.peers.instances import Instances
from brummer.settings.servers import Server

from .discovery_support import record_of_this_process
from .fakes import TOKEN, FakeInstance

WITHIN_S = 30


def record(name: str, **changes: Any) -> Record:
    return record_of_this_process(Path("/projects") / name, **changes)


@asynccontextmanager
async def known(*records: Record, **how: Any) -> AsyncIterator[Instances]:
    instances = Instances(Path("/"), **how)
    for each in records:
        instances.appeared(each)
    try:
        yield instances
    finally:
        await instances.close()


async def test_only_those_that_concern_the_hub_get_a_link() -> None:
    shop, api = record("shop"), record("api")
    docs, wiki = (Server(name, f"http://127.0.0.1:9/{name}") for name in ("docs", "wiki"))
    async with known(shop, api, concerns=lambda each: each in (shop, docs)) as instances:
        instances.add_server(docs)
        instances.add_server(wiki)
        assert [entry.id for entry in instances] == sorted(["docs", shop.instance_id])


async def test_an_instance_never_takes_the_name_that_the_user_gave_to_a_server() -> None:
    shop = record("shop")
    server = Server(shop.instance_id, "http://127.0.0.1:9/mcp")
    async with known() as instances:
        instances.add_server(server)
        instances.appeared(shop)
        (entry,) = instances
        assert entry.record is server
        instances.gone(shop, "process died")
        assert not entry.is_gone


async def test_instances_without_a_record_are_gone_and_servers_need_none() -> None:
    shop, api = record("shop"), record("api")
    async with known(shop, api) as instances:
        instances.add_server(Server("docs", "http://127.0.0.1:9/mcp"))
        instances.keep_only({api.instance_id: api})
        assert {entry.id: entry.is_gone for entry in instances} == {
            shop.instance_id: True,
            api.instance_id: False,
            "docs": False,
        }


async def test_the_end_of_an_old_run_is_not_the_end_of_its_successor() -> None:
    old = record("shop")
    new = msgspec.structs.replace(old, generation="another")
    async with known(old, new) as instances:
        instances.gone(old, "process died")
        (entry,) = instances
        assert (entry.record, entry.is_gone) == (new, False)
        instances.gone(new, "process died")
        assert entry.is_gone


async def test_where_memory_is_short_links_with_and_without_a_pool_go_on(caplog: pytest.LogCaptureFixture) -> None:
    """``robust`` links may drop idle connections; a basic one keeps none."""
    for is_robust in (True, False):
        async with FakeInstance() as fake:
            found = record(
                "shop",
                instance_id=fake.instance_id,
                generation=fake.generation,
                url=f"http://127.0.0.1:{fake.port}/mcp",
                token=TOKEN,
            )
            async with known(found, use_robust_networking=is_robust) as instances:
                instances.scanned()
                (entry,) = instances
                async with asyncio.timeout(WITHIN_S):
                    await entry.link.settled()
                instances.memory.soft_bytes = 0
                instances.memory.sample(0.0)
                assert instances.memory.level == "soft"
                assert [log.message for log in caplog.records if log.levelname == "ERROR"] == []
                assert (entry.robust is not None, entry.link.status().state) == (is_robust, "ready")
