"""``make bench``: every measurement of this tree into one report, or those that ``ONLY`` names into one of their own.

Ratios are taken within one run: machines are noisy. With ``BASE=COMMIT`` this tree is compared with that commit instead
(`compare`). The exit status is 1 if a measurement has a goal that is missed.
"""

import importlib
import os
import sys
import tempfile
from pathlib import Path

import compare
from tables import Report

ALL = ("start", "hop", "relay", "metrics", "discovery", "managers")
ON_DEMAND = ("views",)
"""These take minutes more, and a browser."""


def main(names: list[str]) -> int:
    if base := os.environ.get("BASE"):
        return compare.main(base, names)
    unknown = set(names) - {*ALL, *ON_DEMAND}
    if unknown:
        print(f"unknown: {', '.join(unknown)}; there is {', '.join((*ALL, *ON_DEMAND))}", file=sys.stderr)
        return 2
    report = Report("-".join(["bench", *names]))
    misses_goals = False
    for name in names or ALL:
        with tempfile.TemporaryDirectory(prefix="brummer-bench-") as folder:
            misses_goals |= importlib.import_module(name).measure(report, Path(folder)) is False
    report.write()
    return int(misses_goals)


if __name__ == "__main__":
    sys.exit(main(os.environ.get("ONLY", "").split()))
