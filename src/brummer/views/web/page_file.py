"""The page as one file, made of its parts in ``page/``: nothing in it comes from another place.

The scripts are ES modules that import one another, so that an editor and a test can load each alone. In the file they
are one module: the imports of parts, and the word `export`, fall away.
"""

import re
from functools import cache
from pathlib import Path
from typing import Final

DIRECTORY: Final = Path(__file__).with_name("page")
STYLE: Final = "page.css"
SCRIPTS: Final = (
    "text.js",
    "model.js",
    "client.js",
    "host.js",
    "lines.js",
    "reader.js",
    "plots.js",
    "timeline.js",
    "source.js",
    "page.js",
)
"""In this order: a class has to stand before what is made of it at once."""

_IMPORT: Final = re.compile(r"^import [^;]* from \"\./[a-z_]+\.js\";\n", re.MULTILINE)
_EXPORT: Final = re.compile(r"^export ", re.MULTILINE)


def page(nonce: str = "") -> str:
    """The file. ``nonce``: of the answer's security policy; empty where the host of the page sets one of its own."""
    return _joined().replace("@nonce@", nonce)


@cache
def _joined() -> str:
    """Blocks for disk access, once."""
    script = "".join(_EXPORT.sub("", _IMPORT.sub("", _read(name))) for name in SCRIPTS)
    return _read("page.html").replace("@style@", _read(STYLE)).replace("@script@", script)


def _read(name: str) -> str:
    return (DIRECTORY / name).read_text(encoding="utf-8")
