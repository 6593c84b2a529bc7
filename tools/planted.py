"""Does the simulation find each planted bug? If a recorded seed finds it no longer, another is searched for.

    planted.py [--record] [--seeds N] [BUG…]

Prints for each bug the seed that finds it, how many seeds that took, and the command that shows it. Fails if no seed
finds a bug. ``--record`` writes the new seeds into the file, and into docs/simulation.md.
"""

import argparse
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import planted_table
import planting

SIMULATE = Path(__file__).with_name("simulate.py")
SEEDS = 2000
"""The search for a bug ends after so many schedules."""

FOUND = re.compile(r"^seed (\d+) ", re.MULTILINE)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--record", action="store_true")
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("bugs", nargs="*", metavar="BUG")
    given = parser.parse_args()
    known = planting.bugs()
    names = given.bugs or [*known]
    missed = 0
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        found = pool.map(lambda name: find(name, known[name]["seed"], given.seeds), names)
        for name, (seed, tried) in zip(names, found, strict=True):
            if seed is None:
                missed += 1
                print(f"{name}: not found by {tried} seeds", flush=True)
                continue
            how = "as recorded" if tried == 1 else f"after {tried} seeds"
            print(f"{name}: seed {seed}, {how}: make replay SEED={seed} BUG={name}", flush=True)
            if given.record:
                planting.record(name, seed)
    if given.record:
        planted_table.main()
    return 1 if missed else 0


def find(name: str, recorded: int, seeds: int) -> tuple[int | None, int]:
    """(the seed, how many were tried)."""
    if (seed := first(name, recorded, 1)) is not None:
        return seed, 1
    seed = first(name, 0, seeds)
    return seed, seeds if seed is None else seed + 1


def first(name: str, start: int, seeds: int) -> int | None:
    """The first seed from there that finds the bug."""
    command = [sys.executable, str(SIMULATE), "--planted", name, "--first", str(start), "--seeds", str(seeds)]
    command += ["--until-found", "--workers", "1"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    if ended.returncode not in (0, 1) or (ended.returncode and not FOUND.search(ended.stdout)):
        raise SystemExit(f"{name}: {ended.stdout}{ended.stderr}")
    found = FOUND.search(ended.stdout)
    return int(found[1]) if found else None


if __name__ == "__main__":
    sys.exit(main())
