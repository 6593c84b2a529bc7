"""Limits on the size of one message: one just below passes, one just above is refused, and the connection stays."""

from collections import Counter
from typing import Final

from brummer.limit_tests.answers import OK
from brummer.limit_tests.direct_client import DirectClient
from brummer.limit_tests.finding import Measured
from brummer.limit_tests.held_calls import PRODUCE, TAKE
from brummer.limit_tests.world import LimitTestWorld

TOO_LARGE: Final = "too_large"
ENVELOPE_BYTES: Final = 1_000
"""More than a message has around its content."""


async def reply(world: LimitTestWorld, limit: int) -> Measured:
    """Of an instance to the hub."""
    async with world.linked(world.held_calls(), reply_bytes=limit) as (hub, [shop]):
        instance_id, fits = shop.record.instance_id, limit - ENVELOPE_BYTES
        passed = (await hub.call_in(instance_id, PRODUCE, size=fits)).code
        refused = (await hub.call_in(instance_id, PRODUCE, size=limit)).code
        again = (await hub.call_in(instance_id, PRODUCE, size=fits)).code
    return _measured(limit, fits if passed == OK else 0, [refused], recovered=again == OK)


async def request(world: LimitTestWorld, limit: int) -> Measured:
    """To the hub, and to an instance."""
    fits, too_much = "x" * (limit - ENVELOPE_BYTES), "x" * limit
    limits = {"request_bytes": limit}
    async with world.linked(world.held_calls(), instance_limits=limits, **limits) as (hub, [shop]):
        instance_id = shop.record.instance_id
        passed = (await hub.call_in(instance_id, TAKE, filling=fits)).code
        refused = (await hub.call_in(instance_id, TAKE, filling=too_much)).code
        async with DirectClient.connected(shop) as client:
            refused_there = (await client.call(TAKE, filling=too_much)).code
        again = (await hub.call_in(instance_id, TAKE, filling=fits)).code
    reached = len(fits) if passed == OK else 0
    return _measured(limit, reached, [refused, refused_there], recovered=again == OK)


def _measured(limit: int, reached: int, got: list[str], *, recovered: bool) -> Measured:
    return Measured(limit, reached, limit - ENVELOPE_BYTES, len(got), TOO_LARGE, Counter(got), recovered)
