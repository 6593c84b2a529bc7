"""The event loop's runner: the settings of the process while a command runs."""

import gc
from collections.abc import Iterator

import pytest

from brummer.host import loop


@pytest.fixture(autouse=True)
def collector() -> Iterator[None]:
    """The settings of this process, as they were."""
    threshold, enabled = gc.get_threshold(), gc.isenabled()
    yield
    gc.set_threshold(*threshold)
    gc.unfreeze()
    if enabled:
        gc.enable()


def test_garbage_is_collected_while_the_loop_runs_though_the_start_turned_it_off() -> None:
    async def is_collected() -> int:
        return int(gc.isenabled())

    gc.disable()
    assert loop.run(is_collected()) == 1
