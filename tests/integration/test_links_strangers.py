"""Somebody else on the port of an instance that was killed, while its record still stands.

The hub reads records from a directory of its own here, where a record stands for as long as the test wants it to; its
owner, as far as anybody can see, is a process that lives and does nothing.
"""

import asyncio
import contextlib
import shutil
import signal
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, Final

import pytest

from brummer.host.pids import identify
from brummer.testing.fault_proxy import FaultProxy
from tests.integration.programs import BRUM, WAIT_S, Brum, Instance
from tests.integration.scenarios.counting import publish
from tests.integration.scenarios.ports import free_port
from tests.integration.scenarios.stdio import Client

PROCFILE: Final = "once: echo ran >> ran.txt; echo done\nslow: echo ran >> slow.txt; sleep 300\n"
TRIES: Final = 3
"""How often the hub must have asked the stranger before we look at what it was told."""

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="platform: the record names a process by its start")

Speak = Callable[[asyncio.StreamReader, asyncio.StreamWriter, bytearray], Awaitable[None]]


async def _hear(reader: asyncio.StreamReader, heard: bytearray) -> bytes:
    """The next piece; empty at the end, however it comes."""
    try:
        data = await reader.read(65_536)
    except OSError:
        return b""
    heard += data
    return data


async def says_200_to_everything(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, heard: bytearray) -> None:
    page = b"<h1>It works!</h1>"
    while await _hear(reader, heard):
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: %d\r\n\r\n%b" % (len(page), page))


async def says_garbage(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, heard: bytearray) -> None:
    while await _hear(reader, heard):
        writer.write(bytes(range(256)))


async def drips_headers_for_ever(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, heard: bytearray) -> None:
    await _hear(reader, heard)  # who speaks before he is asked is told from ours by that alone
    hearing = asyncio.ensure_future(_hear_all(reader, heard))
    try:
        writer.write(b"HTTP/1.1 200 OK\r\nx-slow: ")
        while not hearing.done():
            writer.write(b"z")
            await asyncio.sleep(0.05)
    finally:
        hearing.cancel()


async def says_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, heard: bytearray) -> None:
    await _hear_all(reader, heard)


async def _hear_all(reader: asyncio.StreamReader, heard: bytearray) -> None:
    while await _hear(reader, heard):
        pass


STRANGERS: Final[dict[str, tuple[Speak, str]]] = {
    "200 to everything": (says_200_to_everything, "impostor"),
    "garbage": (says_garbage, "impostor"),
    # Nobody has answered wrongly yet: it may be our own instance, stuck. So no verdict, only another try.
    "slow-loris": (drips_headers_for_ever, "retrying"),
    "silence": (says_nothing, "retrying"),
}


class Haunted:
    """A project whose instance was killed; ``record`` is what the hub believes of it."""

    def __init__(self, brum: Brum, client: Client, seen_by_hub: Path, record: dict[str, Any], project: Path) -> None:
        self.brum = brum
        self.client = client
        self.seen_by_hub = seen_by_hub
        self.record = record
        self.project = project
        self.port = port_of(record["url"])

    async def link(self) -> dict[str, Any]:
        return (await self.client.links())[self.record["instance_id"]]

    async def has_asked(self, state: str) -> dict[str, Any]:
        """The link's status once it has tried often enough; its verdict must never have been another."""
        async with asyncio.timeout(6 * WAIT_S):
            while (link := await self.link())["attempts"] < TRIES or link["state"] != state:
                assert link["state"] != "ready"
                await asyncio.sleep(0.02)
        return link

    async def comes_back_elsewhere(self) -> Instance:
        """The real one, on another port, because its own is taken."""
        instance = self.brum.instance(self.project)
        assert port_of(instance.url) != self.port
        assert instance.id == self.record["instance_id"]
        publish(self.seen_by_hub, instance.record)
        return instance


def port_of(url: str) -> int:
    return int(url.split(":")[2].split("/", maxsplit=1)[0])


@pytest.fixture
async def haunted(brum: Brum) -> AsyncIterator[Haunted]:
    project = brum.project("house", {"Procfile": PROCFILE})
    instance = brum.instance(project, "-p", str(free_port()))
    owner = identify(brum.start("sleep", "300").pid)
    assert owner is not None
    seen_by_hub = brum.home / "seen-by-hub"
    record = {**instance.record, "pid": owner.pid, "start_token": owner.start_token}
    publish(seen_by_hub, record)
    environment = {**brum.environment, "BRUMMER_INSTANCES_DIR": str(seen_by_hub)}
    async with Client.running(BRUM, "--mcp", env=environment) as client:
        found = await client.call("scripts_list")
        assert [script["name"] for script in found["scripts"]] == ["once", "slow"]
        there = Haunted(brum, client, seen_by_hub, record, project)
        assert (await there.link())["state"] == "ready"
        instance.signal(signal.SIGKILL)
        instance.wait()
        yield there


@contextlib.asynccontextmanager
async def stranger(port: int, speak: Speak, tls: ssl.SSLContext | None = None) -> AsyncIterator[bytearray]:
    """Somebody on this port; yields everything he is told."""
    heard = bytearray()
    talks: set[asyncio.Task[None]] = set()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        talks.add(task)
        try:
            with contextlib.suppress(asyncio.CancelledError, OSError):
                await speak(reader, writer, heard)
        finally:
            talks.discard(task)
            writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", port, ssl=tls)
    try:
        yield heard
    finally:
        server.close()
        for task in list(talks):
            task.cancel()
        if talks:
            await asyncio.wait(talks)
        await server.wait_closed()


async def recovers(there: Haunted) -> None:
    """Calls that wait for it meanwhile go to the real one when it returns, and once."""
    waiting = asyncio.create_task(there.client.call("scripts_run", name="once", wait="exit"))
    async with asyncio.timeout(WAIT_S):
        while (await there.link())["parked"] == 0:
            await asyncio.sleep(0.01)
    await there.comes_back_elsewhere()
    answer = await waiting
    assert (answer["status"], answer["exit_code"]) == ("exited", 0)
    assert (there.project / "ran.txt").read_text().split() == ["ran"]
    assert (await there.link())["state"] == "ready"


def assert_nothing_was_given_away(heard: bytes, there: Haunted) -> None:
    assert b"GET /identity?nonce=" in heard  # how often depends on when the real one is back
    assert b"POST" not in heard
    assert b"authorization" not in heard.lower()
    assert there.record["token"].encode() not in heard


@pytest.mark.promise("no-token-for-strangers")
@pytest.mark.parametrize("kind", STRANGERS)
async def test_a_stranger_learns_nothing_and_the_real_one_is_found_again(haunted: Haunted, kind: str) -> None:
    speak, state = STRANGERS[kind]
    async with stranger(haunted.port, speak) as heard:
        link = await haunted.has_asked(state)
        print(f"{kind}: {link['state']}, {link['reason']!r}")
        assert link["last_error"]["code"] in ("impostor", "connection_lost")
        await recovers(haunted)
        assert_nothing_was_given_away(bytes(heard), haunted)


async def test_a_tls_server_is_told_nothing(haunted: Haunted, tmp_path: Path) -> None:
    """It hears no request at all: what we say is no handshake. What it makes of that is its own choice."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("platform: openssl makes the certificate")
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    command = (openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
    subject = ("-subj", "/CN=localhost", "-days", "1", "-keyout", key, "-out", certificate)
    subprocess.run([*command, *subject], check=True, capture_output=True)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate, key)
    asyncio.get_running_loop().set_exception_handler(lambda _, __: None)  # a failed handshake is no event for us
    async with contextlib.AsyncExitStack() as stack:
        behind = free_port()
        heard = await stack.enter_async_context(stranger(behind, says_200_to_everything, tls))
        on_the_wire = bytearray()
        proxy = FaultProxy(
            "127.0.0.1", behind, listen_on=haunted.port, on_request=lambda _, data: on_the_wire.extend(data)
        )
        await stack.enter_async_context(proxy)
        async with asyncio.timeout(6 * WAIT_S):
            while (link := await haunted.link())["attempts"] < TRIES:
                assert link["state"] != "ready"
                await asyncio.sleep(0.02)
        print(f"TLS: {link['state']}, {link['reason']!r}")
        await recovers(haunted)
        assert not heard
        assert_nothing_was_given_away(bytes(on_the_wire), haunted)


@pytest.mark.promise("identity-first")
async def test_another_projects_instance_on_the_port_gets_no_call_that_was_not_meant_for_it(haunted: Haunted) -> None:
    """It speaks our language perfectly, and has scripts of the same names."""
    other = haunted.brum.project("other", {"Procfile": PROCFILE})
    haunted.brum.instance(other, "-p", str(haunted.port))
    link = await haunted.has_asked("impostor")
    assert link["last_error"]["code"] == "impostor"
    await recovers(haunted)
    assert not (other / "ran.txt").exists()


@pytest.mark.promise("no-token-for-strangers")
async def test_another_projects_instance_is_not_shown_the_token_either(haunted: Haunted) -> None:
    project = haunted.brum.project("other", {"Procfile": PROCFILE})
    other = haunted.brum.instance(project, "-p", str(free_port()))
    heard = bytearray()
    proxy = FaultProxy(
        "127.0.0.1", port_of(other.url), listen_on=haunted.port, on_request=lambda _, data: heard.extend(data)
    )
    async with proxy:
        await haunted.has_asked("impostor")
        await recovers(haunted)
        assert_nothing_was_given_away(bytes(heard), haunted)


async def test_a_call_that_was_in_flight_is_never_asked_for_again_of_a_stranger(haunted: Haunted) -> None:
    """Sent to the real one, which is killed at once; the stranger answers on its port within the same second."""
    real = haunted.brum.instance(haunted.project, "-p", str(free_port()))
    owner = {name: haunted.record[name] for name in ("pid", "start_token")}
    publish(haunted.seen_by_hub, real.record, **owner)
    slow = asyncio.create_task(haunted.client.call("scripts_run", name="slow", wait="exit", timeout_s=120))
    async with asyncio.timeout(WAIT_S):
        while not (haunted.project / "slow.txt").exists():
            await asyncio.sleep(0.01)
    real.signal(signal.SIGKILL)
    real.wait()
    async with stranger(port_of(real.url), says_200_to_everything) as heard:
        await haunted.has_asked("impostor")
        assert not slow.done()
        await haunted.comes_back_elsewhere()
        error = (await slow)["error"]
        assert (error["code"], error["outcome"]) == ("outcome_unknown", "unknown")
        assert_nothing_was_given_away(bytes(heard), haunted)
    assert (haunted.project / "slow.txt").read_text().split() == ["ran"]
