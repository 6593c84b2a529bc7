"""The two eras as values."""

import json

import pytest

from brummer.wire.mcp import eras
from brummer.wire.mcp.jsonrpc import decode
from brummer.wire.mcp.server import decode_request

from .wire_support import INFO


@pytest.mark.parametrize("version", eras.LEGACY)
def test_a_handshake_is_answered_in_the_clients_version(version: str) -> None:
    assert eras.initialize_result(version, INFO, "")["protocolVersion"] == version


@pytest.mark.parametrize("version", ["2099-01-01", "", None, 5, ["2025-11-25"], eras.MODERN])
def test_a_handshake_in_a_version_without_one_is_answered_in_our_latest_that_has(version: object) -> None:
    assert eras.initialize_result(version, INFO, "")["protocolVersion"] == eras.LEGACY_LATEST


def test_a_discovery_names_every_version_and_may_be_cached() -> None:
    result = eras.discover_result(INFO, "how to use it")
    assert result["supportedVersions"][0] == eras.MODERN
    assert set(result["supportedVersions"]) == set(eras.SUPPORTED)
    assert result["resultType"] == "complete"
    assert result["ttlMs"] >= 0
    assert result["cacheScope"] == "public"
    assert result["_meta"] == {eras.META_SERVER_INFO: INFO}


@pytest.mark.parametrize("neutral", [b"{}", b'{"tools":[]}', b'{ "a" : 1 }'])
@pytest.mark.parametrize("cacheable", [True, False])
def test_a_result_becomes_modern_without_being_decoded(neutral: bytes, *, cacheable: bool) -> None:
    prefix = eras.complete_result_prefix(json.dumps(INFO).encode(), cacheable=cacheable)
    result = json.loads(eras.modern_result(prefix, neutral))
    assert result.items() >= json.loads(neutral).items()
    assert result["resultType"] == "complete"
    assert result["_meta"] == {eras.META_SERVER_INFO: INFO}
    assert ("ttlMs" in result, "cacheScope" in result) == (cacheable, cacheable)


@pytest.mark.parametrize(
    ("method", "version", "is_modern"),
    [
        ("initialize", None, False),
        ("tools/call", None, False),
        ("tools/call", "2026-07-28", True),
        ("tools/call", "anything", True),
        ("server/discover", None, True),
        ("initialize", "2026-07-28", True),
    ],
)
def test_a_body_tells_its_era(method: str, version: str | None, *, is_modern: bool) -> None:
    meta = {} if version is None else {"_meta": {eras.META_VERSION: version}}
    message = {"jsonrpc": "2.0", "id": 1, "method": method, "params": meta}
    assert decode_request(decode(json.dumps(message).encode()), None, lambda _: None).is_modern is is_modern
