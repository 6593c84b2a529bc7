"""The page's port and secret, kept in a file beside the records, so that an open tab survives a restart of its server.

Both belong together: a tab asks again at the port that it knows. If another process has that port by then, the secret
may have been shown to it, so a server on another port makes a new one.
"""

import secrets
from pathlib import Path
from typing import Final

import msgspec

from brummer.host.files import FileRefused, read_private, write_atomically

FILE_NAME: Final = "web.session"
SESSION_LASTS_S: Final = 12 * 3600.0
"""A working day: a tab that is left open overnight has to be opened anew."""
LIMIT_BYTES: Final = 4_096


class WebSession(msgspec.Struct, frozen=True):
    """``secret``: what the page sends with each call. ``made_at``: unix seconds."""

    port: int
    secret: str
    made_at: float


def new_session(port: int, now_s: float) -> WebSession:
    """With a secret of its own."""
    return WebSession(port, secrets.token_urlsafe(32), now_s)


def kept_session(directory: Path, now_s: float) -> WebSession | None:
    """The session of an earlier server; None if there is none that may be used. Blocks for disk access."""
    try:
        session = msgspec.json.decode(read_private(directory / FILE_NAME, LIMIT_BYTES), type=WebSession)
    except (FileRefused, OSError, msgspec.DecodeError):
        return None
    is_usable = 0 < session.port < 1 << 16 and bool(session.secret) and session.secret.isascii()
    return session if is_usable and 0 <= now_s - session.made_at < SESSION_LASTS_S else None


def keep_session(directory: Path, session: WebSession) -> None:
    """Blocks for disk access. Raises OSError."""
    write_atomically(directory / FILE_NAME, msgspec.json.encode(session), durable=False)
