"""What an instance remembers of the calls it has run: call key → running or result. Pure: time is passed in.

A hub that lost its connection sends the call again with the same key. Then there are three cases:
the key is here (attach, or return the original result); it was never here (run it now); or it may have been here and
was forgotten (refuse: it must not run a second time).

The order of the ledger alone decides the third case, because times that were measured on two machines, or over two
requests, can't be compared. The ledger's *position* is the number of calls that it has opened. Every proof of identity
and every refusal contains it, and a call carries the position that its hub knew when it first sent the call. If the
call was ever opened here, it was opened at this position or later. So it can be forgotten only if an entry that was
opened at this position or later has been forgotten.
"""

import msgspec

from brummer.settings.limits import DEFAULTS


class LedgerEntry(msgspec.Struct):
    """``number``: the ledger's position when it was opened. ``result`` is None while the call runs."""

    key: str
    number: int
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
        self._entries: dict[str, LedgerEntry] = {}  # in the order in which they ended, the running ones anywhere
        self._bytes = 0
        self._forgotten_before = 0
        self.position = 0

    def __repr__(self) -> str:
        return f"<Ledger {len(self._entries)} entries, {self._bytes} bytes>"

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def size_bytes(self) -> int:
        """Of the results that are kept."""
        return self._bytes

    def find(self, key: str) -> LedgerEntry | None:
        return self._entries.get(key)

    def may_have_forgotten(self, position: int) -> bool:
        """A call that is not here, and was first sent when the ledger had this position, may have been here."""
        return position < self._forgotten_before

    def open(self, key: str) -> LedgerEntry:
        """A new entry, for a call that begins now."""
        entry = self._entries[key] = LedgerEntry(key, self.position)
        self.position += 1
        return entry

    def close(self, entry: LedgerEntry, result: bytes, now_s: float) -> None:
        """The call ended with this result; the oldest ended ones go if there are too many."""
        entry.result, entry.ended_s = result, now_s
        self._bytes += len(result)
        self._entries[entry.key] = self._entries.pop(entry.key)
        self._forget(now_s)

    def shed(self, now_s: float, *, older_than_s: float) -> None:
        """Memory is short: forget results that no hub will request any more."""
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
            self._forgotten_before = max(self._forgotten_before, entry.number + 1)
