"""``brum doctor``: print what was found; exit status 1 when something is wrong."""

import asyncio
import os
from pathlib import Path

from brummer.core import json_text
from brummer.discovery.record import displayable
from brummer.host import loop
from brummer.hub.doctor import Finding, examine

MARKS = {"ok": "ok   ", "note": "note ", "wrong": "WRONG"}


def run(*, as_json: bool) -> int:
    """Returns the exit status."""

    async def main() -> int:
        findings = await examine(os.environ, await asyncio.to_thread(Path.home))
        if as_json:
            print(json_text.indented({"findings": findings}))
        else:
            for finding in findings:
                _print(finding)
        return 1 if any(finding.verdict == "wrong" for finding in findings) else 0

    return loop.run(main())


def _print(finding: Finding) -> None:
    print(displayable(f"{MARKS[finding.verdict]}  {finding.subject}: {finding.detail}"))
    if finding.advice:
        print(displayable(f"       {'→'} {finding.advice}"))
