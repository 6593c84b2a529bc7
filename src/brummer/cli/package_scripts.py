"""Short names: in a package of a workspace, its scripts are called as the package's own file calls them."""

import asyncio
from collections.abc import Iterable
from pathlib import Path

from brummer.cli.project import Project


async def package_scripts(project: Project) -> dict[str, str]:
    """By short name, the names of the scripts of the workspace's package in which the user stands. Empty if they stand
    in none, or no instance runs.
    """
    record = project.find()
    if record is None or Path(record.directory) == project.place:  # nearly always: no file needs to be read then
        return {}
    return await asyncio.to_thread(_read, Path(record.directory), project.place)


async def full_names(project: Project, names: Iterable[str]) -> list[str]:
    """The names that the instance knows; one that is not a short name here stays as it is."""
    wanted = list(names)
    short = await package_scripts(project) if wanted else {}
    return [short.get(name, name) for name in wanted]


def _read(directory: Path, place: Path) -> dict[str, str]:
    from brummer.instance.default_scripts import package_at
    from brummer.instance.scripts import ScriptList

    scripts = ScriptList(directory).read().scripts.values()
    package = package_at(scripts, directory, place)
    return {each.short_name: each.name for each in scripts if each.package == package} if package else {}
