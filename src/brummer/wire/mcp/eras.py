"""The two eras of MCP side by side, as values and pure functions.

*Legacy* (2025-11-25 and earlier) opens with an ``initialize`` handshake; *modern* (2026-07-28) declares version and
capabilities in the ``_meta`` of every request. Source: modelcontextprotocol,
docs/specification/2026-07-28/basic/versioning.

Imported before the event loop exists, to give the very first answer: nothing heavy may be imported here.
"""

from typing import Any, Final

MODERN: Final = "2026-07-28"
LEGACY_LATEST: Final = "2025-11-25"
LEGACY: Final = (LEGACY_LATEST, "2025-06-18", "2025-03-26", "2024-11-05")
SUPPORTED: Final = (MODERN, *LEGACY)

WITH_BATCHES: Final = "2025-03-26"
"""The one version in which several messages may come as an array (2025-03-26/basic, "Batching")."""

META_VERSION: Final = "io.modelcontextprotocol/protocolVersion"
META_CAPABILITIES: Final = "io.modelcontextprotocol/clientCapabilities"
META_CLIENT_INFO: Final = "io.modelcontextprotocol/clientInfo"
META_SERVER_INFO: Final = "io.modelcontextprotocol/serverInfo"
META_SUBSCRIPTION: Final = "io.modelcontextprotocol/subscriptionId"

EXTENSION: Final = "io.modelcontextprotocol/ui"
"""MCP Apps: a page that a host shows beside the answer of a tool."""

WITH_TOOLS: Final[dict[str, Any]] = {"tools": {}}
"""The capabilities of a server that serves tools only."""
WITH_RESOURCES: Final[dict[str, Any]] = {**WITH_TOOLS, "resources": {}, "extensions": {EXTENSION: {}}}
"""Those of one that also has a page. They do not depend on the client's: some hosts ask once without any."""

TOOLS_TTL_MS: Final = 3_600_000
"""The tool list is frozen for the life of the process, so an hour is modest; a restart is seen by the client anyway."""


def initialize_result(
    requested_version: object,
    server_info: dict[str, str],
    instructions: str,
    capabilities: dict[str, Any] = WITH_TOOLS,
) -> dict[str, Any]:
    """The legacy handshake's result: the client's version if we speak it, else our latest legacy one."""
    version = requested_version if requested_version in LEGACY else LEGACY_LATEST
    return {
        "protocolVersion": version,
        "capabilities": capabilities,
        "serverInfo": server_info,
        "instructions": instructions,
    }


def discover_result(
    server_info: dict[str, str], instructions: str, capabilities: dict[str, Any] = WITH_TOOLS
) -> dict[str, Any]:
    """The complete modern ``server/discover`` result."""
    return {
        "resultType": "complete",
        "supportedVersions": list(SUPPORTED),
        "capabilities": capabilities,
        "instructions": instructions,
        "ttlMs": TOOLS_TTL_MS,
        "cacheScope": "public",
        "_meta": {META_SERVER_INFO: server_info},
    }


def subscription_ended(server_info: dict[str, str], subscription_id: object) -> dict[str, Any]:
    """The result of a ``subscriptions/listen`` that the server ends on its own account."""
    return {"resultType": "complete", "_meta": {META_SERVER_INFO: server_info, META_SUBSCRIPTION: subscription_id}}


def unsupported_version_data(requested: object) -> dict[str, object]:
    """The ``data`` of an UnsupportedProtocolVersionError (-32022)."""
    return {"supported": list(SUPPORTED), "requested": requested}


def complete_result_prefix(server_info_json: bytes, *, cacheable: bool) -> bytes:
    """What a modern result object starts with; an era-neutral result's members follow it (see `modern_result`)."""
    cache = b'"ttlMs":%d,"cacheScope":"public",' % TOOLS_TTL_MS if cacheable else b""
    return b'{"resultType":"complete",%b"_meta":{"%b":%b}' % (cache, META_SERVER_INFO.encode(), server_info_json)


_META_FIRST: Final = b'{"_meta":{'


def modern_result(prefix: bytes, era_neutral: bytes) -> bytes:
    """Splice an era-neutral result object behind a prefix, without decoding it.

    It has no ``resultType``. If it has a ``_meta``, this must come first, without blanks, and have members.
    """
    if era_neutral.startswith(_META_FIRST):
        return b"%b,%b" % (prefix[:-1], era_neutral[len(_META_FIRST) :])
    return prefix + (b"}" if era_neutral == b"{}" else b"," + era_neutral[1:])
