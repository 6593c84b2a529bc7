"""Calls to one instance without a hub: over one connection, and only to the run that proves its identity."""

import asyncio
import socket
from collections.abc import AsyncIterator

import msgspec
import pytest

from brummer.core.errors import ConnectionRefused
from brummer.discovery.record import Record
from brummer.link.call import Call
from brummer.link.errors import Impostor
from brummer.peers.instance_client import InstanceClient, MetricsRefused, target_of
from brummer.wire.http.server import Exchange, HttpServer
from brummer.wire.mcp import identity

from .discovery_support import record_of_this_process
from .fakes import TOKEN, FakeInstance

WITHIN_S = 30


def record_of(fake: FakeInstance) -> Record:
    return record_of_this_process(
        instance_id=fake.instance_id,
        generation=fake.generation,
        url=f"http://127.0.0.1:{fake.port}/mcp",
        token=TOKEN,
    )


@pytest.fixture
async def fake() -> AsyncIterator[FakeInstance]:
    async with FakeInstance() as fake:
        yield fake


@pytest.fixture
async def client(fake: FakeInstance) -> AsyncIterator[InstanceClient]:
    client = InstanceClient(record_of(fake))
    yield client
    client.close()
    assert not client.is_open


def logs_tail() -> Call:
    return Call("tools/call", {"name": "logs_tail", "arguments": {"limit": 3}}, repeatable=True, deadline_s=30.0)


async def test_calls_go_over_one_connection_on_which_the_run_has_proven_itself_once(
    fake: FakeInstance, client: InstanceClient
) -> None:
    assert not client.is_open
    for _ in range(2):
        answer = msgspec.json.decode(await client.call(logs_tail()))
        assert answer["structuredContent"] == {"limit": 3}
        assert client.is_open
    assert (fake.probes, fake.connections, len(fake.calls)) == (1, 1, 2)


async def test_after_a_lost_connection_the_run_proves_itself_before_the_next_call(
    fake: FakeInstance, client: InstanceClient
) -> None:
    await client.call(logs_tail())
    fake.drop_connections()
    async with asyncio.timeout(WITHIN_S):
        while client.is_open:
            await asyncio.sleep(0)
    await client.call(logs_tail())
    assert (fake.probes, len(fake.calls)) == (2, 2)


async def test_another_run_on_the_same_port_is_sent_no_call(fake: FakeInstance, client: InstanceClient) -> None:
    fake.generation = "generation-2"
    for _ in range(2):  # nor on the connection that the first attempt has left
        with pytest.raises(Impostor):
            await client.call(logs_tail())
        assert not client.is_open
    assert fake.calls == []


async def test_where_nobody_listens_the_call_is_not_sent_and_a_client_without_connection_can_be_closed(
    fake: FakeInstance,
) -> None:
    client = InstanceClient(record_of(fake))
    client.close()
    await fake.__aexit__()
    with pytest.raises(ConnectionRefused):
        await client.call(logs_tail())


@pytest.mark.parametrize("status", [200, 404])
async def test_a_page_is_asked_for_with_the_token_and_a_refusal_is_an_error(status: int) -> None:
    asked: list[tuple[bytes, bytes]] = []

    async def answer(exchange: Exchange) -> None:
        request = exchange.request
        if request.target.startswith(identity.PATH):
            exchange.respond(*identity.answer(TOKEN, "shop-00000000", "generation-1", request.target))
            return
        asked.append((request.target, request.headers[b"authorization"]))
        exchange.respond(status, b"the page")

    server = HttpServer(answer, body_limit_bytes=1 << 20)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        await server.start([listener])
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/mcp"
        record = record_of_this_process(instance_id="shop-00000000", generation="generation-1", url=url, token=TOKEN)
        client = InstanceClient(record)
        if status == 200:
            assert await client.get(b"/metrics") == b"the page"
        else:
            with pytest.raises(MetricsRefused) as caught:
                await client.get(b"/metrics")
            assert str(status) in caught.value.message
        client.close()
        await server.close()
    assert asked == [(b"/metrics", f"Bearer {TOKEN}".encode())]


def test_a_target_is_near_if_its_process_is_in_our_namespace() -> None:
    record = record_of_this_process()
    elsewhere = msgspec.structs.replace(record, pid_namespace=record.pid_namespace + 1)
    assert target_of(record).is_near
    assert not target_of(elsewhere).is_near


def test_a_port_in_another_network_namespace_is_not_near_and_one_that_is_not_known_is_taken_for_ours() -> None:
    own = record_of_this_process()
    if not own.net_namespace:
        pytest.skip("platform: there are no network namespaces")
    other = target_of(msgspec.structs.replace(own, net_namespace=own.net_namespace + 1))
    assert (other.in_other_network, other.is_near) == (True, False)
    for near in (own, msgspec.structs.replace(own, net_namespace=0)):
        assert (target_of(near).in_other_network, target_of(near).is_near) == (False, True)


async def test_the_socket_of_a_connection_is_handed_over_once_the_run_has_proven_itself(
    fake: FakeInstance, client: InstanceClient
) -> None:
    with await client.hand_over() as sock:
        assert (fake.probes, fake.connections) == (1, 1)
        assert sock.getpeername()[1] == fake.port
        assert not client.is_open
