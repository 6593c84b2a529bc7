"""Writes into the pages what installs Brummer: its address as pyproject.toml has it, or its name once it is published.

``install_text.py`` writes the pages; with ``--check`` it writes nothing and fails if one is stale.
"""

import re
import sys
import tomllib
from typing import Final

from check_docs import ROOT, files
from generated import status, update

# A path, as in `pipx install dist/….whl`, is meant as it stands.
INSTALLS: Final = re.compile(
    r"((?:uv tool install|pipx install|pip install|uvx --from) )(?:git\+[^\s`]+|brummer)(?=[\s`]|$)"
)


def what_to_install(pyproject: str) -> str:
    settings = tomllib.loads(pyproject)
    ours = settings["tool"]["brummer"]
    return str(settings["project"]["name"] if ours["published"] else f"git+{ours['repository']}")


def with_current(page: str, wanted: str) -> str:
    return INSTALLS.sub(rf"\g<1>{wanted}", page)


def main() -> int:
    wanted = what_to_install((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    stale = []
    for path in files():
        if path.suffix == ".md":
            made = with_current(path.read_text(encoding="utf-8"), wanted)
            stale.append(update(path, made, f"{path.relative_to(ROOT)}: it does not install {wanted}"))
    return status(*stale)


if __name__ == "__main__":
    sys.exit(main())
