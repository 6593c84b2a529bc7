"""The HTTP token: one secret per user, which every HTTP client of a hub and every metrics scraper must send.

All users of a machine share the loopback, so an address proves nothing; a file that only its owner can read does.
The token is made once and kept in the state directory, so clients keep their configuration when the hub restarts.

Every command imports this at its start, so nothing heavy may be imported at the top.
"""

import os
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import MutableMapping
    from pathlib import Path

from brummer.core.errors import BrummerError

VARIABLE: Final = "BRUMMER_HTTP_TOKEN"
"""Overrides the file."""

TOKEN_FILE_BYTES: Final = 4096
"""An eighth of what Brummer's HTTP servers accept as headers; a generated token has 43 bytes."""

_override: list[str] = []


class TokenUnusable(BrummerError):
    """There is no token that only this user knows. The message says what to do."""

    code = "token_unusable"


def take_override(environ: "MutableMapping[str, str]") -> None:
    """Move the override out of the environment, so that no child process inherits it."""
    if token := environ.pop(VARIABLE, ""):
        _override[:] = [token]


def http_token(path: "Path") -> str:
    """The override, or else the content of this file, which is created if it is missing. Blocks for disk access.

    Raises TokenUnusable.
    """
    if _override:
        return _checked(_override[0], VARIABLE, "set it to visible ASCII characters")
    return _of_file(path)


def _of_file(path: "Path") -> str:
    import secrets  # noqa: PLC0415 — see above, as for the next two

    from brummer.host.directories import DirectoryUnusable, private_directory  # noqa: PLC0415
    from brummer.host.files import FileRefused, read_private, write_once  # noqa: PLC0415

    try:
        private_directory(path.parent)
        if not os.path.lexists(path):
            write_once(path, secrets.token_urlsafe(32).encode() + b"\n")
        token = read_private(path, TOKEN_FILE_BYTES).decode("latin-1").strip()
        return _checked(token, str(path), "remove it, and a new one is made")
    except DirectoryUnusable as error:
        raise _unusable(path, f"{error.path}: {error.reason.replace('_', ' ')}") from None
    except FileRefused as error:
        raise _unusable(path, error.why) from None
    except OSError as error:
        raise _unusable(path, error.strerror or str(error)) from None


def _unusable(path: "Path", why: str) -> TokenUnusable:
    what = f"the HTTP token in {path} can't be used: {why}. Mend that, or set {VARIABLE} to a secret"
    return TokenUnusable(what, path=str(path))


def _checked(token: str, source: str, advice: str) -> str:
    """The token, if an HTTP header can carry it. Raises TokenUnusable."""
    if token.isascii() and token.isprintable() and token and " " not in token:
        return token
    raise TokenUnusable(f"{source} holds no HTTP token: {advice}", source=source)
