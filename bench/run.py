"""``make bench``: every measurement into one report, or those that are named into one of their own.

Ratios are taken within one run: machines are noisy.
"""

import importlib
import sys
import tempfile
from pathlib import Path

from tables import Report

ALL = ("start", "hop", "relay", "metrics", "discovery", "managers")


def main(names: list[str]) -> int:
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
    sys.exit(main(sys.argv[1:]))
