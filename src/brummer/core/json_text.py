"""Encodes JSON, also for texts that are not valid Unicode: the name of a file or directory need not be UTF-8."""

import msgspec

_encode = msgspec.json.Encoder(enc_hook=str).encode


def encode(content: object) -> bytes:
    """Invalid characters become ``?``, so that there is an answer. Objects of other types become their text."""
    try:
        return _encode(content)
    except UnicodeEncodeError:
        import json  # noqa: PLC0415 — 3 ms, for a rare one

        return json.dumps(msgspec.to_builtins(content, enc_hook=str), ensure_ascii=False).encode("utf-8", "replace")


def indented(content: object) -> str:
    """Indented JSON for people."""
    return msgspec.json.format(encode(content), indent=2).decode()
