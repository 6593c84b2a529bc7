"""The probe: only that generation of that instance can answer it, and nothing that answers can break who asks."""

import secrets
from typing import Any

import msgspec
import pytest

from brummer.wire.mcp import identity

TOKEN = secrets.token_urlsafe(32)
WHO = {"instance_id": "shop-1", "generation": "g1"}


def asked(nonce: str, token: str = TOKEN, **who: str) -> tuple[int, bytes]:
    named = WHO | who
    return identity.answer(token, named["instance_id"], named["generation"], b"/identity?nonce=" + nonce.encode())


def holds(body: bytes, nonce: str) -> bool:
    return identity.proven(body, token=TOKEN, nonce=nonce, **WHO) is not None


@pytest.mark.parametrize("length", [16, 24, 128])
def test_the_instance_itself_is_believed(length: int) -> None:
    nonce = "n" * length
    status, body = asked(nonce)
    assert status == 200
    assert holds(body, nonce)
    assert TOKEN.encode() not in body


@pytest.mark.parametrize(
    "other", [{"token": "another"}, {"token": ""}, {"instance_id": "shop-2"}, {"generation": "g2"}]
)
def test_somebody_else_is_not(other: dict[str, str]) -> None:
    nonce = secrets.token_urlsafe(18)
    _, body = asked(nonce, **other)
    assert not holds(body, nonce)


def test_a_proof_for_another_nonce_is_none() -> None:
    _, body = asked(secrets.token_urlsafe(18))
    assert not holds(body, secrets.token_urlsafe(18))


def test_a_claim_to_be_us_without_the_token_is_none() -> None:
    nonce = secrets.token_urlsafe(18)
    forged = identity.proof("guessed", nonce, **WHO)
    assert not holds(msgspec.json.encode({**WHO, "proof": forged}), nonce)


GARBAGE: list[Any] = [
    {**WHO, "proof": "é"},
    {**WHO, "proof": ""},
    {**WHO, "proof": None},
    {**WHO, "proof": "\U0001f600"},
    {**WHO},
    {"proof": "x"},
    [],
    None,
    "x",
]


@pytest.mark.parametrize("answer", GARBAGE)
def test_what_a_stranger_may_say_is_a_plain_no(answer: object) -> None:
    assert not holds(msgspec.json.encode(answer), "n" * 24)


@pytest.mark.parametrize("body", [b"", b"ok", b"\xff", b"[" * 100_000, b'{"proof":"\\ud800"}', b"{"])
def test_what_is_no_json_is_a_plain_no(body: bytes) -> None:
    assert not holds(body, "n" * 24)


@pytest.mark.parametrize(
    "target",
    [
        b"/identity",
        b"/identity?",
        b"/identity?nonce=",
        b"/identity?nonce=short",
        b"/identity?nonce=" + b"x" * 129,
        b"/identity?nonce=1234567890123456%0Ashop-1",
        b"/identity?nonce=1234567890123456+",
        b"/identity?nonce=%ff%ff%ff%ff%ff%ff%ff%ff%ff%ff%ff%ff%ff%ff%ff%ff",
        b"/identity?other=1234567890123456",
        b"/identity?nonce=\xff\xfe1234567890123456",
    ],
)
def test_a_question_without_a_proper_nonce_is_refused(target: bytes) -> None:
    status, body = identity.answer(TOKEN, "shop-1", "g1", target)
    assert status == 400
    assert "proof" not in msgspec.json.decode(body)


def test_the_first_nonce_counts() -> None:
    first, second = "a" * 24, "b" * 24
    _, body = identity.answer(TOKEN, "shop-1", "g1", f"/identity?nonce={first}&nonce={second}".encode())
    assert holds(body, first)
    assert not holds(body, second)


# The hub's own proof.


def test_a_client_with_the_token_proves_it_without_showing_it() -> None:
    nonce = secrets.token_urlsafe(18)
    shown = identity.asker_proof(TOKEN, nonce)
    assert TOKEN not in shown
    assert identity.asker_is_proven(TOKEN, f"/identity?nonce={nonce}".encode(), shown.encode())


@pytest.mark.parametrize("shown", [b"", b"x", b"\xff", identity.asker_proof("another", "n" * 16).encode()])
def test_a_client_without_the_token_proves_nothing(shown: bytes) -> None:
    assert not identity.asker_is_proven(TOKEN, b"/identity?nonce=" + b"n" * 16, shown)


def test_a_proof_holds_for_its_nonce_only_and_an_instances_proof_does_not_count() -> None:
    nonce = "n" * 16
    target = f"/identity?nonce={nonce}".encode()
    assert not identity.asker_is_proven(TOKEN, target, identity.asker_proof(TOKEN, "m" * 16).encode())
    assert not identity.asker_is_proven(TOKEN, target, identity.proof(TOKEN, nonce, **WHO).encode())
    _, body = asked(nonce)
    assert not identity.asker_is_proven(TOKEN, target, msgspec.json.decode(body)["proof"].encode())
