"""Counts what programs hold for calls and answers. In a quiet time that must be nothing."""

from collections.abc import Iterator

from brummer.link.link import Link
from brummer.peers.instances import Instances
from brummer.testing.simulation.world import World


def held(world: World) -> set[str]:
    """Each kind of thing that some program holds, as a sentence without the number: that may change at any time."""
    found = set()
    for client in world.clients:
        run = client.hub
        if run is not None and run.hub is not None:
            found |= {f"{run.name} holds {what}" for what in _of_hub(run.hub.instances)}
    for instance in world.instances:
        if instance.calls is not None and instance.process is not None and instance.calls.running:
            found.add(f"{instance.id} runs calls")
    return found


def _of_hub(instances: Instances) -> Iterator[str]:
    gate, reservations = instances.gate, instances.reservations
    links = [entry.link for entry in instances if isinstance(entry.link, Link)]
    counts = {
        "memory reserved for answers": reservations.reserved_bytes,
        "answers that wait for memory": reservations.queued,
        "slots of calls": gate.total.taken + gate.total.queued,
        "parked calls": gate.parked,
        "places of connections that are closed": gate.budget.taken - sum(link.connections.size for link in links),
        "connections beyond one for each link": max(0, gate.budget.taken - len(links)),
        "callers that wait for a place of a connection": gate.budget.queued,
    }
    for link in links:
        name, pools = link.target.instance_id, link.connections.pools
        counts[f"leases of connections to {name}"] = sum(pool.in_use for pool in pools)
        counts[f"callers that wait for a connection to {name}"] = sum(pool.queued for pool in pools)
        counts[f"calls parked for {name}"] = len(link.parking)
    return (what for what, count in counts.items() if count)
