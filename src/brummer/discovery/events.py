"""The events of a registry."""

from typing import Final, Literal

import msgspec

from brummer.discovery.record import Record

GoneReason = Literal["withdrawn", "process died", "life lock free", "not published again"]
WITHDRAWN: Final[GoneReason] = "withdrawn"
"""The instance ended itself in good order."""


class Appeared(msgspec.Struct, frozen=True):
    """An instance is there that was not there before, or has come back after `Gone`."""

    record: Record


class Changed(msgspec.Struct, frozen=True):
    """Same ``instance_id``, another content. Another ``generation`` means that it was restarted."""

    old: Record
    new: Record


class Gone(msgspec.Struct, frozen=True):
    """It is proven that this run is over, or that it left by itself. ``record`` is the last one known."""

    record: Record
    reason: GoneReason


DirectoryEvent = Appeared | Changed | Gone


class DirectoryProblem(msgspec.Struct, frozen=True):
    """Something in the directory that is not used. ``code``: malformed, newer_version, other_machine, unreadable,
    too_large, symlink, not_regular, foreign_owner, stale, or directory_ and the reason of a `DirectoryUnusable`.
    """

    code: str
    path: str
    detail: str
