"""Files with the bytes that answers have. ``GOLDEN=write .venv/bin/pytest FILE`` writes those of a test file anew."""

import os
from collections.abc import Sequence
from itertools import zip_longest
from pathlib import Path

import pytest


def assert_golden(file: Path, lines: Sequence[bytes]) -> None:
    """Compare the lines with the file; or write them into it, which fails so that nobody takes it for a test."""
    if os.environ.get("GOLDEN") == "write":
        file.write_bytes(b"".join(line + b"\n" for line in lines))
        pytest.fail(f"{file.name} was written: read its git diff, and run the test again without GOLDEN", pytrace=False)
    for number, (now, before) in enumerate(zip_longest(lines, file.read_bytes().splitlines()), 1):
        if now != before:
            pytest.fail(
                f"line {number} of {file.name} was\n  {before!r}\nand is now\n  {now!r}\n"
                "If that is intended, run this test once with GOLDEN=write.",
                pytrace=False,
            )
