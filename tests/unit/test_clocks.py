"""Who reads which clock is decided in `brummer.core.clock`; here it is held."""

import re
from pathlib import Path

import brummer
from brummer.core import clock as clock_module
from brummer.host import clocks

SOURCES = Path(brummer.__file__).parent
READS = re.compile(r"\btime\.(?:time|time_ns|monotonic|monotonic_ns|perf_counter|perf_counter_ns|clock_gettime)\b")
ALLOWED = {
    "host/clocks.py": "the clocks themselves",
    "process/guard_main.py": "runs alone, without the rest of the package; waits two seconds",
}


def readers() -> set[str]:
    return {str(path.relative_to(SOURCES)) for path in SOURCES.rglob("*.py") if READS.search(path.read_text("utf-8"))}


def test_nobody_reads_a_clock_of_the_system_without_a_reason() -> None:
    assert readers() - set(ALLOWED) == set()


def test_no_reason_has_outlived_its_reader() -> None:
    assert set(ALLOWED) - readers() == set()


def test_the_page_that_decides_names_every_clock_there_is() -> None:
    documentation = clock_module.__doc__ or ""
    assert all(name in documentation for name in ("awake", "elapsed", "wall"))


def test_the_clocks_of_this_machine_go_forward_together() -> None:
    clock = clocks
    before, after = clock.reading(), clock.reading()
    assert after.awake_s >= before.awake_s
    assert after.elapsed_s >= before.elapsed_s
    assert abs(after.asleep_s - before.asleep_s) < 0.01
