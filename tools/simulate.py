"""Many seeds of the simulation on all cores, or one with its trace.

    simulate.py [--seeds N] [--first SEED] [--seconds S] [--planted BUG] [--until-found] [--count]
    simulate.py --replay SEED [--planted BUG]

It prints what was wrong, the command that shows it, the speed, and a hash over all traces. The same version of Python
gives the same hash.
"""

import argparse
import hashlib
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from itertools import count, islice
from typing import TYPE_CHECKING

import planting

if TYPE_CHECKING:
    from brummer.testing.simulation.runner import Result

CHUNK = 8
"""Seeds that a worker gets at once: a quarter of a second of work."""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=200, help="how many")
    parser.add_argument("--first", type=int, default=0, help="the first of them")
    parser.add_argument("--seconds", type=float, help="as many as fit into this time, instead of a number")
    parser.add_argument("--replay", type=int, metavar="SEED", help="show the trace of this one")
    parser.add_argument("--planted", metavar="BUG", help="with this bug of tests/planted/bugs.toml")
    parser.add_argument("--until-found", action="store_true", help="end with the first seed that finds something")
    parser.add_argument("--count", action="store_true", help="tell how often each fault occurred")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    given = parser.parse_args()
    if given.planted:
        planting.plant(given.planted)
    if given.replay is not None:
        return replay(given.replay)
    return simulate(given)


def replay(seed: int) -> int:
    from brummer.testing.simulation.runner import run

    result = run(seed)
    print("\n".join(result.lines))
    print(f"\nseed {seed}: {result.calls} calls in {result.virtual_s:.0f} virtual seconds, trace {result.hash}")
    _print_found(result)
    return 1 if result.found else 0


def simulate(given: argparse.Namespace) -> int:
    began_s = time.monotonic()
    digest, schedules, calls, failed = hashlib.sha256(), 0, 0, 0
    happened: Counter[str] = Counter()
    for result in results(given.first, given.seeds, given.seconds, given.workers):
        schedules += 1
        calls += result.calls
        happened += result.happened
        digest.update(result.hash.encode())
        if result.found:
            failed += 1
            bug = f" BUG={given.planted}" if given.planted else ""
            print(f"seed {result.seed} (trace {result.hash}): make replay SEED={result.seed}{bug}")
            _print_found(result)
            sys.stdout.flush()
            if given.until_found:
                return 1
    took_s = time.monotonic() - began_s
    print(
        f"{schedules} schedules, {calls} calls judged, {failed} failed, in {took_s:.1f} s in {given.workers} processes:"
        f" {schedules / took_s:.1f} schedules/s, {calls / took_s:.0f} calls/s; all traces {digest.hexdigest()[:16]}"
    )
    if given.count:
        print("\n".join(f"{count:8} {kind}" for kind, count in sorted(happened.items())))
    return 1 if failed else 0


def results(first: int, seeds: int, seconds: float | None, workers: int) -> "Iterator[Result]":
    """In the order of the seeds. With ``seconds`` no chunk begins after them."""
    until_s = None if seconds is None else time.monotonic() + seconds
    starts = count(first, CHUNK) if seconds is not None else iter(range(first, first + seeds, CHUNK))
    last = None if seconds is not None else first + seeds
    pool = ProcessPoolExecutor(workers)
    try:
        pending = [pool.submit(some, start, last) for start in islice(starts, 2 * workers)]
        while pending:
            yield from pending.pop(0).result()
            if until_s is None or time.monotonic() < until_s:
                start = next(starts, None)
                if start is not None:
                    pending.append(pool.submit(some, start, last))
    finally:
        pool.shutdown(cancel_futures=True)


def some(first: int, last: int | None) -> "list[Result]":
    """Runs in a worker. It returns a trace only if something was wrong."""
    from brummer.testing.simulation.runner import run

    found = []
    for seed in range(first, first + CHUNK if last is None else min(first + CHUNK, last)):
        result = run(seed)
        result.lines.clear()
        found.append(result)
    return found


def _print_found(result: "Result") -> None:
    for what in result.found:
        print(f"    {what}")


if __name__ == "__main__":
    sys.exit(main())
