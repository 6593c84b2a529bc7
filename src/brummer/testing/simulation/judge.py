"""Judges one schedule: returns the faults as sentences, or an empty list.

The oracle of every call: an answer means that it ran once; ``not_executed`` that it never ran; ``unknown`` that it ran
at most once. ``unknown`` is allowed only if the hub can't know the outcome: that run of the instance is over, it can't
be asked before the call's deadline, or its ledger had to forget. A call runs nowhere else, it is answered in time, and
nothing leaks.
"""

import math
from collections import Counter
from collections.abc import Iterator
from typing import Any, Final

import msgspec

from brummer.testing.simulated_loop import START_S
from brummer.testing.simulation.clients import Asked, SimulatedClient
from brummer.testing.simulation.parts import HubRun, Ran, SimulatedInstance
from brummer.testing.simulation.schedule import Schedule
from brummer.testing.simulation.status import lasting
from brummer.testing.simulation.world import World

LATE_S: Final = 4.0
"""Time beyond the deadline: the grace of a deadline that fires late, and the transfer."""


LATE_BEGIN_S: Final = 1.0
"""Time for an answer, or a cancellation, that is under way on a slow connection."""

FOREIGN: Final = "docs"

NOT_COUNTED: Final = frozenset({"not_found", "no_instances", "ambiguous_instance", "no_thread", "busy", "internal"})
"""Errors that may come from the hub itself: such a call never reached a link."""


def judge(schedule: Schedule) -> list[str]:
    """Called after `Schedule.play`, while all programs still run."""
    world = schedule.world
    found = [f"not ready in time: {name}" for name in schedule.not_ready]
    found += schedule.wrong_status[:1]
    found += schedule.held
    found += [f"the loop: {failure}" for failure in world.loop.failures if "Defect(" not in failure]
    for stranger in world.strangers:
        found += [f"{stranger.name} got a call: {body[:60]!r}" for body in stranger.calls]
    for client in world.clients:
        for asked in client.asked:
            found += [
                f"call {asked.number} ({asked.tool} to {asked.target}, {client.name}): {what}"
                for what in _of_call(world, client, asked)
            ]
        found += list(_of_hubs(world, client))
        found += list(_of_the_gone(world, client))
    return found


# One call.


def _of_call(world: World, client: SimulatedClient, asked: Asked) -> Iterator[str]:
    runs = world.work.runs.get(asked.number, [])
    if elsewhere := [ran.where for ran in runs if ran.where != asked.target]:
        yield f"ran in {elsewhere}"
    if asked.mutating and len(runs) > 1:
        yield f"ran {len(runs)} times"
    if not asked.is_over:
        yield "was never answered"
        return
    if asked.lost or asked.cancelled:
        return
    yield from _of_time(world, client, asked, runs)
    if asked.changes and (
        late := [ran.started_s - asked.answered_s for ran in runs if ran.started_s > asked.answered_s + LATE_BEGIN_S]
    ):
        yield f"began {max(late):.1f} s after it was answered"
    if asked.answer is None:
        yield "ended without an answer"
    else:
        yield from _of_answer(world, asked, asked.answer, runs)


def _of_time(world: World, client: SimulatedClient, asked: Asked, runs: list[Ran]) -> Iterator[str]:
    """Progress that reaches the hub starts the deadline anew."""
    heard_s = max((ran.progress_s for ran in runs if asked.progress), default=0.0)
    took_s = asked.answered_s - max(asked.sent_s, heard_s)
    refused = [
        (asked.hub.name, fault.began_s, fault.ended_s or asked.answered_s)
        for fault in world.faults
        if fault.target == asked.hub.process.name and " for " in fault.kind  # its front may accept no connection
    ]
    unread = ((asked.hub.name, *pause) for pause in client.not_reading)
    away_s = sum(
        max(0.0, min(end, asked.answered_s) - max(begin, asked.sent_s))
        for who, begin, end in [*world.not_run, *refused, *unread, *world.stalled]
        if who in ("all", asked.hub.name, client.process.name)
    )
    if took_s > asked.deadline_s + LATE_S + 2 * away_s:
        yield f"took {took_s:.1f} s, and its deadline is {asked.deadline_s:g} s"


def _of_answer(world: World, asked: Asked, answer: dict[str, Any], runs: list[Ran]) -> Iterator[str]:
    content = answer.get("structuredContent")
    if not isinstance(content, dict):
        if "status" in answer or "protocol_error" in answer:
            yield from _of_refusal(answer, runs)
        else:
            yield f"an answer of no known shape: {str(answer)[:200]}"
        return
    error = content.get("error")
    if error is None:
        if (content.get("by"), content.get("number")) != (asked.target, asked.number):
            yield f"got the answer of another: by {content.get('by')}, {content.get('number')}"
        if not runs:
            yield "was answered and never ran"
        return
    yield from _of_error(world, asked, error, runs)


def _of_refusal(answer: dict[str, Any], runs: list[Ran]) -> Iterator[str]:
    """A JSON-RPC error: only a call that never began may end with it."""
    if runs:
        yield f"was refused though it ran: {answer}"


def _of_error(world: World, asked: Asked, error: dict[str, Any], runs: list[Ran]) -> Iterator[str]:
    code, outcome = error["code"], error["outcome"]
    if code == "internal":
        yield f"internal: {error['message']}"
    if outcome == "not_executed":
        if runs:
            yield f"{code} says that it never ran, and it ran {len(runs)} times"
        return
    if outcome != "unknown":
        yield f"an outcome of no known kind: {outcome}"
    if error["retryable"]:
        yield f"{code} says unknown and retryable"
    if asked.target == FOREIGN or not asked.mutating:
        return
    program = world.target(asked.target)
    assert isinstance(program, SimulatedInstance)  # noqa: S101 — all others are foreign
    if not _may_be_unknown(world, asked, code, program):
        yield f"{code} says unknown, and its run lives, can be asked and has forgotten nothing"


def _may_be_unknown(world: World, asked: Asked, code: str, program: SimulatedInstance) -> bool:
    away = [(begin, end) for who, begin, end in world.not_run if who in ("all", asked.hub.name)]
    # A hub that was not run when the call came has learned of no end since.
    knew_s = min([begin for begin, end in away if begin <= asked.sent_s <= end], default=asked.sent_s)
    if any(knew_s - 1 <= ended_s <= asked.answered_s + 1 for _, ended_s in program.ended):
        return True
    if code == "call_forgotten":
        return bool(program.forgot)
    away_s = sum(max(0.0, min(end, asked.answered_s) - max(begin, asked.sent_s)) for begin, end in away)
    return asked.answered_s - asked.sent_s >= asked.deadline_s - 1 - away_s


def _of_the_gone(world: World, client: SimulatedClient) -> Iterator[str]:
    """No hub takes a run for gone that has neither withdrawn nor died by then."""
    left_s = {(each.id, generation): when for each in world.instances for generation, when in each.left_s.items()}
    for run in client.runs:
        for instance_id, generation, when in run.gone:
            if when < left_s.get((instance_id, generation), math.inf):
                yield f"{run.name} took {generation} for gone {when - START_S:.3f} s after the start, and it lived"


# Leaks.


def _of_hubs(world: World, client: SimulatedClient) -> Iterator[str]:
    for run in client.runs:
        if run.result is not None:
            yield f"{run.name} ended by {run.result}"
        if repeated := [key for key, times in run.keys.items() if times > 1]:
            yield f"{run.name} counted {len(repeated)} calls more than once"
        if not run.process.is_dead:
            yield from _of_counts(run, client.asked)
    if client.hub is not None and client.hub.hub is not None:
        yield from _of_status(client.hub, msgspec.to_builtins(client.hub.hub.status()))
        if problems := lasting(world, client.hub):
            yield f"{client.hub.name} tells of {problems} in peace"


def _of_counts(run: HubRun, asked: list[Asked]) -> Iterator[str]:
    """Each call is counted once, under the instance's tool; a call with an unknown end may be counted."""
    least: Counter[tuple[str, str]] = Counter()
    most: Counter[tuple[str, str]] = Counter()
    for call in asked:
        kind = call.inner_tool, call.target
        is_its_own = call.hub is run
        most[kind] += is_its_own or call.answered_s >= run.started_s  # over HTTP the next run may get it
        least[kind] += is_its_own and _is_counted(call)
    for kind in most:
        if not least[kind] <= run.counted[kind] <= most[kind]:
            yield f"{run.name} counted {run.counted[kind]} of {kind}, and there were {least[kind]} to {most[kind]}"


def _is_counted(call: Asked) -> bool:
    if call.lost or call.cancelled or call.answer is None:
        return False
    content = call.answer.get("structuredContent")
    if not isinstance(content, dict):
        return False
    error = content.get("error")
    if error is not None and call.target == FOREIGN:  # it may have been the question which tools there are
        return False
    return error is None or error["code"] not in NOT_COUNTED


def _of_status(run: HubRun, status: dict[str, Any]) -> Iterator[str]:
    in_use = status["limits"]["in_use"]
    for what in ("in_flight", "parked"):
        if in_use[what]:
            yield f"{run.name}: {in_use[what]} {what} with no call"
    for link in status["links"]:
        for what in ("in_flight", "parked"):
            if link[what]:
                yield f"{run.name}: link to {link['instance_id']} has {link[what]} {what} with no call"


async def judge_end(world: World) -> list[str]:
    """Called after all programs were asked to end: nothing may be left."""
    found = []
    for client in world.clients:
        run = client.hub
        if run is None:
            continue
        if not run.is_over:
            found.append(f"{run.name} has not ended")
        found += [f"{run.name} left {what}" for what in run.process.left_behind()]
    for instance in world.instances:
        found += instance.left
        if instance.process is not None:
            found.append(f"{instance.id} has not ended")
    return found
