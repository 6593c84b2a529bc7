"""A project directory for tests about what can be run in it."""

import json
from pathlib import Path

from brummer.instance.detect import Mistake, Script
from brummer.instance.scripts import ScriptList


class Project:
    """A directory whose files are written by name, and what its list says."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory.resolve()
        self.scripts = ScriptList(directory)

    def write(self, name: str, content: object) -> None:
        text = content if isinstance(content, str) else json.dumps(content)
        path = self.directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def script(self, name: str) -> Script:
        return self.scripts.read().scripts[name]

    def commands(self) -> dict[str, list[str] | str]:
        """Of those that are listed."""
        return {name: script.command for name, script in self.scripts.read().listed.items()}

    def problems(self) -> tuple[Mistake, ...]:
        return self.scripts.read().problems

    def shown(self) -> dict[str, str]:
        """As `commands`, each as one text."""
        return {
            name: command if isinstance(command, str) else " ".join(command)
            for name, command in self.commands().items()
        }

    def listed(self, name: str, text: str) -> tuple[list[str], list[tuple[str, int | None]]]:
        """The names of the scripts, and the places of the problems, once this file holds this text."""
        self.write(name, text)
        return list(self.commands()), [(problem.source, problem.line) for problem in self.problems()]
