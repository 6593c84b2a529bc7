"""The guest's whole file system, in memory: a shell, Debian's Python, Brummer as it stands here, and the scenarios."""

import gzip
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tests.suspend.fetch import PYTHON, ROOT, Kit

STDLIB: Final = Path("/usr/lib/python3.11")
UNUSED: Final = shutil.ignore_patterns(
    "config-3.11*", "ensurepip", "idlelib", "lib2to3", "*.opt-?.pyc", "pydoc_data", "test", "tests", "tkinter"
)
"""Of the standard library. Every file costs the boot some unpacking, which is slow in software emulation."""

COMPILED: Final = shutil.ignore_patterns("__pycache__")
"""What another Python has compiled is of no use there."""


def build(kit: Kit, folder: Path) -> Path:
    """The packed file, in ``folder``."""
    root = folder / "root"
    shutil.copytree(STDLIB, root / STDLIB.relative_to("/"), ignore=UNUSED, ignore_dangling_symlinks=True)
    shutil.copytree(ROOT / "src", root / "src", ignore=COMPILED)
    shutil.copytree(kit.site, root / "site", ignore=COMPILED)
    harness = root / "harness" / "tests"
    shutil.copytree(ROOT / "tests" / "suspend", harness / "suspend", ignore=COMPILED)
    shutil.copy(ROOT / "tests" / "__init__.py", harness)
    for source in (PYTHON, *libraries(root)):
        _copy(source, root / source.relative_to("/"))
    _copy(kit.busybox, root / "bin" / "busybox")
    _copy(kit.button, root / "button.ko")
    _copy(ROOT / "tests" / "suspend" / "guest" / "init", root / "init")
    (root / "init").chmod(0o755)
    _compile(root)
    return _pack(kit, root, folder / "initramfs.gz")


def libraries(root: Path) -> Iterator[Path]:
    """Every shared library that Python and the compiled modules need, the loader among them."""
    binaries = [str(PYTHON), *map(str, root.rglob("*.so"))]
    listing = subprocess.run(["ldd", *binaries], capture_output=True, text=True, check=False).stdout
    found = set()
    for line in listing.splitlines():
        path = line.partition("=>")[2] or line
        if "(0x" in line and path.strip().startswith("/"):
            found.add(Path(path.split()[0]))
    yield from sorted(found)


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(source, target)


def _compile(root: Path) -> None:
    """By the Python that will run it: compiling in software emulation would take a minute."""
    folders = [str(root / name) for name in ("src", "site", "harness")]
    command = [str(PYTHON), "-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash", *folders]
    subprocess.run(command, check=True)


def _pack(kit: Kit, root: Path, target: Path) -> Path:
    names = "\n".join(str(path.relative_to(root)) for path in sorted(root.rglob("*")))
    command = [str(kit.busybox), "cpio", "-o", "-H", "newc"]
    done = subprocess.run(command, cwd=root, input=names.encode(), capture_output=True, check=True)
    target.write_bytes(gzip.compress(done.stdout, 1))
    return target
