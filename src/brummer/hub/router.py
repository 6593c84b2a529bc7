"""From a tool call to its answer: it finds the instance, and decides what to send and how long to wait."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, Final

import msgspec
from msgspec import Raw

from brummer.calls.call_run import Substitute
from brummer.calls.caller import Caller
from brummer.calls.outcomes import is_unanswered
from brummer.contract.tools import (
    AWAIT_NEWS,
    BY_NAME,
    CALL_ANSWER_S,
    CHANGING,
    DEFAULT_WAIT_S,
    INSTANCE_TOOLS,
    LONGEST_WAIT_S,
    NEWS_WAIT_S,
    READ_ONLY,
    REPEATABLE,
    ROUTED_TOOLS,
    TOOLS,
    UNTIL_BLACK_BOX_S,
    WAITING,
    ChangesSince,
    InstanceCall,
    NoArguments,
    ScriptsStatus,
    WaitFor,
    renderer,
)
from brummer.core.errors import BrummerError, InvalidArguments, NotFound
from brummer.discovery.record import NAME_LENGTH, Record
from brummer.hub.black_box import ANSWERED, BlackBoxes, Down
from brummer.hub.fan_out import GRACE_S, FanOut
from brummer.hub.finder import STARTS, Finder, with_note
from brummer.link.call import Call
from brummer.link.errors import NoResult, RemoteRefusal
from brummer.peers.instance_entry import InstanceEntry
from brummer.peers.instances import Instances
from brummer.settings.servers import Server
from brummer.wire.mcp.eras import META_CLIENT_INFO
from brummer.wire.mcp.server import Request, RunningCall, ToolCall
from brummer.wire.mcp.tool_arguments import NOT_GIVEN, ArgumentDecoder
from brummer.wire.mcp.tools import Tool, ToolTable, failed, structured

EVERYWHERE: Final = "*"
_EVERYWHERE: Final = frozenset({"wait_for", "scripts_status", "changes_since"})

_ROUTED_NAMES: Final = frozenset(tool.name for tool in ROUTED_TOOLS)

_TRAITS: Final = {
    tool.name: tuple(tool.name in those for those in (REPEATABLE, READ_ONLY, WAITING, AWAIT_NEWS, CHANGING))
    for tool in INSTANCE_TOOLS
}
"""Of each tool of an instance, whether it is in these: one look-up for each call."""
_OF_OTHERS: Final = (False,) * 5

_decode_members = msgspec.json.Decoder(dict[str, Raw]).decode
_inner_calls: Final = ArgumentDecoder("instance_call", InstanceCall, ("instance",))
_listings: Final = ArgumentDecoder("instance_tools", NoArguments, ("instance",))
_waits: Final = ArgumentDecoder("wait_for", WaitFor, ("instance",))


class NotAnInstance(BrummerError):
    """A tool of Brummer's instances was called on a foreign server."""

    code = "not_an_instance"


class Router:
    """The `ToolServer` of the hub: ``local`` tools are answered here, all others through a link.

    The list of tools is the contract's, in its order, and then the local tools that are not in the contract.
    ``with_resources``: the hub serves the resources that tools name.
    """

    def __init__(
        self,
        instances: Instances,
        local: Sequence[Tool],
        black_boxes: BlackBoxes | None = None,
        finder: Finder | None = None,
        *,
        with_resources: bool = False,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self.instances = instances
        self._resolver = instances.resolver
        self._memory = instances.memory
        self._black_boxes = black_boxes
        self._local = ToolTable(local)
        self._finder = finder or Finder(instances)
        self._local_names = {tool.name for tool in local}
        further = [tool.definition for tool in local if tool.name not in BY_NAME]
        self.tools_json = msgspec.json.encode(
            [*(tool.as_hub_tool(with_resources=with_resources) for tool in TOOLS), *further]
        )

    def has_tool(self, name: str) -> bool:
        return name in BY_NAME or name in self._local_names

    def cancel_call(self, key: str) -> bool:  # noqa: ARG002
        """Calls of the hub's clients carry no keys."""
        return False

    def start_call(self, call: ToolCall, done: Callable[[bytes], None]) -> bytes | RunningCall | None:
        """A `brummer.wire.mcp.server.StartCall`: for calls whose instance is known without an await."""
        if call.name not in _ROUTED_NAMES:
            return None
        try:
            name, arguments, roots, find_roots = self._meant(call)
            entry = self._resolver.now(name, roots) if find_roots is None else None
            if entry is None or not isinstance(entry.caller, Caller):
                return None
            self._memory.admit(self._loop.time(), len(arguments))
            made = _tool_call(call.name, arguments, call)
            return entry.caller.fast_path(made, done, self._substitute(entry, made, call.name, arguments))
        except InvalidArguments:
            return None
        except BrummerError as error:
            return failed(error)

    def _substitute(self, entry: InstanceEntry, made: Call, tool: str, arguments: bytes) -> Substitute | None:
        """The black box of an instance, which answers in its place if it does not answer soon. The boxes here are those
        of this machine: one of the same id is of another instance than one on another machine.
        """
        boxes = self._black_boxes
        if boxes is None or tool not in ANSWERED or entry.host:
            return None
        made.hurry(UNTIL_BLACK_BOX_S)

        def answer(error: BrummerError) -> Coroutine[Any, Any, bytes | None] | None:
            record = entry.record
            if not isinstance(record, Record) or not is_unanswered(error):
                return None
            running = None if entry.is_gone else record.generation
            status = entry.link.status()
            down = Down(entry.id, status.state, status.since_s, status.reason)
            return boxes.answer(entry.id, tool, arguments, running, down, record.generation)

        return answer

    async def call_tool(self, call: ToolCall) -> bytes:
        if call.name in self._local_names:
            return await self._local.call(call.name, call.arguments, call)
        try:
            self._memory.admit(self._loop.time(), len(call.arguments))
            return await self._routed(call)
        except BrummerError as error:
            return failed(error)

    async def _routed(self, call: ToolCall) -> bytes:
        await self.instances.first_scan()
        name, arguments, roots, find_roots = self._meant(call)
        if name == EVERYWHERE and call.name in _EVERYWHERE:
            return await self._everywhere(call, arguments)
        if find_roots is not None and call.request.session is not None:
            await find_roots()
            roots = call.request.session.roots
        if name is None:
            return await self._in_instance(await self._resolver.default(roots), call, arguments)
        if call.name in STARTS:
            return await self._in_named_or_started(name, call, arguments)
        try:
            entry = await self._resolver.named(name)
        except NotFound:
            if (answer := await self._left_by(name, call.name, arguments)) is not None:
                return answer
            raise
        return await self._in_instance(entry, call, arguments)

    async def _in_named_or_started(self, name: str, call: ToolCall, arguments: bytes) -> bytes:
        """The answer says if an instance was started for the call."""
        entry, started = await self._finder.named(name, call.request.client)
        if started is None:
            return await self._in_instance(entry, call, arguments)
        try:
            return with_note(await self._in_instance(entry, call, arguments), started)
        except BrummerError as error:
            error.context.update(started.note())
            raise

    async def _left_by(self, name: str, tool: str, arguments: bytes) -> bytes | None:
        """The answer from the black box of an instance that is not listed any more; None without one."""
        if self._black_boxes is None or tool not in ANSWERED:
            return None
        if (instance_id := await self._black_boxes.named(name)) is None:
            return None
        return await self._black_boxes.answer(instance_id, tool, arguments, None, Down(instance_id, "gone"))

    def _meant(self, call: ToolCall) -> tuple[str | None, bytes, tuple[str, ...], Callable[[], Awaitable[None]] | None]:
        """(instance that is named or was chosen, arguments without it, roots of the client, function to find these).

        The last is None if the roots are known, or would not decide. A chosen instance is meant also when it is not
        listed any more: another must not silently take its place. Raises `InvalidArguments`.
        """
        name, arguments = None, call.arguments
        # The name may be written with escapes. `find`, because `in` takes 0.5 µs to raise and clear an error inside.
        if arguments != b"{}" and (arguments.find(b'"instance"') >= 0 or arguments.find(b"\\") >= 0):
            given = _members(call.name, arguments)
            name = _string(call.name, "instance", given.pop("instance", None))
            arguments = msgspec.json.encode(given)
        session = call.request.session
        if session is None:
            return name, arguments, (), None
        if name is None:
            name = session.chosen
        asks = name is None and session.find_roots is not None and self._resolver.needs_roots()
        return name, arguments, session.roots, session.find_roots if asks else None

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
        if isinstance(entry.record, Server):
            made = _tool_call(tool, passed_on, call)
            made.meta.pop(META_CLIENT_INFO, None)
            made.repeatable = tool in await self._repeatable(entry)
            made.on_list_changed = entry.forget_hints
            made.deadline_s, made.max_deadline_s = entry.record.timeout_s, entry.record.max_timeout_s
            from brummer.foreign.results import tool_result  # noqa: PLC0415 - few hubs have a foreign server

            return tool_result(await entry.caller.call(made), modern=call.request.is_modern)
        made = _tool_call(tool, passed_on, call)
        return await entry.caller.call(made, self._substitute(entry, made, tool, passed_on))

    async def _repeatable(self, entry: InstanceEntry) -> frozenset[str]:
        """The tools that a foreign server's hints allow to be sent twice; none if it gives no hints.

        It is asked once while its link holds. Raises `BrummerError` if it does not answer.
        """
        if not entry.has_hinted:
            from brummer.foreign.results import repeatable_of  # noqa: PLC0415 - as above

            try:
                entry.take_hints(repeatable_of(await entry.caller.call(_list_tools(entry))))
            except (RemoteRefusal, NoResult):
                return frozenset()
        return entry.repeatable

    async def _everywhere(self, call: ToolCall, arguments: bytes) -> bytes:
        from brummer.hub import everywhere  # noqa: PLC0415 - no start needs it

        if call.name == "wait_for":
            return await self._wait_everywhere(call, arguments)
        everyone = await self._resolver.everyone()
        if call.name == "scripts_status":
            wanted = ArgumentDecoder(call.name, ScriptsStatus, ("instance",)).decode(arguments)
            return structured(await everywhere.status_of_all(everyone, wanted), renderer(call.name))
        since = ArgumentDecoder(call.name, ChangesSince, ("instance",)).decode(arguments)
        changes = everywhere.first_changes_of_all(everyone, since, self.instances.pool.for_waits)
        return structured(await changes, renderer(call.name))

    async def _wait_everywhere(self, call: ToolCall, arguments: bytes) -> bytes:
        """The first instance where the condition comes true; the waits in the others then end."""
        from brummer.hub.everyone import answers_of  # noqa: PLC0415 - no start needs it
        from brummer.hub.everywhere import InstancePlaces, cursor_of  # noqa: PLC0415 - as above

        wanted = _waits.decode(arguments)
        timeout_s, given_places = wanted.timeout_s, InstancePlaces(wanted.cursor)
        given = {name: value for name, value in _members(call.name, arguments).items() if bytes(value) not in NOT_GIVEN}

        async def ask(entry: InstanceEntry, wait_s: float, since: str | None) -> dict[str, Any]:
            asked: dict[str, Any] = {**given, "timeout_s": wait_s}
            if (cursor := given_places.cursor_for(entry)) is not None:
                asked["cursor"] = cursor
            elif since is not None:
                asked["since"] = since
            made = _tool_call(call.name, msgspec.json.encode(asked), call)
            made.deadline_s, made.meta, made.on_notification = wait_s + GRACE_S, {}, None
            try:
                result = msgspec.json.decode(await entry.caller.call(made))
            except BrummerError as error:
                return {"error": {"code": error.code, "message": error.message}}
            content: dict[str, Any] = result.get("structuredContent", {})
            if "cursor" in content:
                places[entry.id] = content["cursor"]
            return content

        everyone = await self._resolver.everyone()
        places = {entry.id: cursor for entry in everyone if (cursor := given_places.cursor_for(entry)) is not None}
        begun = self._loop.create_task(
            answers_of([] if given_places.is_given else everyone, "changes_since", _just_one)
        )
        fan_out = FanOut(everyone, self.instances.pool.for_waits, timeout_s, ask)
        try:
            answer = await fan_out.result()
            for name, content in (await begun).items():
                places.setdefault(name, content.get("cursor", ""))
        finally:
            begun.cancel()
        wrong = [each["why"] for each in answer["incomplete"] if each["why"]["code"] == InvalidArguments.code]
        if len(wrong) + answer.get("not_named", 0) == len(everyone):
            raise InvalidArguments(wrong[0]["message"], tool=call.name)
        return structured({**answer, "cursor": cursor_of(everyone, places)}, renderer(call.name))


def _just_one(_: InstanceEntry) -> dict[str, object]:
    """For the cursor: one change is the shortest answer."""
    return {"limit": 1}


def _string(tool: str, name: str, raw: Raw | None) -> str | None:
    if raw is None or bytes(raw) in NOT_GIVEN:
        return None
    try:
        return msgspec.json.decode(raw, type=str)
    except msgspec.DecodeError:
        raise InvalidArguments(f"{tool}: `{name}` must be a string", tool=tool, argument=name) from None


def _list_tools(entry: InstanceEntry) -> Call:
    patience_s = entry.record.timeout_s if isinstance(entry.record, Server) else CALL_ANSWER_S
    return Call("tools/list", {}, repeatable=True, only_reads=True, deadline_s=patience_s)


def _tool_call(tool: str, arguments: bytes, call: ToolCall) -> Call:
    request = call.request
    meta, session = request.params.meta, request.session
    repeatable, only_reads, waits, awaits_news, changes = _TRAITS.get(tool, _OF_OTHERS)
    made = Call(
        "tools/call",
        {"name": tool, "arguments": Raw(arguments)},
        repeatable=repeatable,
        only_reads=only_reads,
        deadline_s=CALL_ANSWER_S + (_wait_s(arguments) if waits else 0.0),
        waits=waits,
        flow=session.id if session else None,
        meta={"progressToken": meta.progress_token} if meta.progress_token else {},
        on_notification=request.notify if meta.progress_token else None,
        trace=meta.trace() if meta.traceparent else {},
    )
    if awaits_news and arguments.find(b"wait_s") >= 0:  # `find`: see `Router._meant`
        made.wait_for_news(_news_wait_s(arguments))
    elif changes:
        made.meta[META_CLIENT_INFO] = _client_of(request)
    return made


def _client_of(request: Request) -> dict[str, str]:
    """Who asks, for the instance, which tells people; not more of it, because an ``Implementation`` may hold images."""
    name, version = request.client_info
    return {"name": name[:NAME_LENGTH], "version": version[:NAME_LENGTH]}


class _Wait(msgspec.Struct):
    timeout_s: float | None = None
    wait_s: float | None = None


def _wait_s(arguments: bytes) -> float:
    """How long the tool itself may wait. An invalid value is left for the instance to refuse."""
    if b"timeout_s" not in arguments:
        return DEFAULT_WAIT_S
    try:
        timeout_s = msgspec.json.decode(arguments, type=_Wait, strict=False).timeout_s
        return DEFAULT_WAIT_S if timeout_s is None else max(0.0, min(LONGEST_WAIT_S, timeout_s))
    except (msgspec.DecodeError, RecursionError):
        return DEFAULT_WAIT_S


def _news_wait_s(arguments: bytes) -> float:
    """How long the tool may wait for news. An invalid value is refused by the instance, at once."""
    try:
        return max(0.0, min(NEWS_WAIT_S, msgspec.json.decode(arguments, type=_Wait, strict=False).wait_s or 0.0))
    except (msgspec.DecodeError, RecursionError):
        return 0.0


def _members(tool: str, arguments: bytes) -> dict[str, Raw]:
    """The arguments of a tool, each undecoded. Raises `InvalidArguments` if they are not an object."""
    try:
        return _decode_members(arguments)
    except (msgspec.DecodeError, RecursionError) as error:
        raise InvalidArguments(f"{tool}: {error}", tool=tool) from None


def _inner_call(arguments: bytes) -> tuple[str, bytes]:
    """What ``instance_call`` asks for: an instance's own tool, and its arguments. Raises `InvalidArguments`."""
    inner = _inner_calls.decode(arguments)
    given = _own_arguments(inner.tool, bytes(inner.arguments))
    if given.startswith(b'"'):
        given = msgspec.json.decode(given, type=str).strip().encode()
        _members("instance_call", given)
    if given == b"[]":  # of clients in PHP
        given = b"{}"
    if not given.lstrip().startswith(b"{"):
        what = "instance_call: `arguments` must be an object"
        raise InvalidArguments(what, tool="instance_call", argument="arguments")
    return inner.tool, given


def _own_arguments(tool: str, given: bytes) -> bytes:
    """The tool's arguments, also if a client repeats the whole call in their place.

    Semantic Kernel does that: it gives a parameter named `arguments` all arguments of its call.
    """
    if b'"tool"' not in given or not given.lstrip().startswith(b"{"):
        return given
    inner = _members("instance_call", given)
    repeats = len(inner) > 1 and inner.keys() <= {"instance", "tool", "arguments"}
    if not repeats or bytes(inner.get("tool", b"")) != msgspec.json.encode(tool):
        return given
    return bytes(inner.get("arguments", b"{}"))
