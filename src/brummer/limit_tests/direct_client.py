"""Calls on an instance without a hub, with call keys of the test's choice."""

import contextlib
from collections.abc import AsyncIterator
from typing import Any, Final

from brummer.core.errors import BrummerError
from brummer.instance.service import Instance
from brummer.limit_tests.answers import LimitAnswer, of_result
from brummer.link.call import Call
from brummer.link.errors import NotBegun
from brummer.peers.instance_client import InstanceClient

FORGOTTEN: Final = "call_forgotten"
ANSWER_BYTES: Final = 1 << 31
"""More than any answer that a test asks for."""


class DirectClient:
    """Made by `connected`."""

    def __init__(self, client: InstanceClient) -> None:
        self._client = client

    @classmethod
    @contextlib.asynccontextmanager
    async def connected(cls, instance: Instance) -> "AsyncIterator[DirectClient]":
        """A client until the block ends."""
        client = InstanceClient(instance.record, ANSWER_BYTES)
        try:
            yield cls(client)
        finally:
            client.close()

    async def call(self, tool: str, /, *, key: str = "", again: bool = False, **arguments: Any) -> LimitAnswer:
        """``again``: a repeated request for a call that was first sent before the ledger opened any call."""
        call = Call("tools/call", {"name": tool, "arguments": arguments}, repeatable=False, deadline_s=0.0, key=key)
        if again:
            call.note_unanswered(self._client.target.generation)
        else:
            await self._client.prove()  # the answer holds the position of the ledger
        try:
            return of_result(await self._client.call(call))
        except NotBegun as refusal:
            return LimitAnswer(FORGOTTEN if refusal.data.why == "forgotten" else refusal.code)
        except BrummerError as error:
            return LimitAnswer(error.code)
