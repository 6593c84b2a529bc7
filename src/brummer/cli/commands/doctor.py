"""``brum doctor``: checks, and what to do."""

import argparse
import os
from pathlib import Path
from typing import Final

from brummer.cli import options
from brummer.cli.messages import print_json
from brummer.discovery.record import displayable
from brummer.host import loop

DETAILS: Final = "Exit status 1 when something is wrong."
MARKS: Final = {"ok": "ok   ", "note": "note ", "wrong": "WRONG"}


def add_options(parser: argparse.ArgumentParser) -> None:
    options.add_json(parser)


def run(chosen: argparse.Namespace) -> int:
    from brummer.cli.mcp_clients import SettingsPlaces
    from brummer.cli.settings_of_clients import configured_agents
    from brummer.hub.doctor import examine

    async def main() -> int:
        findings = await examine(os.environ, lambda: configured_agents(SettingsPlaces.of_this_user(), Path()))
        if chosen.json:
            print_json({"findings": findings})
        else:
            for finding in findings:
                print(displayable(f"{MARKS[finding.verdict]}  {finding.subject}: {finding.detail}"))
                if finding.advice:
                    print(displayable(f"       → {finding.advice}"))
        return 1 if any(finding.verdict == "wrong" for finding in findings) else 0

    return loop.run(main())
