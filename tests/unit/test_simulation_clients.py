"""The agent that uses its hub over stdio reads each hub's pipe on its own."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from brummer.testing.process_table import Pipe
from brummer.testing.simulated_loop import SimulatedLoop
from brummer.testing.simulation.clients import Asked, SimulatedClient
from brummer.testing.simulation.parts import HubRun, Job
from brummer.testing.simulation.world import World, new_call

HALF_A_LINE = b'{"jsonrpc":"2.0","id":1,"resu'
ANSWERED_S = 5.0
"""Longer than a hub takes that starts and answers at once."""


def in_a_world(work: Callable[[World], Awaitable[None]]) -> None:
    """Run ``work`` in virtual time, in a world whose programs have started."""

    async def play() -> None:
        await world.start()
        await work(world)
        for process in list(world.machine.processes.values()):
            await process.kill()

    loop = SimulatedLoop()
    world = World(loop, 1)
    try:
        loop.run_until_complete(play())
        assert loop.failures == []
    finally:
        loop.close()


def stdout_of(hub: HubRun, client: SimulatedClient) -> Pipe:
    """The end of the pipe that the hub writes to and the client reads."""
    ends = [each for each in hub.process.descriptors.values() if isinstance(each, Pipe)]
    return next(end for end in ends if end.other is not None and end.other.reader is not None)


async def ask(world: World, client: SimulatedClient, number: int) -> Asked:
    """A call that the client has made, after the time in which it is answered."""
    made = new_call(world, client, "scripts_status", world.instances[0].id, Job(number, 0.0, 0))
    assert made is not None
    asked, arguments = made
    client.ask(asked, arguments)
    await asyncio.sleep(ANSWERED_S)
    return asked


@pytest.mark.parametrize("is_read", [True, False], ids=["read before the kill", "still in the pipe at the next start"])
def test_half_a_line_of_a_killed_hub_does_not_spoil_the_answers_of_the_next_one(is_read: bool) -> None:  # noqa: FBT001
    async def work(world: World) -> None:
        client, killed = world.clients[0], world.clients[0].hub
        assert killed is not None
        assert (await ask(world, client, 1)).code == ""
        if not is_read:
            client.process.stop()
        stdout_of(killed, client).write(HALF_A_LINE)
        if is_read:
            await asyncio.sleep(0.1)
        await world.kill_hub(client)
        client.start_hub()
        client.process.go_on()
        asked = await ask(world, client, 2)
        assert (asked.is_over, asked.lost, asked.code) == (True, False, "")

    in_a_world(work)


def test_the_end_of_a_killed_hubs_pipe_loses_no_call_to_the_next_one() -> None:
    async def work(world: World) -> None:
        client = world.clients[0]
        client.process.stop()
        await world.kill_hub(client)
        client.start_hub()
        made = new_call(world, client, "scripts_status", world.instances[0].id, Job(1, 0.0, 0))
        assert made is not None
        client.ask(*made)
        client.process.go_on()
        await asyncio.sleep(ANSWERED_S)
        assert (made[0].is_over, made[0].lost, made[0].code) == (True, False, "")

    in_a_world(work)
