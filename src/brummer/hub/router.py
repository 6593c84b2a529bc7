"""From a tool call to its answer: which instance, what to send, how long to wait."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from typing import Any, Final

import msgspec
from msgspec import Raw

from brummer.contract.arguments import NoArguments, WaitFor
from brummer.contract.tools import (
    BY_NAME,
    DEFAULT_WAIT_S,
    INSTANCE_TOOLS,
    LONGEST_WAIT_S,
    READ_ONLY,
    REPEATABLE,
    TOOLS,
    WAITING,
    renderer,
)
from brummer.core.errors import BrummerError, InvalidArguments, NotFound
from brummer.discovery.record import Record
from brummer.foreign.results import repeatable_of, tool_result
from brummer.hub.black_box import ANSWERED, BlackBoxes
from brummer.hub.fan_out import GRACE_S, FanOut
from brummer.hub.sessions import Sessions
from brummer.link import express
from brummer.link.call import Call
from brummer.link.caller import Caller
from brummer.link.errors import NoResult, RemoteRefusal
from brummer.link.outcome import is_unanswered
from brummer.peers.instance_entry import InstanceEntry
from brummer.peers.instances import Instances
from brummer.settings.servers import Server
from brummer.wire.mcp.eras import Era
from brummer.wire.mcp.server import RunningCall, Session, ToolCall
from brummer.wire.mcp.tool_arguments import NOT_GIVEN, ArgumentDecoder
from brummer.wire.mcp.tools import Tool, ToolTable, failed, structured

ANSWER_S: Final = 30.0
"""What a call that waits for nothing may take in the instance: a stop takes 10 s at worst, the rest milliseconds."""

UNTIL_BLACK_BOX_S: Final = 5.0
"""What an instance that is not known to be gone may take before its black box is asked: over any hiccup of a live one,
and far less than an agent gives up after. Without a black box it has all the time that it has else.
"""

EVERYWHERE: Final = "*"

_EXPRESS: Final = frozenset(tool.name for tool in INSTANCE_TOOLS)
_decode_arguments = msgspec.json.Decoder(dict[str, Raw]).decode


class _InstanceCall(msgspec.Struct, forbid_unknown_fields=True):
    tool: str
    arguments: Raw = Raw(b"{}")
    """An object, or a text that holds one: some models write arguments like that."""


_inner_calls: Final = ArgumentDecoder("instance_call", _InstanceCall, ("instance",))
_listings: Final = ArgumentDecoder("instance_tools", NoArguments, ("instance",))
_waits: Final = ArgumentDecoder("wait_for", WaitFor, ("instance",))


class NotAnInstance(BrummerError):
    """A tool of Brummer's instances was called on a server that is none."""

    code = "not_an_instance"


class Router:
    """The `ToolServer` of the hub: ``local`` tools are answered here, all others through a link.

    The list is the contract's, in its order, and then the local tools that the contract does not know.
    """

    def __init__(
        self,
        instances: Instances,
        sessions: Sessions,
        local: Sequence[Tool],
        black_boxes: BlackBoxes | None = None,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._instances = instances
        self._resolver = instances.resolver
        self._memory = instances.memory
        self._black_boxes = black_boxes
        self._sessions = sessions
        self._local = ToolTable(local)
        further = [tool.definition for tool in local if tool.name not in BY_NAME]
        self.tools_json = msgspec.json.encode([*(tool.as_hub_tool() for tool in TOOLS), *further])

    def has_tool(self, name: str) -> bool:
        return name in BY_NAME or name in self._local

    def cancel_call(self, key: str) -> bool:  # noqa: ARG002
        """Calls of the hub's clients carry no keys."""
        return False

    def start_call(self, call: ToolCall, done: Callable[[bytes], None]) -> bytes | RunningCall | None:
        """A `brummer.wire.mcp.server.StartCall`: for calls whose instance is known without an await."""
        if call.name not in _EXPRESS:
            return None
        try:
            named, arguments = _instance_in(call)
            name, roots = self._place_of(call, named)
            is_open = name is None and self._needs_roots(call.request.session) is not None
            entry = None if is_open else self._resolver.now(name, roots)
            if entry is None or not isinstance(entry.caller, Caller):
                return None
            self._memory.admit(self._loop.time(), len(arguments))
            made = _tool_call(call.name, arguments, call)
            if self._black_boxes is None or call.name not in ANSWERED:
                return express.send(entry.caller, made, done)
            _hurry(made)
            return express.send(entry.caller, made, done, partial(self._instead, entry, made, call, arguments))
        except InvalidArguments:
            return None
        except BrummerError as error:
            return failed(error)

    def _instead(
        self, entry: InstanceEntry, made: Call, call: ToolCall, arguments: bytes, error: BrummerError
    ) -> Coroutine[Any, Any, bytes] | None:
        return self._from_black_box(entry, made, error, call, arguments) if is_unanswered(error) else None

    async def call_tool(self, call: ToolCall) -> bytes:
        if call.name in self._local:
            return await self._local.call(call.name, call.arguments, call)
        try:
            self._memory.admit(self._loop.time(), len(call.arguments))
            return await self._routed(call)
        except BrummerError as error:
            return failed(error)

    async def _routed(self, call: ToolCall) -> bytes:
        name, arguments = _instance_in(call)
        await self._instances.looked_at()
        if name == EVERYWHERE and call.name == "wait_for":
            return await self._wait_everywhere(call, arguments)
        name, roots = self._place_of(call, name)
        if name is None and (session := self._needs_roots(call.session)) and session.find_roots:
            await session.find_roots()
            roots = session.roots
        try:
            entry = await (self._resolver.default(roots) if name is None else self._resolver.named(name))
        except NotFound:
            if name is not None and (answer := await self._left_by(name, call.name, arguments)) is not None:
                return answer
            raise
        return await self._in_instance(entry, call, arguments)

    async def _left_by(self, name: str, tool: str, arguments: bytes) -> bytes | None:
        """What the black box of an instance says that nobody remembers; None without one."""
        if self._black_boxes is None or tool not in ANSWERED:
            return None
        if (instance_id := await self._black_boxes.named(name)) is None:
            return None
        why = {"instance_id": instance_id, "state": "gone"}
        return await self._black_boxes.answer(instance_id, tool, arguments, None, why)

    def _place_of(self, call: ToolCall, named: str | None) -> tuple[str | None, tuple[str, ...]]:
        """Which instance the call names, or else its client has chosen; and where its client works.

        What was chosen is meant even when nobody remembers it any more: it must not silently become another.
        """
        session = call.request.session
        if session is None:
            return named, ()
        return self._sessions.chosen(session.id) if named is None else named, session.roots

    def _needs_roots(self, session: Session | None) -> Session | None:
        """The session, if its client must be asked for its roots before a call without an instance can be routed."""
        if session is None or session.find_roots is None or not self._resolver.needs_roots():
            return None
        return session

    async def _in_instance(self, entry: InstanceEntry, call: ToolCall, arguments: bytes) -> bytes:
        if call.name == "instance_tools":
            _listings.decode(arguments)
            return structured(msgspec.Raw(await entry.caller.call(_list_tools(entry))))
        tool, passed_on = call.name, arguments
        if call.name == "instance_call":
            tool, passed_on = _inner_call(passed_on)
        elif isinstance(entry.record, Server):
            raise NotAnInstance(
                f"{entry.id} is a server of its own kind and has no {tool}; see instance_tools, and use instance_call",
                instance=entry.id,
            )
        made = _tool_call(tool, passed_on, call)
        if isinstance(entry.record, Server):
            made.repeatable = tool in await self._repeatable(entry)
            made.on_list_changed = entry.forget_hints
            made.deadline_s, made.max_deadline_s = entry.record.timeout_s, entry.record.max_timeout_s
            return tool_result(await entry.caller.call(made), modern=call.request.era is Era.MODERN)
        if self._black_boxes is not None and tool in ANSWERED:
            _hurry(made)
            try:
                return await entry.caller.call(made)
            except BrummerError as error:
                if not is_unanswered(error):
                    raise
                return await self._from_black_box(entry, made, error, call, passed_on)
        return await entry.caller.call(made)

    async def _from_black_box(
        self, entry: InstanceEntry, made: Call, error: BrummerError, call: ToolCall, arguments: bytes
    ) -> bytes:
        """Answer in place of an instance that did not answer soon; without a black box, ask it again, for longer.

        So one call of the agent ends once: with the error of the first attempt, or with the end of the second.
        """
        goes_on = False
        try:
            if self._black_boxes is not None and isinstance(entry.record, Record):
                running = None if entry.is_gone else entry.record.generation
                answer = await self._black_boxes.answer(entry.id, made.tool, arguments, running, entry.summary())
                if answer is not None:
                    return answer
            goes_on = True
        finally:
            if not goes_on and isinstance(entry.caller, Caller):
                entry.caller.tell_error(made, error)
        patient = _tool_call(made.tool, arguments, call)
        patient.started_s = made.started_s
        patient.unanswered, patient.sent_to = made.unanswered, made.sent_to  # of both attempts
        return await entry.caller.call(patient)

    async def _repeatable(self, entry: InstanceEntry) -> frozenset[str]:
        """What a foreign server's own hints allow to be sent twice; asked for once while its link holds, and nothing if
        it does not say.

        Raises what that comes to where nobody answers: to wait for him again would be of no use.
        """
        if not entry.has_hinted:
            try:
                entry.take_hints(repeatable_of(await entry.caller.call(_list_tools(entry))))
            except (RemoteRefusal, NoResult):
                return frozenset()
        return entry.repeatable

    async def _wait_everywhere(self, call: ToolCall, arguments: bytes) -> bytes:
        """The first instance where the condition comes true; the others stop waiting."""
        timeout_s = _waits.decode(arguments).timeout_s
        given = {name: value for name, value in _object(call.name, arguments).items() if bytes(value) not in NOT_GIVEN}

        async def ask(entry: InstanceEntry, wait_s: float, since: str | None) -> dict[str, Any]:
            asked = {**given, "timeout_s": wait_s, **({} if since is None else {"since": since})}
            made = _tool_call(call.name, msgspec.json.encode(asked), call)
            made.deadline_s, made.meta, made.on_notification = wait_s + GRACE_S, {}, None
            try:
                result = msgspec.json.decode(await entry.caller.call(made))
            except BrummerError as error:
                return {"error": {"code": error.code, "message": error.message}}
            content: dict[str, Any] = result.get("structuredContent", {})
            return content

        everyone = await self._resolver.everyone()
        fan_out = FanOut(everyone, self._instances.gate.budget.for_waits, timeout_s, ask)
        answer = await fan_out.result()
        wrong = [each["why"] for each in answer["incomplete"] if each["why"]["code"] == InvalidArguments.code]
        if len(wrong) + answer.get("not_named", 0) == len(everyone):
            raise InvalidArguments(wrong[0]["message"], tool=call.name)
        return structured(answer, renderer(call.name))


def _instance_in(call: ToolCall) -> tuple[str | None, bytes]:
    """The instance that the arguments name, and the arguments without it. Raises `InvalidArguments`."""
    # With escapes it can be written otherwise. `find`, because `in` takes 0.5 µs to raise and clear an error inside.
    given = call.arguments
    if given == b"{}" or (given.find(b'"instance"') < 0 and given.find(b"\\") < 0):
        return None, given
    arguments = _object(call.name, given)
    name = _string(call.name, "instance", arguments.pop("instance", None))
    return name, msgspec.json.encode(arguments)


def _object(tool: str, arguments: bytes) -> dict[str, Raw]:
    try:
        return _decode_arguments(arguments)
    except (msgspec.DecodeError, RecursionError) as error:
        raise InvalidArguments(f"{tool}: {error}", tool=tool) from None


def _string(tool: str, name: str, raw: Raw | None) -> str | None:
    if raw is None or bytes(raw) in NOT_GIVEN:
        return None
    try:
        return msgspec.json.decode(raw, type=str)
    except msgspec.DecodeError:
        raise InvalidArguments(f"{tool}: `{name}` must be a string", tool=tool, argument=name) from None


def _inner_call(arguments: bytes) -> tuple[str, bytes]:
    """The tool's name, and its own arguments. Raises `InvalidArguments`."""
    inner = _inner_calls.decode(arguments)
    given = _own_arguments(inner.tool, bytes(inner.arguments))
    if given.startswith(b'"'):
        given = msgspec.json.decode(given, type=str).strip().encode()
        _object("instance_call", given)
    if given == b"[]":  # of clients in PHP
        given = b"{}"
    if not given.lstrip().startswith(b"{"):
        raise InvalidArguments(
            "instance_call: `arguments` must be an object", tool="instance_call", argument="arguments"
        )
    return inner.tool, given


def _own_arguments(tool: str, given: bytes) -> bytes:
    """The tool's arguments, also if a client repeats the whole call in their place.

    Semantic Kernel does that: it gives a parameter named `arguments` all arguments of its call.
    """
    if b'"tool"' not in given or not given.lstrip().startswith(b"{"):
        return given
    members = _object("instance_call", given)
    repeats = len(members) > 1 and members.keys() <= {"instance", "tool", "arguments"}
    if not repeats or bytes(members.get("tool", b"")) != msgspec.json.encode(tool):
        return given
    return bytes(members.get("arguments", b"{}"))


def _list_tools(entry: InstanceEntry) -> Call:
    patience_s = entry.record.timeout_s if isinstance(entry.record, Server) else ANSWER_S
    return Call("tools/list", {}, repeatable=True, only_reads=True, deadline_s=patience_s)


def _tool_call(tool: str, arguments: bytes, call: ToolCall) -> Call:
    request = call.request
    meta, session = request.params.meta, request.session
    token = meta.progress_token
    on_notification: Callable[[bytes], None] | None = request.notify if token else None
    return Call(
        "tools/call",
        {"name": tool, "arguments": Raw(arguments)},
        repeatable=tool in REPEATABLE,
        only_reads=tool in READ_ONLY,
        deadline_s=ANSWER_S + (_wait_s(arguments) if tool in WAITING else 0.0),
        waits=tool in WAITING,
        flow=session.id if session else None,
        meta={"progressToken": token} if token else {},
        on_notification=on_notification,
        trace=meta.trace() if meta.traceparent else {},
    )


def _hurry(made: Call) -> None:
    """Have it give up soon, since a black box can answer."""
    made.waits_for_return, made.deadline_s, made.has_substitute = False, UNTIL_BLACK_BOX_S, True


class _Wait(msgspec.Struct):
    timeout_s: float | None = None


def _wait_s(arguments: bytes) -> float:
    """How long the tool itself may wait; nonsense is left for the instance to refuse."""
    if b"timeout_s" not in arguments:
        return DEFAULT_WAIT_S
    try:
        timeout_s = msgspec.json.decode(arguments, type=_Wait, strict=False).timeout_s
        return DEFAULT_WAIT_S if timeout_s is None else max(0.0, min(LONGEST_WAIT_S, timeout_s))
    except (msgspec.DecodeError, RecursionError):
        return DEFAULT_WAIT_S
