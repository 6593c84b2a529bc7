"""Calls on an instance without a hub, with call keys of our own choice."""

import contextlib
from collections.abc import AsyncIterator
from typing import Any, Final

from brummer.core.errors import BrummerError
from brummer.instance.service import Instance
from brummer.limit_tests.answers import Answer, of_result
from brummer.link.call import Call
from brummer.link.errors import NotBegun
from brummer.link.target import Target
from brummer.peers.instance_entry import target_of
from brummer.wire.http.connection import HttpConnection

CONNECT_S: Final = 2.0
FORGOTTEN: Final = "call_forgotten"
ANSWER_BYTES: Final = 1 << 31
"""More than any that is asked for here."""


class Straight:
    """Made by `to`."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._connection: HttpConnection | None = None

    @classmethod
    @contextlib.asynccontextmanager
    async def to(cls, instance: Instance) -> "AsyncIterator[Straight]":
        """For as long as the block lasts."""
        straight = cls(target_of(instance.record))
        try:
            yield straight
        finally:
            if straight._connection is not None:
                straight._connection.close()

    async def call(self, tool: str, /, *, key: str = "", again: bool = False, **arguments: Any) -> Answer:
        """``again``: a repeated request for a call that was first sent before the ledger opened any call."""
        call = Call("tools/call", {"name": tool, "arguments": arguments}, repeatable=False, deadline_s=0.0, key=key)
        connection = await self._open()
        if again:
            call.note_unanswered(self._target.generation)
        else:
            await self._target.prove(connection)  # its answer has the ledger's position
        try:
            return of_result(await self._target.ask(connection, call))
        except NotBegun as refusal:
            return Answer(FORGOTTEN if refusal.data.why == "forgotten" else refusal.code)
        except BrummerError as error:
            return Answer(error.code)

    async def _open(self) -> HttpConnection:
        if self._connection is None or self._connection.closed:
            target = self._target
            self._connection = await HttpConnection.open(
                target.host, target.port, timeout_s=CONNECT_S, limit_bytes=ANSWER_BYTES, on_close=lambda _: None
            )
        return self._connection
