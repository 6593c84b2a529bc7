"""The limit on an instance's memory of output: new lines displace old ones, and a reader learns how many are lost."""

import sys
from typing import Final

from brummer.limit_tests.answers import OK
from brummer.limit_tests.direct_client import DirectClient
from brummer.limit_tests.finding import Measured
from brummer.limit_tests.world import LimitTestWorld
from brummer.logs.output import LINE_BYTES, Batch

TEXT_BYTES: Final = 1_000
OUTPUT_TIMES: Final = 2
"""The scripts print this multiple of the limit."""
FLOOD_PY: Final = """\
import sys
for number in range(int(sys.argv[1])):
    print(f"{number:09}".ljust(int(sys.argv[2]), "x"))
"""


async def size(world: LimitTestWorld, limit: int) -> Measured:
    """Bytes of memory for lines."""
    line_bytes = TEXT_BYTES + LINE_BYTES
    lines = OUTPUT_TIMES * limit // line_bytes
    python = f"exec {sys.executable!r} -I"
    files = {
        "Procfile": f"flood: {python} flood.py {lines} {TEXT_BYTES}\nafter: {python} flood.py 1 20\n",
        "flood.py": FLOOD_PY,
    }
    async with world.direct(world.held_calls(), files, output_bytes=limit) as (shop, client):
        log = shop.manager.output.log
        most = 0

        def note(_: Batch) -> None:
            nonlocal most
            most = max(most, log.size_bytes)

        shop.manager.output.follow(note)
        await client.call("scripts_run", name="flood", wait="exit")
        lost = log.last_n - len(log)
        reported = await _dropped(client, f"{shop.record.generation}.0")
        await client.call("scripts_run", name="after", wait="exit")
        after = await client.call("logs_tail", process="after")
        recovered = after.code == OK and len(after.decoded()["lines"]) == 1
    return Measured(limit, most, limit - 2 * line_bytes, lost, "dropped", {"dropped": reported}, recovered)


async def _dropped(client: DirectClient, cursor: str) -> int:
    """The sum of the lost lines that all pages report."""
    dropped, more = 0, True
    while more:
        page = (await client.call("logs_tail", cursor=cursor, limit=5_000)).decoded()
        dropped, cursor, more = dropped + page["dropped"], page["cursor"], page.get("more", False)
    return dropped
