"""The second half of ``make chaos``: 5,000 calls (``CALLS=…``) that change something, through two hubs.

Connections are cut with answers held back, instances are stopped, frozen and killed, ledgers keep three entries, and
clients cancel. The instances record what they ran; the exit status is 1 if an answer was not true
(tests/integration/scenarios/exactly_once.py). ``SEED=…`` repeats the choices, ``--no-report`` leaves
reports/exactly-once.md as it is.
"""

import asyncio
import os
import random
import sys
import tempfile
from pathlib import Path

from tables import Report

sys.path.insert(0, str(Path(__file__).parent.parent))
from tests.integration.scenarios.exactly_once import exactly_once


def main(arguments: list[str]) -> int:
    calls = int(os.environ.get("CALLS", "5000"))
    seed = int(os.environ.get("SEED", str(random.SystemRandom().randrange(10_000))))
    print(f"seed {seed}", flush=True)
    with tempfile.TemporaryDirectory(prefix="brummer-exactly-once-") as folder:
        run = asyncio.run(exactly_once(Path(folder), calls, seed))
    report = Report("exactly-once")
    title = f"{calls} calls in {run.took_s:.0f} s, two hubs, seed {seed}"
    report.table(title, ("instance", "calls", "outcomes", "faults"), run.rows())
    report.table("Promises broken", ("promise",), [(problem,) for problem in run.problems[:50]] or [("none",)])
    if "--no-report" not in arguments:
        report.write()
    return 1 if run.problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
