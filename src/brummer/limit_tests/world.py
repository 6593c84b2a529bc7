"""A directory with hubs and instances for tests of limits: separate from all others, and removed afterwards."""

import contextlib
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from brummer.discovery.directory import VARIABLE, black_box_directory
from brummer.instance.service import Instance, Options, running_instance
from brummer.limit_tests.direct_client import DirectClient
from brummer.limit_tests.held_calls import HeldCalls
from brummer.limit_tests.hub_process import HubProcess
from brummer.limit_tests.signal import Signal
from brummer.settings.limits import Limits
from brummer.settings.table import TABLE
from brummer.settings.types import DURATION

_LIFTED: Final[dict[str, Any]] = {
    setting.limit: int(setting.kind.most) for setting in TABLE if setting.limit and setting.kind.most
}
"""Every limit at its highest value: only the tested one may take effect."""

_UNWANTED: Final = frozenset({"BRUMMER_TRACES", "BRUMMER_CONNECTIVITY_ENDPOINTS"})


class LimitTestWorld:
    """``directory`` is empty and used by nothing else; ``environ`` is the user's environment."""

    def __init__(self, directory: Path, environ: Mapping[str, str]) -> None:
        self._directory = directory
        self.changed = Signal()
        self._environ = {
            **{name: value for name, value in environ.items() if name not in _UNWANTED},
            VARIABLE: str(directory / "instances"),
            "HOME": str(directory),  # without the user's settings
            "BRUMMER_USE_ROBUST_NETWORKING": "true",
            "BRUMMER_LOGIND": "false",
        }

    def held_calls(self) -> HeldCalls:
        return HeldCalls(self.changed)

    def hub(
        self, descriptors: int | None = None, /, **limits: float
    ) -> contextlib.AbstractAsyncContextManager[HubProcess]:
        """A hub with these limits, by their names in `Limits`; all others are at their highest value.

        ``descriptors``: the limit on open files with which it starts.
        """
        environ = {**self._environ, **_variables(limits)}
        return HubProcess.running(self._directory, environ, self.changed, descriptors)

    def black_box_of(self, instance: Instance) -> Path:
        """The directory of its journal."""
        return black_box_directory(self._environ) / instance.record.instance_id

    @contextlib.asynccontextmanager
    async def instance(
        self, name: str, held: HeldCalls, files: Mapping[str, str] | None = None, **limits: float
    ) -> AsyncIterator[Instance]:
        """An instance of a project with these files. Limits: as for `hub`."""
        project = self._directory / name
        project.mkdir(exist_ok=True)
        for path, text in (files or {}).items():
            (project / path).write_text(text)
        chosen = msgspec.structs.replace(Limits(**_LIFTED), **limits)
        further = held.tools()
        async with running_instance(Options(project), self._environ, limits=chosen, further_tools=further) as instance:
            yield instance

    @contextlib.asynccontextmanager
    async def linked(
        self,
        *held: HeldCalls,
        descriptors: int | None = None,
        instance_limits: Mapping[str, float] | None = None,
        **limits: float,
    ) -> AsyncIterator[tuple[HubProcess, list[Instance]]]:
        """A hub with these limits, and one instance for each of ``held``, which the hub can reach."""
        async with contextlib.AsyncExitStack() as stack:
            instances = [
                await stack.enter_async_context(self.instance(f"shop-{number}", each, None, **(instance_limits or {})))
                for number, each in enumerate(held)
            ]
            hub = await stack.enter_async_context(self.hub(descriptors, **limits))
            await ready(hub, *instances)
            yield hub, instances

    @contextlib.asynccontextmanager
    async def direct(
        self, held: HeldCalls, files: Mapping[str, str] | None = None, **limits: float
    ) -> AsyncIterator[tuple[Instance, DirectClient]]:
        """An instance with these limits, and a client of it."""
        async with self.instance("shop", held, files, **limits) as shop, DirectClient.connected(shop) as client:
            yield shop, client


def _variables(limits: Mapping[str, float]) -> dict[str, str]:
    found = {}
    for setting in TABLE:
        if setting.limit:
            value = limits.get(setting.limit, _LIFTED[setting.limit])
            found[setting.variable] = f"{value}s" if setting.kind is DURATION else str(value)
    return found


async def ready(hub: HubProcess, *instances: Instance) -> None:
    """Return when the hub can reach them; the whole test of a limit has a time limit."""
    for instance in instances:
        while await hub.state_of(instance.record.instance_id) != "ready":
            pass
