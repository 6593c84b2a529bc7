"""How many branches of each package the unit tests take, against the floors in pyproject.toml.

``floors.py REPORT``, the JSON report of coverage. Prints a table. The exit status is 1 if a package is below its floor.
"""

import json
import sys
import tomllib
from collections import defaultdict
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parent.parent
PACKAGE: Final = "src/brummer/"


def taken_by_package(report: dict[str, Any]) -> dict[str, float]:
    """The share of branches taken, in percent."""
    taken: dict[str, int] = defaultdict(int)
    present: dict[str, int] = defaultdict(int)
    for path, file in report["files"].items():
        package, has_folder, _ = path.removeprefix(PACKAGE).partition("/")
        if has_folder:
            taken[package] += file["summary"]["covered_branches"]
            present[package] += file["summary"]["num_branches"]
    return {package: 100 * taken[package] / branches for package, branches in sorted(present.items()) if branches}


def floors() -> dict[str, float]:
    """By package."""
    found: dict[str, float] = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["branch-floors"]
    return found


def verdict(percent: float, floor: float | None) -> str:
    return "" if floor is None or percent >= floor else "BELOW ITS FLOOR"


def main() -> int:
    report = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    lowest, taken = floors(), taken_by_package(report)
    print(f"{'package':14} {'branches':>8} {'floor':>6}")
    for package, percent in taken.items():
        floor = lowest.get(package)
        print(f"{package:14} {percent:6.1f} % {floor or '-':>6} {verdict(percent, floor)}".rstrip())
    gone = sorted(lowest.keys() - taken.keys())
    for package in gone:
        print(f"{package:14} is no package, and has a floor")
    return 1 if gone or any(verdict(percent, lowest.get(package)) for package, percent in taken.items()) else 0


if __name__ == "__main__":
    sys.exit(main())
