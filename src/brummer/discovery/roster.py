"""The instances that are listed now: a record adds one, and proof of its end removes it.

An instance is listed while its record is there and its owner is not proven dead. A record that is missing proves
nothing: if its owner lives and holds its life lock, another process removed the file, and the owner publishes it again.
So an instance ends by one of: its process is gone (the exit watch reports it at once, without a scan), its life lock
was given up, or, where neither can be asked, its record stayed away for three times as long as its owner promised.
"""

import asyncio
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

from brummer.discovery.events import Appeared, Changed, DirectoryEvent, Gone, GoneReason
from brummer.discovery.findings import Findings
from brummer.discovery.owners import does_not_exist, judge, reap
from brummer.discovery.record import Malformed, Newer, Record, file_name
from brummer.discovery.registrar import lock_path
from brummer.discovery.scan import RefusedFile, Sighting
from brummer.host.exits import ExitWatch, watch_exit
from brummer.host.locks import is_locked, was_released
from brummer.host.real_system import REAL
from brummer.host.system import System

RECORD_RETURN_S: Final = 15.0
"""Three times what an owner may take to publish again."""


class _Listed:
    """An instance in the list. ``watch`` is None if its pid is of another namespace."""

    __slots__ = ("missing_since", "record", "watch")

    def __init__(self, record: Record) -> None:
        self.record = record
        self.watch: ExitWatch | None = None
        self.missing_since: float | None = None

    def unwatch(self) -> None:
        if self.watch is not None:
            self.watch.close()


class Roster:
    """Turns sightings into events, which go to ``emit`` at once. No method awaits."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        findings: Findings,
        emit: Callable[[DirectoryEvent], None],
        system: System = REAL,
    ) -> None:
        self._loop = loop
        self._system = system
        self._findings = findings
        self._emit = emit
        self._listed: dict[str, _Listed] = {}
        self.is_shared = False
        """Other machines may write in this directory."""
        self.needs_another_scan = False
        """Since the last `begin_review`, an instance was seen whose end only another scan can show."""

    def __len__(self) -> int:
        return len(self._listed)

    def records(self) -> dict[str, Record]:
        return {instance_id: listed.record for instance_id, listed in self._listed.items()}

    def missing(self) -> dict[str, float]:
        """Those whose record is missing, and for how many seconds."""
        now = self._loop.time()
        since = {name: listed.missing_since for name, listed in self._listed.items()}
        return {name: now - missing_since for name, missing_since in since.items() if missing_since is not None}

    def close(self) -> None:
        for listed in self._listed.values():
            listed.unwatch()

    # A file.

    def apply(self, sighting: Sighting) -> None:
        """A file is new or has changed."""
        outcome, filename = sighting.outcome, sighting.filename
        self._findings.signatures[filename] = sighting.signature
        try:
            if isinstance(outcome, Record):
                self._apply_record(outcome)
            else:
                self._findings.refuse(filename, *_explain(outcome))
        except BaseException:
            self._findings.signatures[filename] = None  # the next scan reads it again
            raise

    def forget_if_gone(self, filename: str) -> None:
        """A name that is replaced while we list may be skipped by the kernel: ask for it by name."""
        if does_not_exist(self._directory / filename, self._system.files):
            self._findings.forget(filename)

    def _apply_record(self, record: Record) -> None:
        filename = file_name(record.instance_id)
        verdict = judge(self._directory, record, is_shared=self.is_shared, system=self._system)
        if verdict == "alive":
            self._findings.use(filename, self._list(record))
        elif verdict == "elsewhere":
            self._findings.refuse(filename, "other_machine", "another machine's, or from before the last boot")
        else:
            self._remove_dead(record)

    def _list(self, record: Record) -> Record:
        """The record that is listed now: the old object if nothing has changed."""
        listed = self._listed.get(record.instance_id)
        if listed is None:
            self._watch(_Listed(record))
            self._emit(Appeared(record))
        elif listed.record == record:
            return listed.record
        else:
            self._change(listed, record)
        return record

    def _change(self, listed: _Listed, record: Record) -> None:
        old, listed.record = listed.record, record
        if old.identity != record.identity:
            listed.unwatch()
            self._watch(_Listed(record))
        self._emit(Changed(old, record))

    def _watch(self, listed: _Listed) -> None:
        identity = listed.record.identity
        self._listed[listed.record.instance_id] = listed
        if self._system.processes.same_namespace(identity):
            on_exit = partial(self._end, listed, "process died")
            listed.watch = watch_exit(self._loop, identity, on_exit, self._system.processes)

    def _remove_dead(self, record: Record) -> None:
        """A record whose owner is proven dead: gone if it was listed, and removed."""
        listed = self._listed.get(record.instance_id)
        if listed is not None and listed.record.identity == record.identity:
            self._end(listed, "process died" if listed.watch else "life lock free")
        self._remove_file(record)

    # An instance.

    def listed(self) -> list[_Listed]:
        return list(self._listed.values())

    def begin_review(self) -> None:
        self.needs_another_scan = False

    def review(self, listed: _Listed) -> None:
        """Check what no event reports: life locks in other namespaces, and records that are missing."""
        record = listed.record
        if self._listed.get(record.instance_id) is not listed:
            return
        if self._findings.files.get(file_name(record.instance_id)) is not record:
            self._review_missing(listed)
            return
        listed.missing_since = None
        if listed.watch is not None:
            listed.watch.check_now()
        else:
            self.needs_another_scan = True
            if judge(self._directory, record, is_shared=self.is_shared, system=self._system) == "dead":
                self._end(listed, "life lock free")

    def _review_missing(self, listed: _Listed) -> None:
        now = self._loop.time()
        if listed.missing_since is None:
            listed.missing_since = now
        path = lock_path(self._directory, listed.record.instance_id)
        stayed_away = now - listed.missing_since > RECORD_RETURN_S
        if was_released(path, listed.record.pid, self._system):
            self._end(listed, "withdrawn")
        elif listed.watch is None and stayed_away and not is_locked(path, self._system):
            self._end(listed, "not published again")
        else:
            self.needs_another_scan = True

    def _end(self, listed: _Listed, reason: GoneReason) -> None:
        record = listed.record
        listed.unwatch()
        del self._listed[record.instance_id]
        self._emit(Gone(record, reason))
        if self._findings.files.get(file_name(record.instance_id)) is record:
            self._remove_file(record)

    def _remove_file(self, record: Record) -> None:
        filename = file_name(record.instance_id)
        if reap(self._directory, record, self._system):
            self._findings.forget(filename)  # and read whatever has taken its place
        else:
            self._findings.signatures[filename] = None  # the next scan reads it again
            self._findings.refuse(filename, "stale", "its owner is dead, and it can't be removed")

    @property
    def _directory(self) -> Path:
        return self._findings.directory


def _explain(outcome: Malformed | Newer | RefusedFile) -> tuple[str, str]:
    """(code, detail) of a problem."""
    if isinstance(outcome, Malformed):
        return "malformed", outcome.detail
    if isinstance(outcome, Newer):
        return "newer_version", f"version {outcome.version}, written by a later brummer"
    return outcome.code, outcome.detail
