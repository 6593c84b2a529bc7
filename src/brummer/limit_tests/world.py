"""Where limits are tested: a directory, hubs and instances of its own, that nobody else sees and that leave nothing."""

import contextlib
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from brummer.discovery.directory import VARIABLE, black_box_directory
from brummer.instance.service import Instance, Options, running_instance
from brummer.limit_tests.held_calls import Holding
from brummer.limit_tests.hub_process import HubProcess
from brummer.limit_tests.signal import Signal
from brummer.settings.limits import Limits
from brummer.settings.table import TABLE
from brummer.settings.types import DURATION

_LIFTED: Final[dict[str, Any]] = {
    setting.limit: int(setting.kind.most) for setting in TABLE if setting.limit and setting.kind.most
}
"""Every limit as high as can be set: the one that is tested must be the one that holds."""

_UNWANTED: Final = frozenset({"BRUMMER_TRACES", "BRUMMER_CONNECTIVITY_ENDPOINTS"})


class World:
    """``directory`` is empty, and belongs to nobody else; ``environ`` is what the user has."""

    def __init__(self, directory: Path, environ: Mapping[str, str]) -> None:
        self._directory = directory
        self.changed = Signal()
        self._environ = {
            **{name: value for name, value in environ.items() if name not in _UNWANTED},
            VARIABLE: str(directory / "instances"),
            "HOME": str(directory),  # the user's settings are no concern of what is tested here
            "BRUMMER_USE_ROBUST_NETWORKING": "true",
            "BRUMMER_LOGIND": "false",
        }

    def holding(self) -> Holding:
        return Holding(self.changed)

    def hub(
        self, descriptors: int | None = None, /, **limits: float
    ) -> contextlib.AbstractAsyncContextManager[HubProcess]:
        """With these limits, by their names in `Limits`; all others are lifted. ``descriptors``: it begins with so
        few.
        """
        environ = {**self._environ, **_variables(limits)}
        return HubProcess.running(self._directory, environ, self.changed, descriptors)

    def black_box_of(self, instance: Instance) -> Path:
        """Where it keeps what its scripts printed."""
        return black_box_directory(self._environ) / instance.record.instance_id

    @contextlib.asynccontextmanager
    async def instance(
        self, name: str, holding: Holding, files: Mapping[str, str] | None = None, **limits: float
    ) -> AsyncIterator[Instance]:
        """In a project with these files. Limits: as for `hub`."""
        project = self._directory / name
        project.mkdir(exist_ok=True)
        for path, text in (files or {}).items():
            (project / path).write_text(text)
        chosen = msgspec.structs.replace(Limits(**_LIFTED), **limits)
        further = holding.tools()
        async with running_instance(Options(project), self._environ, limits=chosen, further_tools=further) as instance:
            yield instance


def _variables(limits: Mapping[str, float]) -> dict[str, str]:
    found = {}
    for setting in TABLE:
        if setting.limit:
            value = limits.get(setting.limit, _LIFTED[setting.limit])
            found[setting.variable] = f"{value}s" if setting.kind is DURATION else str(value)
    return found


async def ready(hub: HubProcess, *instances: Instance) -> None:
    """Return when the hub can reach them; whoever drives a limit has a time limit for all of it."""
    for instance in instances:
        while await hub.state_of(instance.record.instance_id) != "ready":
            pass
