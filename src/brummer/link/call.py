"""One call: its request, what is known of the request, and how its answer is distinguished from other messages."""

import asyncio
import contextlib
import math
from collections.abc import Callable, Hashable, Mapping
from typing import Any

import msgspec

from brummer.core.errors import BadAnswer, BrummerError, ConnectionClosed, TooLarge, shown
from brummer.link.errors import NoResult, NotBegun, RemoteRefusal
from brummer.wire.http import status_codes
from brummer.wire.http.connection import Response
from brummer.wire.mcp import jsonrpc
from brummer.wire.mcp.not_begun import NotBegunData
from brummer.wire.mcp.server import BEGIN_BY, CALL_KEY, LEDGER_POSITION

PASSED_ON = frozenset({"notifications/progress", "notifications/message"})
"""Notifications that are passed on to the agent. All other messages of a server are for the hub."""


_encode = msgspec.json.Encoder().encode


class OwnMeta(msgspec.Struct, gc=False, omit_defaults=True):
    """The members of ``_meta`` that a hub sends to its instances, in one object that is encoded fast."""

    call_key: str = msgspec.field(name=CALL_KEY, default="")
    ledger_position: int | None = msgspec.field(name=LEDGER_POSITION, default=None)
    begin_by_s: float | None = msgspec.field(name=BEGIN_BY, default=None)


class Call(msgspec.Struct, eq=False):
    """One request on its way to an instance. ``on_notification`` gets progress and the like, verbatim.

    ``params`` go without ``_meta``, whose members are ``meta``. ``repeatable``: run twice, it does what it does once.
    ``waits``: it waits for an event and may be silent for long, so it has a lane of its own. ``flow``: queues serve
    flows in turn. ``deadline_s``: how long it may be silent.
    """

    method: str
    params: dict[str, Any]
    repeatable: bool
    deadline_s: float
    wait_s: float = 0.0
    """How long its arguments let it wait for news; 0 for a call of `wait_for`, whose deadline has that time."""
    meta: dict[str, object] = msgspec.field(default_factory=dict)
    only_reads: bool = False
    """It changes nothing, so its instance need not decide whether it may begin."""
    waits: bool = False
    longest_park_s: float = math.inf
    """How long it waits for its link at most before it was sent."""
    waits_for_return: bool = True
    """False: while the instance is proven gone, it fails at once, because a substitute may answer."""
    flow: Hashable = None
    on_notification: Callable[[bytes], None] | None = None
    on_list_changed: Callable[[], None] | None = None
    """Called when the server says that its tools have changed. Agents are not notified, because the hub's own list is
    frozen.
    """
    max_deadline_s: float = 3600.0
    """The longest deadline that signs of life can give. An agent's own client gives up long before, but a loop that
    reports progress never ends.
    """
    key: str = ""
    started_s: float = 0.0
    due_s: float = math.inf
    """When it must have its answer, in loop time; each sign of life extends it, up to ``latest_s``."""
    latest_s: float = math.inf
    unanswered: int = 0
    """Requests for it that were sent at least in part and not answered: each may have run it, or still run it."""
    sent_to: str | None = None
    """The generation that got the last of these requests."""
    ledger_position: int = 0
    """The position of that generation's ledger that was known when the first of these requests was sent."""
    request_id: bytes = b""
    """Under which it was last sent, where that names it: to a server that knows no keys."""
    refused_s: float = 0.0
    """How long it has waited for a server that refused it and set a time to come back."""
    was_parked: bool = False
    patient_deadline_s: float | None = None
    """Its deadline after a substitute for its instance had no answer either; the first one is shorter."""
    trace: dict[str, str] = msgspec.field(default_factory=dict)
    """The agent's W3C trace context, as in ``_meta``; it is passed on."""
    on_step: Callable[[str], object] | None = None
    """Called for each event: ``parked``, ``released``, ``connection_lost``; for a trace."""

    @property
    def tool(self) -> str:
        """The tool's name, of another method the method's."""
        name: str = self.params.get("name", self.method)
        return name

    def add_event(self, step: str) -> None:
        if self.on_step is not None:
            self.on_step(step)

    def begin(self, now_s: float) -> None:
        """Start its deadline."""
        self.started_s = self.started_s or now_s
        self.due_s = now_s + self.deadline_s
        self.latest_s = now_s + max(self.deadline_s, self.max_deadline_s)

    def wait_for_news(self, seconds: float) -> None:
        """It may be silent for so long beside its deadline, and then it is a wait."""
        self.wait_s, self.waits = seconds, seconds > 0.0
        self.deadline_s += seconds

    def hurry(self, deadline_s: float) -> None:
        """A substitute can answer if its instance does not: wait only so long (a call that was sent also for its
        ``wait_s``), and not at all for its return.
        """
        self.patient_deadline_s, self.deadline_s, self.waits_for_return = self.deadline_s, deadline_s, False
        if self.wait_s:
            self.deadline_s, self.longest_park_s = deadline_s + self.wait_s, deadline_s

    def take_time(self) -> None:
        """No substitute can answer. A call that waits for news has had the time of its ``wait_s`` by now."""
        if self.patient_deadline_s:
            self.deadline_s = self.patient_deadline_s - self.wait_s
        self.waits_for_return, self.longest_park_s = True, math.inf

    @property
    def was_sent(self) -> bool:
        """It may have run."""
        return self.unanswered > 0

    @property
    def must_not_be_resent(self) -> bool:
        """Running it now could run it twice, so only the instance's ledger may decide."""
        return self.was_sent and not self.repeatable

    def note_unanswered(self, generation: str) -> None:
        """Bytes of a request for it went to this run, and that request will get no answer."""
        self.unanswered += 1
        self.sent_to = generation

    def message(self, request_id: bytes, meta: "OwnMeta | dict[str, object]") -> bytes:
        """The JSON-RPC request that asks for it, for the first time or again. ``meta``: the whole of ``_meta``."""
        return jsonrpc.request(request_id, self.method, _encode({**self.params, "_meta": meta}))

    def meta_with(self, further: Mapping[str, object]) -> dict[str, object]:
        """The whole of ``_meta`` with these members, as a dict: what is needed where it has more than `OwnMeta`."""
        key = {CALL_KEY: self.key} if self.key else {}
        return {**self.meta, **self.trace, **further, **key}

    def extend_deadline(self) -> None:
        """Restart the silence: after a sign of life, or a wait in which the server was not asked."""
        self.due_s = min(self.latest_s, asyncio.get_running_loop().time() + self.deadline_s)

    def notified(self, method: str | None, notification: bytes) -> None:
        """A notification came before its answer."""
        self.extend_deadline()
        if method == "notifications/tools/list_changed":
            if self.on_list_changed is not None:
                self.on_list_changed()
        elif self.on_notification is not None and method in PASSED_ON:
            self.on_notification(notification)

    def cancellation(self) -> bytes:
        """The JSON-RPC notification that stops its work, by its key."""
        return jsonrpc.notification("notifications/cancelled", {"requestId": 0, "_meta": {CALL_KEY: self.key}})


class Answers(msgspec.Struct, eq=False):
    """Sorts the messages for one request: notifications go to the requester, the response to the call.

    ``ours``: from an instance of Brummer, whose tools report no failure of their own as a JSON-RPC error.
    """

    request_id: bytes
    call: Call | None = None
    ours: bool = True
    response: bytes = b""
    """The event of a stream that was the response."""

    def on_event(self, event: bytes) -> bool:
        """Whether that was the response. Requests of a server are ignored: the hub declares no capabilities."""
        try:
            message = jsonrpc.decode(event)
        except jsonrpc.ProtocolError:  # had it been the response, the stream ends without one
            return False
        if message.is_notification:
            if self.call is not None and not self.response:
                self.call.notified(message.method, event)
        elif message.method is None and bytes(message.id) == self.request_id:
            self.response = self.response or event
            return True
        return False

    def result(self, response: Response) -> bytes:
        """The result object. Raises `RemoteRefusal` for a JSON-RPC error, `NoResult` for what is neither, and
        `BadAnswer` for the answer to another request: ours may be still to come.
        """
        if response.status == status_codes.TOO_LARGE:
            raise TooLarge("the instance takes no request of this size", sent=False)
        body = self.response or response.body
        try:
            message = jsonrpc.decode_reply(body)
        except jsonrpc.ProtocolError as error:
            if not response.is_framed:
                raise ConnectionClosed("the peer closed the connection during its answer", sent=True) from None
            raise _no_result(response, error.message) from None
        is_ours = bytes(message.id) == self.request_id
        if message.error and (
            is_ours or response.status != status_codes.OK or bytes(message.id) in (jsonrpc.NO_ID, b"")
        ):
            # Also without our id: some servers have forgotten it by then, or never read it.
            raise _refusal(bytes(message.error), response.status, ours=self.ours, matched=is_ours)
        if not is_ours and message.id:
            raise BadAnswer("the answer belongs to another request", sent=True)
        if not message.result:
            raise _no_result(response, "neither a result nor an error")
        return bytes(message.result)


def _no_result(response: Response, why: str) -> NoResult:
    return NoResult(f"HTTP {response.status}: {why}", sent=True, status=response.status)


def _refusal(error: bytes, status: int, *, ours: bool, matched: bool) -> BrummerError:
    """``outcome`` is unknown unless the call was refused before it could begin.

    If the request's id is ``matched``, a foreign server (not ``ours``) may have run the tool: the official TypeScript
    SDK reports an invalid result of a tool as invalid params.
    """
    try:
        details = msgspec.json.decode(error)
    except (msgspec.MsgspecError, RecursionError):
        return NoResult(f"HTTP {status}: an error that can't be read", sent=True, status=status)
    if not isinstance(details, dict):  # JSON-RPC requires an object; some servers send something else
        details = {"message": shown(str(details))}
    code = details.get("code")
    if ours and code == jsonrpc.NOT_BEGUN:
        with contextlib.suppress(msgspec.ValidationError):
            return NotBegun(msgspec.convert(details.get("data"), NotBegunData))
    rpc_code = code if isinstance(code, int) else None
    may_be_the_tools = matched and not ours and status not in status_codes.REFUSALS
    never_begun = jsonrpc.NO_TOOLS if may_be_the_tools else jsonrpc.NEVER_BEGUN
    began = rpc_code not in never_begun if rpc_code is not None else status not in status_codes.REFUSALS
    message = str(details.get("message", "refused"))
    return RemoteRefusal(message, outcome="unknown" if began else "not_executed", rpc_code=rpc_code)
