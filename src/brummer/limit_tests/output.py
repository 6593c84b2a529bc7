"""The limit on what an instance keeps of its scripts' output: a flood displaces itself, and whoever reads is told."""

import sys
from typing import Final

from brummer.limit_tests.answers import OK
from brummer.limit_tests.direct_client import Straight
from brummer.limit_tests.finding import Measured
from brummer.limit_tests.world import World
from brummer.logs.output import LINE_BYTES, Batch

TEXT_BYTES: Final = 1_000
TIMES: Final = 2
"""How much more than fits is printed."""
FLOOD_PY: Final = """\
import sys
for number in range(int(sys.argv[1])):
    print(f"{number:09}".ljust(int(sys.argv[2]), "x"))
"""


async def size(world: World, limit: int) -> Measured:
    """Of memory."""
    line_bytes = TEXT_BYTES + LINE_BYTES
    lines = TIMES * limit // line_bytes
    python = f"exec {sys.executable!r} -I"
    files = {
        "Procfile": f"flood: {python} flood.py {lines} {TEXT_BYTES}\nafter: {python} flood.py 1 20\n",
        "flood.py": FLOOD_PY,
    }
    async with (
        world.instance("shop", world.holding(), files, output_bytes=limit) as shop,
        Straight.to(shop) as straight,
    ):
        log = shop.manager.output.log
        most = 0

        def note(_: Batch) -> None:
            nonlocal most
            most = max(most, log.size_bytes)

        shop.manager.output.follow(note)
        await straight.call("scripts_run", name="flood", wait="exit")
        gone = log.last_n - len(log)
        told = await _dropped(straight, f"{shop.record.generation}.0")
        await straight.call("scripts_run", name="after", wait="exit")
        after = await straight.call("logs_tail", process="after")
        recovered = after.code == OK and len(after.decoded()["lines"]) == 1
    return Measured(limit, most, limit - 2 * line_bytes, gone, "dropped", {"dropped": told}, recovered)


async def _dropped(straight: Straight, cursor: str) -> int:
    """What a reader of all pages is told."""
    dropped, more = 0, True
    while more:
        page = (await straight.call("logs_tail", cursor=cursor, limit=5_000)).decoded()
        dropped, cursor, more = dropped + page["dropped"], page["next_cursor"], page.get("more", False)
    return dropped
