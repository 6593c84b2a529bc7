"""The files of all journals, and which are removed so that their disk space stays bounded."""

import os
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Final

from brummer.logs.journal.record_format import Stem, parse

RUNS_OF_A_SCRIPT: Final = 10
"""Past runs; a crash loop must not displace the output of other scripts."""
PROJECTS: Final = 50
PROJECT_AGE_S: Final = 30 * 86_400.0
"""Both are for the journals of all projects, which any instance removes; a setting of one would be the user's."""
FILES: Final = 20_000
"""The most that are listed; ours are some hundreds."""
_BLOCK: Final = 4096


@dataclass(slots=True)
class StoredRun:
    """The files of one run: ``facts`` is None where they are missing; ``segments`` by the lines before them."""

    stem: Stem
    facts: Path | None = None
    segments: dict[int, Path] = field(default_factory=dict)
    size_bytes: int = 0
    written_s: float = 0.0

    @property
    def paths(self) -> list[Path]:
        return [*([self.facts] if self.facts else []), *self.segments.values()]


def stored_runs(directory: Path) -> list[StoredRun]:
    """Every run with files here, the latest of the latest generation first. Raises OSError."""
    runs: dict[Stem, StoredRun] = {}
    with os.scandir(directory) as entries:
        for entry in islice(entries, FILES):
            if (named := parse(entry.name)) is None:
                continue
            stem, before = named
            try:
                status = entry.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue  # another segment has taken its place
            run = runs.setdefault(stem, StoredRun(stem))
            run.size_bytes += max(status.st_size, _BLOCK)
            run.written_s = max(run.written_s, status.st_mtime)
            if before is None:
                run.facts = Path(entry.path)
            else:
                run.segments[before] = Path(entry.path)
    latest: dict[str, float] = {}
    for run in runs.values():
        generation = run.stem.generation
        latest[generation] = max(latest.get(generation, 0.0), run.written_s)
    return sorted(
        runs.values(), key=lambda run: (latest[run.stem.generation], run.stem.generation, run.stem.number), reverse=True
    )


def tidy_project(directory: Path, keep: Collection[Stem], limit_bytes: int) -> None:
    """Remove the oldest runs that are too many, or too large together with those to keep. If these alone are too
    large, their oldest lines go, of the largest first. Raises OSError.
    """
    found = stored_runs(directory)
    kept = [run for run in found if run.stem in keep]
    left_bytes = limit_bytes - sum(run.size_bytes for run in kept)
    _shorten(kept, -left_bytes)
    runs: Counter[str] = Counter()
    for run in found:
        if run.stem in keep:
            continue
        runs[run.stem.script] += 1
        left_bytes -= run.size_bytes
        if left_bytes < 0 or runs[run.stem.script] > RUNS_OF_A_SCRIPT:
            for path in run.paths:
                path.unlink(missing_ok=True)


def _shorten(runs: list[StoredRun], excess_bytes: int) -> None:
    """Remove the oldest files of the largest runs; each run keeps the file that is being written."""
    while excess_bytes > 0:
        run = max(runs, key=lambda run: (len(run.segments) > 1, run.size_bytes), default=None)
        if run is None or len(run.segments) <= 1:
            return
        oldest = run.segments.pop(min(run.segments))
        freed = max(oldest.stat().st_size, _BLOCK)
        oldest.unlink()
        run.size_bytes -= freed
        excess_bytes -= freed


def tidy_projects(root: Path, keep: Path, now_s: float) -> None:
    """Remove the journals of projects that were not used for `PROJECT_AGE_S`, and if more than `PROJECTS` are left, the
    oldest. The instance of any project removes those of all others. Raises OSError.
    """
    import shutil  # noqa: PLC0415 - takes 5 ms, which an instance's start does not have

    with os.scandir(root) as entries:
        found = [Path(entry.path) for entry in islice(entries, FILES) if entry.is_dir(follow_symlinks=False)]
    used = sorted(((_last_use_s(path), path) for path in found if path != keep), reverse=True)
    for place, (used_s, path) in enumerate(used, start=1):
        if place >= PROJECTS or now_s - used_s > PROJECT_AGE_S:
            shutil.rmtree(path, ignore_errors=True)


def _last_use_s(project: Path) -> float:
    try:
        with os.scandir(project) as entries:
            written = [entry.stat(follow_symlinks=False).st_mtime for entry in islice(entries, FILES)]
        return max(written, default=project.stat().st_mtime)
    except OSError:
        return 0.0
