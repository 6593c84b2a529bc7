"""The page's parts that decide: run by Node, without a browser."""

import re
import subprocess
from pathlib import Path


def test_answers_become_rows_and_words(node: Path, js: Path) -> None:
    command = [str(node), "--test", "--test-reporter=tap", str(js / "page_parts.test.js")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    counts = dict(re.findall(r"^# (\w+) (\d+)$", done.stdout, re.MULTILINE))
    assert done.returncode == 0, done.stdout + done.stderr
    assert int(counts["pass"]) >= 20
    assert counts["fail"] == counts["skipped"] == "0"
