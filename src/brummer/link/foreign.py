"""A target that is not ours: any Streamable HTTP MCP server, of either era.

There is no record, no proof and no ledger: the user named its URL, and a call that was lost after it was sent is sent
again only if the server's own hints allow that. The era is found by asking (modern first, as the specification says);
a legacy server's session is kept over all connections, and begun anew inside the call when the server has forgotten it.
Servers say that in many ways, so it is told by behaviour: a refusal of a request that carried a session id, with a
status or a code that servers are known to use for it.
"""

import json
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar, Final
from urllib.parse import urlsplit

import msgspec

from brummer import __version__
from brummer.core.errors import BadAnswer, BrummerError
from brummer.link.call import Answers, Call
from brummer.link.errors import NoResult, RemoteRefusal
from brummer.link.health import Condition
from brummer.wire import eras, jsonrpc
from brummer.wire.http_connection import HttpConnection, Response

CLIENT_INFO: Final = {"name": "brummer-hub", "version": __version__}
FORGOTTEN_STATUSES: Final = frozenset({400, 401, 404, 410})
"""Of a request with a session id: 404 by the specification; the others were seen in the wild."""

FORGOTTEN_CODES: Final = frozenset({-32001, -32000, -32600})
"""JSON-RPC codes of "session not found" and "not initialized" in the wild."""

HTTP_OK: Final = 200
HTTP_ACCEPTED: Final = 202


class InputNeeded(BrummerError):
    """The server wants an answer from the user before it goes on, which can't be passed on."""

    code = "input_required"


class SessionForgotten(NoResult):
    """The server does not know our session any more, and so has not run the call."""

    code = "session_forgotten"


@dataclass(eq=False)
class ForeignTarget:
    """Stands where a `Target` stands. ``headers`` may hold credentials and are never shown."""

    name: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    era: eras.Era | None = None
    session_id: str | None = field(default=None, repr=False)
    repeatable_tools: frozenset[str] = frozenset()

    has_ledger: ClassVar[bool] = False
    is_compatible: ClassVar[bool] = True
    protocols: ClassVar[tuple[str, ...]] = eras.SUPPORTED
    generation: ClassVar[str] = "foreign"

    @property
    def instance_id(self) -> str:
        return self.name

    @cached_property
    def _parts(self) -> tuple[str, int, str, bool]:
        url = urlsplit(self.url)
        secure = url.scheme == "https"
        path = (url.path or "/") + (f"?{url.query}" if url.query else "")
        return url.hostname or "", url.port or (443 if secure else 80), path, secure

    @property
    def host(self) -> str:
        return self._parts[0]

    @property
    def port(self) -> int:
        return self._parts[1]

    @property
    def is_local(self) -> bool:
        """On this machine: no route and no carrier lies between us."""
        return self.host in ("localhost", "::1") or self.host.startswith("127.")

    @cached_property
    def tls(self) -> ssl.SSLContext | None:
        """None for plain HTTP."""
        return ssl.create_default_context() if self._parts[3] else None

    @staticmethod
    def look() -> Condition:
        """Its process, if it is on this machine at all, is not ours to look at."""
        return "unknown"

    # As a link uses it.

    async def prove(self, connection: HttpConnection) -> None:
        """Say hello: learn the era and open a session, or check that what we know still holds."""
        try:
            if self.era is None:
                await self._find_era(connection)
            elif self.era is eras.Era.MODERN:
                await self._result(connection, "server/discover", {})
            else:
                await self._result(connection, "ping", {})
        except SessionForgotten:
            await self._initialize(connection)
        except RemoteRefusal:
            pass  # it answers, and that was the question

    async def ask(self, connection: HttpConnection, call: Call, now_s: float) -> bytes:  # noqa: ARG002 — no ledger to tell
        """Make the call; a forgotten session is begun anew first, once."""
        try:
            return _neutral(await self._exchange(connection, call))
        except SessionForgotten:
            await self._initialize(connection)
            return _neutral(await self._exchange(connection, call))

    async def cancel(self, connection: HttpConnection, call: Call) -> None:
        """In the modern era the lost connection has said it; in the legacy one ids are ours to name."""

    # Shaking hands.

    async def _find_era(self, connection: HttpConnection) -> None:
        self.era = eras.Era.MODERN
        try:
            await self._result(connection, "server/discover", {})
        except (RemoteRefusal, BadAnswer, SessionForgotten):
            self.era = None
            await self._initialize(connection)

    async def _initialize(self, connection: HttpConnection) -> None:
        self.era, self.session_id = eras.Era.LEGACY, None
        params = {"protocolVersion": eras.LEGACY_LATEST, "capabilities": {}, "clientInfo": CLIENT_INFO}
        response = await self._send(connection, b"0", "initialize", params)
        Answers(b"0").result(response)
        session_id = response.headers.get(b"mcp-session-id")
        self.session_id = session_id.decode("latin-1") if session_id else None
        await connection.exchange(self._post(jsonrpc.notification("notifications/initialized", {}), {}))

    async def _result(self, connection: HttpConnection, method: str, params: dict[str, Any]) -> bytes:
        return await self._exchange(connection, Call(method, params, repeatable=True, deadline_s=0))

    # Asking.

    async def _exchange(self, connection: HttpConnection, call: Call) -> bytes:
        request_id = b"%d" % (connection.calls + 1)
        answers = Answers(request_id, call)
        modern = self.era is eras.Era.MODERN
        meta = {eras.META_VERSION: eras.MODERN, eras.META_CAPABILITIES: {}} if modern else {}
        body = call.message(request_id, 0.0, meta)
        response = await connection.exchange(self._post(body, self._mirrored(call)), answers.on_event)
        had_session = self.session_id is not None or self.era is eras.Era.LEGACY
        if had_session and response.status in FORGOTTEN_STATUSES:
            raise SessionForgotten(f"HTTP {response.status}", sent=False)
        try:
            return answers.result(response)
        except RemoteRefusal as error:
            if had_session and error.context.get("rpc_code") in FORGOTTEN_CODES:
                raise SessionForgotten(error.message, sent=False) from None
            raise

    async def _send(self, connection: HttpConnection, request_id: bytes, method: str, params: object) -> Response:
        body = jsonrpc.request(request_id, method, msgspec.json.encode(params))
        answers: list[bytes] = []
        response = await connection.exchange(self._post(body, {}), answers.append)
        if answers:
            response.body = answers[-1]
        return response

    def _mirrored(self, call: Call) -> dict[str, str]:
        """The headers in which the modern era repeats what the body says."""
        if self.era is not eras.Era.MODERN:
            return {}
        name = call.params.get("name")
        return {"mcp-method": call.method, **({"mcp-name": name} if isinstance(name, str) else {})}

    def _post(self, body: bytes, further: Mapping[str, str]) -> bytes:
        host, port, path, _ = self._parts
        shown = f"[{host}]" if ":" in host else host
        version = eras.MODERN if self.era is eras.Era.MODERN else eras.LEGACY_LATEST
        lines = {
            "host": f"{shown}:{port}",
            "content-type": "application/json",
            "accept": "application/json, text/event-stream",
            "mcp-protocol-version": version,
            **({"mcp-session-id": self.session_id} if self.session_id else {}),
            **further,
            **self.headers,
            "content-length": str(len(body)),
        }
        head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        return f"POST {path} HTTP/1.1\r\n{head}\r\n".encode() + body


def repeatable_of(tools_list: bytes) -> frozenset[str]:
    """The names of the tools that say of themselves that they may be repeated."""
    tools = json.loads(tools_list).get("tools", [])
    return frozenset(
        tool["name"]
        for tool in tools
        if tool.get("annotations", {}).get("readOnlyHint") or tool.get("annotations", {}).get("idempotentHint")
    )


def _neutral(result: bytes) -> bytes:
    """Without what belongs to the era in which it was asked for. Raises `InputNeeded`."""
    members = msgspec.json.decode(result, type=dict[str, msgspec.Raw])
    if bytes(members.pop("resultType", msgspec.Raw(b'"complete"'))) == b'"input_required"':
        raise InputNeeded("the server asks for input from the user, which can't be passed on through this call")
    for member in ("_meta", "ttlMs", "cacheScope"):
        members.pop(member, None)
    return msgspec.json.encode(members)
