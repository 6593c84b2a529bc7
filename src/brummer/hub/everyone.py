"""Asks all instances the same at once. One that is stopped or slow delays the answer by two seconds at the most, and is
named in it.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec
from msgspec import Raw

from brummer.core.errors import BrummerError
from brummer.hub.fan_out import NOT_ANSWERED
from brummer.link.call import Call
from brummer.peers.instance_entry import InstanceEntry

WITHIN_S: Final = 2.0
"""An instance answers within milliseconds; one on a machine with a load of 30 needs a second."""

AT_ONCE: Final = 32
"""Instances that are asked at a time: more would take the slots of ordinary calls."""

Answer = dict[str, Any]


def question(tool: str, arguments: dict[str, object]) -> Call:
    """A call that only reads."""
    encoded = Raw(msgspec.json.encode(arguments))
    params = {"name": tool, "arguments": encoded}
    return Call("tools/call", params, repeatable=True, only_reads=True, deadline_s=WITHIN_S)


async def answer_of(entry: InstanceEntry, call: Call) -> Answer:
    """The structured content of the instance's answer; its ``error`` if the call failed."""
    try:
        result = msgspec.json.decode(await entry.caller.call(call))
    except BrummerError as error:
        return {"error": {"code": error.code, "message": error.message}}
    content: Answer = result.get("structuredContent", {})
    return content


async def answers_of(
    entries: Sequence[InstanceEntry], tool: str, arguments_of: Callable[[InstanceEntry], dict[str, object]]
) -> dict[str, Answer]:
    """The answer of each, by id, as `answer_of` has it."""
    places = asyncio.Semaphore(AT_ONCE)
    answers: dict[str, Answer] = {entry.id: {"error": NOT_ANSWERED} for entry in entries}

    async def ask(entry: InstanceEntry) -> None:
        async with places:
            answers[entry.id] = await answer_of(entry, question(tool, arguments_of(entry)))

    asking = [asyncio.get_running_loop().create_task(ask(entry), name=f"{tool} of {entry.id}") for entry in entries]
    if not asking:
        return answers
    try:
        await asyncio.wait(asking, timeout=WITHIN_S)
    finally:
        for task in asking:
            task.cancel()
        ends = await asyncio.gather(*asking, return_exceptions=True)
    for end in ends:
        if isinstance(end, Exception):  # a defect; it must not look like a silent instance
            raise end
    return answers
