"""Calls of a command to an instance, without a hub: one connection, on which the run has proven its identity.

A call that loses its connection is repeated with its key. If it was sent and must not run twice, only the run that got
it is asked again, and its ledger returns the first result (`brummer.instance.ledger`). If that run has ended or has
forgotten the call, the call fails, and the error says that it may have run.
"""

import asyncio
import logging
import secrets
from collections.abc import Callable
from typing import Any, Final

import msgspec

from brummer.cli.messages import say
from brummer.contract.tools import READ_ONLY, REPEATABLE
from brummer.core.errors import BadAnswer, BrummerError, TransportError
from brummer.core.log import fields
from brummer.discovery.record import Record
from brummer.link.call import Call
from brummer.link.errors import NotBegun, OutcomeUnknown
from brummer.link.peer import OTHER_NETWORK
from brummer.peers.instance_client import InstanceClient

_log = logging.getLogger(__name__)

NOTICE_S: Final = 2.0
"""An instance proves its identity within milliseconds; after this the command says what it waits for."""
RETRY_S: Final = 0.1
"""Between two attempts to connect: an instance that starts or restarts needs less than a second."""
USE_THERE: Final = "run brum there (ip netns exec, docker exec)"
ATTEMPTS: Final = 3
"""So many lost connections in a row are a fault of the instance."""


class NothingRuns(BrummerError):
    """No instance of this project runs."""

    code = "nothing_runs"


class InstanceStopped(BrummerError):
    """The instance's process is stopped or frozen, so it can't answer."""

    code = "instance_stopped"


class Unanswered(BrummerError):
    """The instance runs, and does not answer in time."""

    code = "instance_unavailable"


class InstanceCalls:
    """``find`` returns the record of the living instance, or raises NothingRuns.

    ``return_s``: how long a call waits for the next run after it has lost its connection.
    """

    def __init__(
        self,
        find: Callable[[], Record],
        return_s: float = 0.0,
        client_of: Callable[[Record], InstanceClient] = InstanceClient,
    ) -> None:
        self._find = find
        self._client_of = client_of
        self._return_s = return_s
        self._client: InstanceClient | None = None

    async def result(self, tool: str, arguments: bytes, patience_s: float, wait_s: float) -> dict[str, Any]:
        """The result object. ``patience_s`` is for the connection and again for the answer, to which ``wait_s`` is
        added. Raises NothingRuns, InstanceStopped, Unanswered, OutcomeUnknown, TransportError, RemoteRefusal.
        """
        call = Call(
            "tools/call",
            {"name": tool, "arguments": msgspec.Raw(arguments)},
            repeatable=tool in REPEATABLE,
            only_reads=tool in READ_ONLY,
            deadline_s=patience_s + wait_s,
        )
        return_s, lost = 0.0, BrummerError("the instance was not asked")
        for _ in range(ATTEMPTS):
            client = await self._connected_for(call, patience_s, return_s)
            call.key = call.key or secrets.token_urlsafe(12)
            call.begin(asyncio.get_running_loop().time())
            try:
                async with asyncio.timeout(call.deadline_s):
                    result: dict[str, Any] = msgspec.json.decode(await client.call(call))
                _log_end(call, client, "")
                return result
            except TimeoutError:
                _refuse_stopped(client)
                why = f"{client.record.name} did not answer {tool} within {call.deadline_s:g} s"
                raise Unanswered(why) if call.repeatable else _may_have_run(call, why) from None
            except BadAnswer:
                raise
            except NotBegun as refusal:
                if call.must_not_be_resent and refusal.data.why == "forgotten":
                    raise _may_have_run(call, "its instance no longer keeps the result") from None
                lost = refusal
            except TransportError as error:
                client.close()
                _log_end(call, client, error.code)
                if error.sent:
                    call.note_unanswered(client.target.generation)
                lost = error
            return_s = self._return_s
        raise _may_have_run(call, lost.message) if call.must_not_be_resent else lost

    @property
    def last_generation(self) -> str | None:
        """The run that was last connected to."""
        return self._client.record.generation if self._client is not None else None

    def close(self) -> None:
        if self._client is not None:
            self._client.close()

    async def _connected_for(self, call: Call, patience_s: float, return_s: float) -> InstanceClient:
        """A client that may send this call, perhaps again."""
        try:
            client = await self._connected(patience_s, return_s)
        except (NothingRuns, Unanswered) as error:
            raise _may_have_run(call, error.message) if call.must_not_be_resent else error from None
        if call.must_not_be_resent and call.sent_to != client.target.generation:
            raise _may_have_run(call, "its instance has restarted")
        return client

    async def _connected(self, patience_s: float, return_s: float) -> InstanceClient:
        """A client whose run has proven its identity."""
        if self._client is not None and self._client.is_open:
            return self._client
        loop = asyncio.get_running_loop()
        return_until_s = loop.time() + return_s
        why = "it does not prove its identity"
        notice = loop.call_later(NOTICE_S, self._say_what_it_waits_for)
        try:
            async with asyncio.timeout(patience_s):
                while True:
                    try:
                        return await self._dialled()
                    except TransportError as error:
                        why = error.message
                        _log.info("%s", why, extra=fields(event="connection_failed", code=error.code))
                        self._refuse_other_network()
                    except NothingRuns:
                        if loop.time() >= return_until_s:
                            raise
                    await asyncio.sleep(RETRY_S)
        except TimeoutError:
            raise Unanswered(f"{self._find().name} does not answer: {why}") from None
        finally:
            notice.cancel()

    async def _dialled(self) -> InstanceClient:
        client = self._client = self._client_of(self._find())
        _refuse_stopped(client)
        await client.prove()
        return client

    def _refuse_other_network(self) -> None:
        """Raises Unanswered: waiting changes nothing."""
        client = self._client
        if client is not None and client.target.in_other_network:
            raise Unanswered(f"{client.record.name} can't be reached: {OTHER_NETWORK}; {USE_THERE}")

    def _say_what_it_waits_for(self) -> None:
        name = self._client.record.name if self._client else "the instance"
        say(f"{name} does not answer yet; waiting for it")


def _log_end(call: Call, client: InstanceClient, code: str) -> None:
    """``code``: of the error that ended the request; empty if it was answered."""
    took_ms = round((asyncio.get_running_loop().time() - call.started_s) * 1000, 3)
    event, link = "call_lost" if code else "call_ok", client.record.instance_id
    extra = fields(event=event, link=link, call=call.key, tool=call.tool, code=code, took_ms=took_ms)
    template = "%s: call %s of %s ended %s after %g ms"
    _log.log(
        logging.INFO if code else logging.DEBUG, template, link, call.key, call.tool, code or "ok", took_ms, extra=extra
    )


def _may_have_run(call: Call, why: str) -> OutcomeUnknown:
    return OutcomeUnknown(f"{why}; {call.tool} may have run: see brum ps")


def _refuse_stopped(client: InstanceClient) -> None:
    """Raises InstanceStopped."""
    condition, record = client.target.condition(), client.record
    if condition == "stopped":
        raise InstanceStopped(
            f"{record.name} is stopped and can't answer: kill -CONT {record.pid} continues it, brum down ends it"
        )
    if condition == "frozen":
        raise InstanceStopped(
            f"{record.name} is frozen by its control group and can't answer: thaw it (process {record.pid})"
        )
