"""Both event loops: a test module that lists this file in `pytest_plugins` runs its tests on each.

The standard one, and uvloop, which is the one that ships where there is a wheel of it.
"""

import asyncio
import contextlib
from collections.abc import Callable, Mapping

import pytest

LoopFactory = Callable[[], asyncio.AbstractEventLoop]


def _loops() -> dict[str, LoopFactory]:
    loops: dict[str, LoopFactory] = {"asyncio": asyncio.new_event_loop}
    with contextlib.suppress(ImportError):
        import uvloop  # noqa: PLC0415 — not there on every platform

        loops["uvloop"] = uvloop.new_event_loop
    return loops


def pytest_asyncio_loop_factories(item: pytest.Function) -> Mapping[str, LoopFactory]:
    """Asked for every asynchronous test there is; all others keep the standard loop."""
    wanted = __name__ in getattr(item.module, "pytest_plugins", ())
    return _loops() if wanted else {"asyncio": asyncio.new_event_loop}
