"""The description and the links of the package, for its page on an index: hatchling runs this for each build.

The description is the README. Its relative links lead nowhere on an index, so they become links to the file in the
repository, at the tag of this version.
"""

import re
import tomllib
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

RELATIVE_LINK = re.compile(r"(?<=\]\()(?![a-z][a-z0-9+.-]*:|#)(?=[^)\s]+\))", re.IGNORECASE)
"""The place before the target of an inline link that is neither an address nor a heading of the same page."""


class MetadataHook(MetadataHookInterface):
    """Hatchling finds it by its base class."""

    def update(self, metadata: dict[str, Any]) -> None:
        root = Path(self.root)
        settings = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
        repository = settings["tool"]["brummer"]["repository"]
        files = f"{repository}/blob/v{metadata['version']}"
        metadata["readme"] = {
            "content-type": "text/markdown",
            "text": with_absolute_links((root / "README.md").read_text(encoding="utf-8"), files),
        }
        metadata["urls"] = {
            "Repository": repository,
            "Issues": f"{repository}/issues",
            "Documentation": f"{files}/docs/start.md",
            "Changelog": f"{files}/CHANGELOG.md",
        }


def with_absolute_links(page: str, files: str) -> str:
    """The page with ``files``, the address of the tree, before each relative target."""
    return RELATIVE_LINK.sub(f"{files}/", page)
