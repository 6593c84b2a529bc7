"""The probe: "are you (still) you?", asked and answered without the token ever leaving either side.

The hub sends a nonce; the instance answers with its id, its generation and an HMAC over all three under the record's
token. A stranger on the port can't make that proof, and learns nothing that it could use. The hub proves itself in the
same way, so that its idle connections do not count as unproven.
"""

import hashlib
import hmac
import re
from typing import Final
from urllib.parse import parse_qs

import msgspec

PATH: Final = b"/identity"
ASKER_HEADER: Final = "x-brummer-proof"
"""Carries `asker_proof`. It gives the connection a proven place and nothing else: calls still need the token."""

_NONCE = re.compile(r"[A-Za-z0-9_-]{16,128}")


class Identity(msgspec.Struct, frozen=True):
    """What an instance answers; ``proof`` is `proof` over the nonce and the other two."""

    instance_id: str
    generation: str
    proof: str
    ledger_position: int = 0
    """How many calls its ledger has opened."""
    clock_s: float | None = None
    """The time on its clock; None if it does not send it."""


def proof(token: str, nonce: str, instance_id: str, generation: str) -> str:
    """HMAC-SHA256 (RFC 2104), hexadecimal."""
    message = f"{nonce}\n{instance_id}\n{generation}".encode()
    return hmac.new(token.encode(), message, hashlib.sha256).hexdigest()


def asker_proof(token: str, nonce: str) -> str:
    """As `proof`, for the side that asks. Nonces are longer than "asker", so neither proof can pass as the other."""
    return hmac.new(token.encode(), f"asker\n{nonce}".encode(), hashlib.sha256).hexdigest()


def asker_is_proven(token: str, target: bytes, shown: bytes) -> bool:
    """The instance's side: the sender of this ``GET /identity?nonce=…`` with this header knows the token."""
    return bool(shown) and hmac.compare_digest(shown, asker_proof(token, _nonce_of(target)).encode())


def _nonce_of(target: bytes) -> str:
    return parse_qs(target.partition(b"?")[2].decode("latin-1")).get("nonce", [""])[0]


def answer(
    token: str,
    instance_id: str,
    generation: str,
    target: bytes,
    *,
    ledger_position: int = 0,
    clock_s: float | None = None,
) -> tuple[int, bytes]:
    """The instance's side: (status, body) for ``GET /identity?nonce=…``."""
    nonce = _nonce_of(target)
    if not _NONCE.fullmatch(nonce):  # no line break above all: it would shift the fields of the proof
        return 400, b'{"error":"a nonce of 16 to 128 URL-safe characters is needed"}'
    proven = proof(token, nonce, instance_id, generation)
    identity = Identity(instance_id, generation, proven, ledger_position, clock_s)
    return 200, msgspec.json.encode(identity)


def proven(body: bytes, *, token: str, nonce: str, instance_id: str, generation: str) -> Identity | None:
    """The hub's side: the answer, if it is proven to come from that generation of that instance."""
    try:
        identity = msgspec.json.decode(body, type=Identity)
    except (msgspec.DecodeError, RecursionError):
        return None
    expected = proof(token, nonce, instance_id, generation)
    same = (identity.instance_id, identity.generation) == (instance_id, generation)
    return identity if same and hmac.compare_digest(identity.proof.encode(), expected.encode()) else None
