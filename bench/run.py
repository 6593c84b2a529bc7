"""``make bench``: every measurement of this tree into one report, or those that ``ONLY`` names into one of their own.

Ratios are taken within one run: machines are noisy. With ``BASE=COMMIT`` this tree is compared with that commit instead
(`compare`).
"""

import importlib
import os
import sys
import tempfile
from pathlib import Path

import compare
from tables import Report

ALL = ("start", "hop", "relay", "metrics", "discovery", "managers")


def main(names: list[str]) -> int:
    if base := os.environ.get("BASE"):
        return compare.main(base, names)
    unknown = set(names) - set(ALL)
    if unknown:
        print(f"unknown: {', '.join(unknown)}; there is {', '.join(ALL)}", file=sys.stderr)
        return 2
    report = Report("-".join(["bench", *names]))
    for name in names or ALL:
        with tempfile.TemporaryDirectory(prefix="brummer-bench-") as folder:
            importlib.import_module(name).measure(report, Path(folder))
    report.write()
    return 0


if __name__ == "__main__":
    sys.exit(main(os.environ.get("ONLY", "").split()))
