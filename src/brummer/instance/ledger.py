"""What an instance remembers of the calls it has run: call key → running or result. Pure: time is passed in.

A hub that lost its connection asks again with the same key. Then there are three cases, told apart without a doubt:
the key is here (attach, or take the original result); it was never here, so the call never arrived (run it now); or it
may have been here and was forgotten (refuse: nobody may run it a second time). The third is decided by when the call
was first sent: later than everything forgotten means that it was never here.
"""

from typing import ClassVar

import msgspec

from brummer.core.errors import BrummerError, Outcome
from brummer.core.limits import DEFAULTS


class CallForgotten(BrummerError):
    """A call that may have run here, but whose result is not kept any more."""

    code = "call_forgotten"
    default_outcome: ClassVar[Outcome] = "unknown"


class Entry(msgspec.Struct):
    """``result`` is None while the call runs; times are seconds on the caller's clock."""

    key: str
    started_s: float
    ended_s: float | None = None
    result: bytes | None = None


class Ledger:
    """Bounded in entries, bytes of results and age. A running call is never forgotten."""

    def __init__(
        self,
        *,
        max_entries: int = DEFAULTS.ledger_entries,
        max_bytes: int = DEFAULTS.ledger_bytes,
        max_age_s: float = DEFAULTS.ledger_age_s,
    ) -> None:
        self._max_entries = max_entries
        self._max_bytes = max_bytes
        self._max_age_s = max_age_s
        self._entries: dict[str, Entry] = {}  # in the order in which they ended, the running ones anywhere
        self._bytes = 0
        self._forgotten_until_s = float("-inf")

    def __repr__(self) -> str:
        return f"<Ledger {len(self._entries)} entries, {self._bytes} bytes>"

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def size_bytes(self) -> int:
        """Of the results that are kept."""
        return self._bytes

    def find(self, key: str) -> Entry | None:
        return self._entries.get(key)

    def open(self, key: str, now_s: float, sent_s: float) -> Entry:
        """A new entry for a call first sent at ``sent_s``. Raises CallForgotten if it may have been here before."""
        if sent_s <= self._forgotten_until_s:
            raise CallForgotten(
                "the call may have run, but its result is not kept any more; look at scripts_status and changes_since"
                " before you repeat it"
            )
        entry = self._entries[key] = Entry(key, now_s)
        return entry

    def close(self, entry: Entry, result: bytes, now_s: float) -> None:
        """The call ended with this result; the oldest ended ones go if there are too many."""
        entry.result, entry.ended_s = result, now_s
        self._bytes += len(result)
        self._entries[entry.key] = self._entries.pop(entry.key)
        self._forget(now_s)

    def shed(self, now_s: float, *, older_than_s: float) -> None:
        """Forget results that nobody will ask for any more, because memory is short."""
        self._forget(now_s, older_than_s)

    def _forget(self, now_s: float, max_age_s: float | None = None) -> None:
        max_age_s = self._max_age_s if max_age_s is None else max_age_s
        for entry in list(self._entries.values()):
            if entry.result is None or entry.ended_s is None:
                continue
            too_many = len(self._entries) > self._max_entries or self._bytes > self._max_bytes
            if not too_many and now_s - entry.ended_s < max_age_s:
                return
            del self._entries[entry.key]
            self._bytes -= len(entry.result)
            self._forgotten_until_s = max(self._forgotten_until_s, entry.started_s)
