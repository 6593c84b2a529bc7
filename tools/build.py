"""Make the sdist and the wheel in dist/, and check what is in them.

They are made twice: of this tree, and of the sdist as a stranger unpacks it, elsewhere and without git. Both must give
the same bytes, so the sdist is complete, and whoever builds it again can compare.

    build.py              # make both, list what is in the wheel, name every fault
    build.py --release v1.2.3    # the same; and refuse what must not be published under this tag
"""

import argparse
import os
import re
import subprocess
import sys
import tarfile
import tempfile
import tomllib
import zipfile
from collections import Counter
from collections.abc import Iterator, Sequence
from email.message import Message
from email.parser import BytesParser
from pathlib import Path

from packaging.metadata import Metadata

from check_docs import HAS_SCHEME, INLINE_LINK, REFERENCE_LINK, ROOT, without_code

DIST = ROOT / "dist"
PLACEHOLDER = re.compile(r"https?://[^/]*\.example(?:/|$)")
"""Addresses that the name system reserves for examples: nobody can ever own one."""
NEEDED = ("brummer/__main__.py", "brummer/py.typed")
NEEDED_BESIDE = ("METADATA", "entry_points.txt", "licenses/LICENSE")


class BuildFailed(Exception):
    """A build that did not end well, in the words of the builder."""


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--release", metavar="TAG")
    chosen = parser.parse_args(arguments)
    try:
        sdist, wheel = build(ROOT, DIST)
        faults = [
            *wheel_faults(wheel, ROOT / "src"),
            *sdist_faults(sdist, tracked_files(ROOT)),
            *differences(sdist, wheel),
            *(release_faults(wheel, ROOT, chosen.release) if chosen.release else ()),
        ]
    except BuildFailed as failed:
        faults = [str(failed)]
    else:
        print(listing(sdist, wheel))
    for fault in faults:
        print(f"build: {fault}", file=sys.stderr)
    return 1 if faults else 0


def build(tree: Path, into: Path) -> tuple[Path, Path]:
    """The sdist and the wheel of a source tree. Removes earlier ones from ``into``. Raises BuildFailed."""
    for old in (*into.glob("brummer-*.tar.gz"), *into.glob("brummer-*.whl")):
        old.unlink()
    command = [sys.executable, "-m", "hatchling", "build", "-d", str(into)]
    # The time stamps in both files are hatchling's own, the same for everybody.
    environment = {name: value for name, value in os.environ.items() if name != "SOURCE_DATE_EPOCH"}
    done = subprocess.run(command, cwd=tree, env=environment, capture_output=True, text=True, check=False)
    made = [*into.glob("brummer-*.tar.gz"), *into.glob("brummer-*.whl")]
    if done.returncode or [path.suffix for path in made] != [".gz", ".whl"]:
        raise BuildFailed(f"hatchling made no sdist and wheel in {into}: {done.stdout}{done.stderr}".strip())
    return made[0], made[1]


def differences(sdist: Path, wheel: Path) -> Iterator[str]:
    """What the sdist, unpacked elsewhere, gives other than these two files."""
    with tempfile.TemporaryDirectory() as folder:
        tree = unpacked(sdist, Path(folder))
        for ours, theirs in zip((sdist, wheel), build(tree, tree / "dist"), strict=True):
            if ours.read_bytes() != theirs.read_bytes():
                yield f"{ours.name} is another file when it is made of the unpacked sdist"


def unpacked(sdist: Path, into: Path) -> Path:
    """The one directory that an sdist has."""
    with tarfile.open(sdist) as archive:
        archive.extractall(into, filter="data")
    return into / sdist.name.removesuffix(".tar.gz")


def wheel_faults(wheel: Path, sources: Path) -> Iterator[str]:
    """What is in the wheel and should not be, and the reverse; then what an index would refuse."""
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        beside = next((name.partition("/")[0] for name in names if name.endswith(".dist-info/METADATA")), "")
        metadata = archive.read(f"{beside}/METADATA") if beside else b""
    files = (path.relative_to(sources) for path in sources.rglob("*") if path.is_file())
    expected = {str(path) for path in files if "__pycache__" not in path.parts}
    needed = {*NEEDED, *(f"{beside}/{name}" for name in NEEDED_BESIDE)}
    yield from (f"{wheel.name} lacks {name}" for name in sorted((expected | needed) - names))
    for name in sorted(names - expected):
        if not name.startswith(f"{beside}/"):
            yield f"{wheel.name} has {name}, which is no part of the package"
    yield from metadata_faults(metadata)


def metadata_faults(metadata: bytes) -> Iterator[str]:
    """What an index would refuse of these bytes of METADATA, or show to nobody's use."""
    try:
        Metadata.from_email(metadata, validate=True)
    except ExceptionGroup as group:
        yield from (f"metadata: {error}" for error in group.exceptions)
    described = parsed(metadata)
    if described["description-content-type"] != "text/markdown":
        yield "metadata: the description is not marked as Markdown"
    text = description(described)
    if not text.strip():
        yield "metadata: there is no description"
    prose = without_code(text)
    for link in (*INLINE_LINK.finditer(prose), *REFERENCE_LINK.finditer(prose)):
        if not HAS_SCHEME.match(link[1]):
            yield f"metadata: a link of the description leads nowhere on an index: {link[1]}"


def parsed(metadata: bytes) -> Message:
    return BytesParser().parsebytes(metadata)


def description(metadata: Message) -> str:
    body = metadata.get_payload(decode=True)
    return body.decode("utf-8") if isinstance(body, bytes) else ""


def tracked_files(tree: Path) -> set[str]:
    """All that git tracks in the repository whose root this is; nothing where it is none, or without git."""
    try:
        root = _git(tree, "rev-parse", "--show-toplevel").strip()
        if Path(root) != tree:
            return set()
        return set(_git(tree, "ls-files", "-z").split("\0")) - {""}
    except (OSError, subprocess.CalledProcessError):
        return set()


def _git(tree: Path, *arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=tree, capture_output=True, text=True, check=True).stdout


def sdist_faults(sdist: Path, tracked: set[str]) -> Iterator[str]:
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    yield from (f"{sdist.name} lacks {name}, which git tracks" for name in sorted(tracked - names))


def release_faults(wheel: Path, tree: Path, tag: str) -> Iterator[str]:
    """Why this must not be published under this tag."""
    version = wheel.name.split("-")[1]
    if tag != f"v{version}":
        yield f"the tag is {tag}, and the version is {version}"
    if not re.search(rf"^## {re.escape(version)}\b", (tree / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE):
        yield f"CHANGELOG.md has no section {version}"
    settings = tomllib.loads((tree / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["brummer"]
    if PLACEHOLDER.match(settings["repository"]):
        yield f"the address of the repository is a placeholder: {settings['repository']} (tool.brummer, pyproject.toml)"
    if not settings["published"]:
        yield "the pages do not install it from the index: set published, in tool.brummer of pyproject.toml; make docs"
    if "placeholder" in (tree / "README.md").read_text(encoding="utf-8"):
        yield "README.md still says that its address is a placeholder; so do other pages"


def listing(sdist: Path, wheel: Path) -> str:
    """What is in both, in a line for each, and in the wheel for each package."""
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    with tarfile.open(sdist) as tar:
        in_sdist = Counter(name.split("/")[1] for name in tar.getnames() if "/" in name)
    counted = Counter("/".join(name.split("/")[:2]) if name.count("/") > 1 else name for name in names)
    inside = [f"  {count:4d}  {name}" for name, count in sorted(counted.items())]
    tops = ", ".join(f"{name} {count}" for name, count in sorted(in_sdist.items()))
    sizes = [f"{path.relative_to(path.parent.parent)}  {path.stat().st_size // 1024} KiB" for path in (sdist, wheel)]
    return "\n".join([sizes[0], f"  {tops}", sizes[1], *inside])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
