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
    pool, reservations = instances.pool, instances.reservations
    entries = [(entry, entry.link) for entry in instances if isinstance(entry.link, Link)]
    counts = {
        "memory reserved for answers": reservations.reserved_bytes,
        "answers that wait for memory": reservations.queued,
        "slots of calls": pool.in_flight + pool.queued,
        "parked calls": pool.parked,
        "places of connections that are closed": pool.connections
        - sum(len(link.connections.all) for _, link in entries),
        "users that wait for a connection": pool.wanted,
        "connections beyond one for each link": max(0, pool.connections - len(entries)),
    }
    for entry, link in entries:
        counts[f"leases of connections to {entry.id}"] = link.connections.has_calls or link.connections.has_waits
        counts[f"calls parked for {entry.id}"] = len(link.parking)
        counts[f"runs of calls to {entry.id}"] = entry.is_waited_for
    return (what for what, count in counts.items() if count)
