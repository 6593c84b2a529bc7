"""``[scripts]`` in .brum.toml: scripts of the user's own, and options for those that were found elsewhere.

An error in it is reported with its line. Only the wrong option is ignored; the rest of the script, and all other
scripts, stay.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec

from brummer.core.errors import shown
from brummer.instance.detect import PROBLEMS_LIMIT, Mistake, Script
from brummer.instance.detect.dependencies import without_cycles
from brummer.instance.detect.project import ProjectDirectory
from brummer.instance.detect.script_options import OPTIONS, Wrong, command, meant
from brummer.settings import toml_file
from brummer.settings.table import FILE_NAME

COMMAND = "command"


class Declared:
    """What the file says. `scripts` are complete; `settle` does what needs to know all the others."""

    def __init__(self, text: str, project: ProjectDirectory) -> None:
        self.scripts: dict[str, Script] = {}
        self.problems: list[Mistake] = []
        self._changes: dict[str, dict[str, Any]] = {}
        self._project = project
        try:
            self._file = toml_file.load(Path(FILE_NAME), text)
        except toml_file.SettingsInvalid as error:
            self._file = toml_file.TomlFile(Path(FILE_NAME), {}, "")
            self.problems.append(Mistake(FILE_NAME, error.line, error.what))
        scripts = self._file.table.get("scripts", {})
        if not isinstance(scripts, dict):
            self._wrong((), "not a table, as in [scripts.dev]")
            return
        for name, entry in scripts.items():
            self._declare(name, entry)

    def settle(self, scripts: dict[str, Script]) -> None:
        """Change the scripts that were found elsewhere, and keep only dependencies that exist and form no cycle."""
        for name, options in self._changes.items():
            if name in scripts:
                scripts[name] = _changed(scripts[name], {**options, "hidden": False})
            else:
                self._wrong((name,), "has no command, and no script of this name was found elsewhere", name, scripts)
        wanted = {name: self._known(script, scripts) for name, script in scripts.items() if script.depends_on}
        graph, cycles = without_cycles(wanted)
        for cycle in cycles:
            way = " → ".join([cycle.name, *cycle.path])
            self._wrong((cycle.name, "depends_on"), f"depends on itself: {shown(way)}")
        for name, depends_on in graph.items():
            scripts[name] = msgspec.structs.replace(scripts[name], depends_on=depends_on)

    def _known(self, script: Script, scripts: dict[str, Script]) -> tuple[str, ...]:
        known = []
        for name in script.depends_on:
            if name in scripts:
                known.append(name)
            else:
                self._wrong(
                    (script.name, "depends_on"), f"depends on {shown(name)!r}, which is no script", name, scripts
                )
        return tuple(known)

    def _declare(self, name: str, entry: object) -> None:
        table = entry if isinstance(entry, dict) else {COMMAND: entry}
        options = self._options(name, table)
        if COMMAND not in table:
            self._changes[name] = options
            return
        try:
            found = Script(name, command(table[COMMAND]), FILE_NAME, self._project.directory)
        except Wrong as error:
            self._wrong((name, COMMAND), f"{COMMAND} {error}")
        else:
            self.scripts[name] = msgspec.structs.replace(found, **options)

    def _options(self, name: str, table: dict[str, Any]) -> dict[str, Any]:
        """As fields of `Script`."""
        options: dict[str, Any] = {}
        for key, value in table.items():
            if key == COMMAND:
                continue
            if key not in OPTIONS:
                self._wrong((name, key), f"{shown(key)} can't be set", key, (COMMAND, *OPTIONS))
                continue
            field, read = OPTIONS[key]
            try:
                options[field] = read(value, self._project)
            except Wrong as error:
                self._wrong((name, key), f"{key} {error}")
        return options

    def _wrong(self, key: tuple[str, ...], what: str, unknown: str = "", known: Iterable[str] = ()) -> None:
        """At a key beneath ``scripts``; ``unknown`` may have been meant for one of the ``known``."""
        if len(self.problems) <= PROBLEMS_LIMIT:
            name = f"scripts.{shown(key[0])}" if key else "scripts"
            line = self._file.line_of(("scripts", *key))
            self.problems.append(Mistake(FILE_NAME, line, f"{name}: {what}{meant(unknown, known)}"))


def _changed(script: Script, options: dict[str, Any]) -> Script:
    """A program of the project, such as ``.venv/bin/serve``, stays where it is when it runs in another directory."""
    command = script.command
    if "directory" in options and isinstance(command, list) and "/" in command[0]:
        options = {**options, "command": [f"{Path(script.directory, command[0])}", *command[1:]]}
    return msgspec.structs.replace(script, **options)
