"""Tables of measurements: printed as they stand in `reports/`."""

import platform
import statistics
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

REPORTS = Path(__file__).parent.parent / "reports"


def percentile(values: Sequence[float], percent: float) -> float:
    """Nearest rank over the sorted values."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]


def median(values: Sequence[float]) -> float:
    return statistics.median(values)


class Report:
    """Collects titled tables; prints each at once and writes all of them as one Markdown file."""

    def __init__(self, name: str) -> None:
        self._path = REPORTS / f"{name}.md"
        python = platform.python_version()
        when = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
        self._parts = [f"# {name}\n\n{when}, Python {python}, {platform.system()} {platform.release()}"]

    def table(self, title: str, header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        """Print the table and keep it for the file."""
        cells = [list(header), *([_text(cell) for cell in row] for row in rows)]
        widths = [max(len(row[column]) for row in cells) for column in range(len(header))]
        lines = [_line(row, widths) for row in cells]
        lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
        part = f"## {title}\n\n" + "\n".join(lines)
        self._parts.append(part)
        print(f"\n{part}", flush=True)

    def write(self) -> None:
        REPORTS.mkdir(exist_ok=True)
        self._path.write_text("\n\n".join(self._parts) + "\n")
        print(f"\nwritten to {REPORTS.name}/{self._path.name}")


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    return "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"


def _text(cell: object) -> str:
    return f"{cell:.3g}" if isinstance(cell, float) else str(cell)


if __name__ == "__main__":
    sys.exit("run bench/run.py")
