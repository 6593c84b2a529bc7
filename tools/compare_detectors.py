"""The scripts that Brummer finds beside those that each kind's own tool lists, over the project files of others.

``compare_detectors.py DIRECTORY [--only KIND …] [--limit N] [--report FILE]``. The directory holds one directory per
project, NAME/files as in the project; the project files are enough. In each folder below it that has a project file
Brummer's list is compared with the tool's. The tool runs in a throwaway copy, without network (`sandbox.py`). A tool
that is not on PATH is named, and its kind counts as not compared: nothing is installed.

*Recall* is over the scripts that a project file says literally; a file that generates others is right if a problem
in Brummer's list says so. *Precision* is over all that Brummer lists of the kind. The table and every miss go to
reports/detectors.md. The exit status is 1 if recall or precision of a kind is below its goal.
"""

import argparse
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import sandbox
from brummer.instance.detect import Mistake, Script
from brummer.instance.detect.listing import DETECTORS, listing_of
from brummer.instance.detect.project import ProjectDirectory
from listings import KINDS, Kind, Listing, NotListedError, sources

REPORT: Final = Path(__file__).resolve().parent.parent / "reports" / "detectors.md"
RECALL: Final = 0.99
PRECISION: Final = 0.995

NOT_LISTED: Final = {
    "django, fastapi, gemfile": "their scripts are fixed commands, which no project file declares",
    "gradle, maven, dotnet, pubspec": "likewise: build, test and run",
    "package_json, by bun": "few of the gathered projects use it",
    "vscode_tasks": "the editor has no command that lists them",
    "pyproject, [project.scripts]": "an installer reads them; no tool lists them",
}
"""Kinds that have nothing to compare with."""
OTHERS: Final = frozenset({"node_modules", "vendor", "target"})
"""Folders of other people's packages, and of what builds leave behind."""
MOST_NAMES: Final = 30
"""Of one file: a hundred generated targets have one cause."""


HEAD: Final = """\
# Brummer's detectors beside the real tools

Made by `tools/compare_detectors.py` over {files} project files of {projects} public projects. The tools ran without
network, as a user without rights, in throwaway copies; a project gives at most a few files of each kind.

*Declared* are the scripts that a project file says literally; recall is over these (goal {recall}). Precision is over
all that Brummer lists of the kind (goal {precision}). *Generates*: files that make more scripts when they run, where no
problem in Brummer's list says so. *Refused*: files that the tool itself does not read here; they are not compared.

"""


@dataclass(frozen=True)
class Verdict:
    """One file. ``right``: names that the tool has, too; ``missed``: declared ones that Brummer does not have;
    ``ghosts``: those that the tool does not have; ``unsaid``: generated ones, where no problem says that there are.
    """

    kind: str
    place: str
    declared: int = 0
    right: int = 0
    missed: tuple[str, ...] = ()
    ghosts: tuple[str, ...] = ()
    unsaid: tuple[str, ...] = ()
    refused: str = ""


def judge(kind: str, place: str, found: Iterable[str], listing: Listing, *, has_problem: bool) -> Verdict:
    """Compare the names that Brummer found with those of the tool."""
    names = set(found)
    known = listing.declared | listing.generated
    generated = () if has_problem else tuple(sorted(listing.generated - names))
    return Verdict(
        kind,
        place,
        declared=len(listing.declared),
        right=len(names & known),
        missed=tuple(sorted(listing.declared - names)),
        ghosts=tuple(sorted(names - known - listing.ignored)),
        unsaid=generated,
    )


@dataclass(frozen=True)
class Score:
    """A row of the table: one kind, over all its files."""

    kind: str
    files: int
    declared: int
    missed: int
    right: int
    ghosts: int
    unsaid: int
    refused: int

    @property
    def recall(self) -> float:
        return 1 - self.missed / self.declared if self.declared else 1.0

    @property
    def precision(self) -> float:
        return self.right / (self.right + self.ghosts) if self.right + self.ghosts else 1.0

    @property
    def is_reached(self) -> bool:
        return self.recall >= RECALL and self.precision >= PRECISION


def score(kind: str, verdicts: Iterable[Verdict]) -> Score:
    mine = [verdict for verdict in verdicts if verdict.kind == kind]
    compared = [verdict for verdict in mine if not verdict.refused]
    return Score(
        kind,
        files=len(compared),
        declared=sum(verdict.declared for verdict in compared),
        missed=sum(len(verdict.missed) for verdict in compared),
        right=sum(verdict.right for verdict in compared),
        ghosts=sum(len(verdict.ghosts) for verdict in compared),
        unsaid=sum(bool(verdict.unsaid) for verdict in compared),
        refused=len(mine) - len(compared),
    )


def compared(project: Path, kinds: Sequence[Kind], limit: int) -> Iterator[Verdict]:
    """Every file of these kinds in one project, up to ``limit`` of each kind."""
    counts = dict.fromkeys((kind.name for kind in kinds), 0)
    with sandbox.Sandbox(project) as room:
        for folder in _folders(project):
            wanted = [(kind, source) for kind in kinds for source in sources(kind, folder)]
            if not wanted:
                continue
            # The copy is a repository, as the project was where it was written, so includes may lead up in it.
            copy = room.root / folder.relative_to(project)
            listed = listing_of(ProjectDirectory(copy))
            scripts = list(listed.scripts.values())
            for kind, source in wanted:
                if counts[kind.name] < limit and _is_asked(kind, folder / source, scripts):
                    counts[kind.name] += 1
                    place = str((folder / source).relative_to(project.parent))
                    found = {name for script in scripts if (name := kind.name_of(script)) is not None}
                    try:
                        tool = kind.listing(room, copy, source)
                    except NotListedError as error:
                        yield Verdict(kind.name, place, refused=str(error) or "it prints nothing")
                        continue
                    has_problem = any(_is_about(problem, kind) for problem in listed.problems)
                    yield judge(kind.name, place, found, tool, has_problem=has_problem)


def _folders(project: Path) -> Iterator[Path]:
    for folder, below, _ in os.walk(project):
        below[:] = sorted(name for name in below if name not in OTHERS and not name.startswith(".git"))
        yield Path(folder)


def _is_asked(kind: Kind, file: Path, scripts: Iterable[Script]) -> bool:
    """Whether this tool is the one that reads the file: of several package managers the one that Brummer chose."""
    text = file.read_text("utf-8", "replace")
    if kind.detector != "package_json":
        return kind.marker in text
    manager = next((script.command[0] for script in scripts if "package.json" in script.source), "npm")
    is_workspace = (file.parent / "pnpm-workspace.yaml").exists() if manager == "pnpm" else '"workspaces"' in text
    return kind.tool == manager and (is_workspace or not kind.name.startswith("workspace"))


def _is_about(problem: Mistake, kind: Kind) -> bool:
    """No file of another detector: its own, or one that it includes."""
    others = {name for detector, names in DETECTORS.items() if detector != kind.detector for name in names}
    return problem.source.rpartition("/")[2] not in others


def report(
    verdicts: Sequence[Verdict], kinds: Sequence[Kind], versions: dict[str, str], missing: Sequence[Kind]
) -> str:
    projects = {verdict.place.partition("/")[0] for verdict in verdicts}
    scores = [score(kind.name, verdicts) for kind in kinds]
    files = sum(one.files for one in scores)
    lines = [
        *HEAD.format(files=files, projects=len(projects), recall=RECALL, precision=PRECISION).splitlines(),
        "| kind | files | declared | recall | precision | generates | refused | tool |",
        "|---|---:|---:|---:|---:|---:|---:|---|",
        *(
            f"| {one.kind} | {one.files} | {one.declared} | {one.recall:.4f} | {one.precision:.4f} | {one.unsaid} | "
            f"{one.refused} | {versions[one.kind]} |"
            for one in scores
        ),
        "",
        "## Not compared",
        "",
        *(f"- {kind.name}: `{kind.tool}` is not on PATH" for kind in missing),
        *(f"- {names}: {reason}" for names, reason in NOT_LISTED.items()),
        "",
        "## Every miss",
        "",
        *_misses(verdicts),
        "",
        "## Refused by the tool",
        "",
        *(f"- {one.kind}, {one.place}: {_plain(one.refused)}" for one in verdicts if one.refused),
    ]
    return "\n".join(lines).rstrip() + "\n"


def _misses(verdicts: Iterable[Verdict]) -> Iterator[str]:
    for verdict in verdicts:
        for word, names in (
            ("not found", verdict.missed),
            ("not there", verdict.ghosts),
            ("generated, and no problem says so", verdict.unsaid),
        ):
            if names:
                shown = ", ".join(f"`{name}`" for name in names[:MOST_NAMES])
                more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
                yield f"- {verdict.kind}, {verdict.place}: {word}: {shown}{more}"


def _plain(text: str) -> str:
    """A tool's message without the throwaway directory in it."""
    return " ".join(word for word in text.split() if "/compare-" not in word)[:150].replace("|", "/")


def version_of(kind: Kind) -> str:
    done = subprocess.run([kind.tool, *kind.version], capture_output=True, text=True, check=False)
    return next((line.strip() for line in done.stdout.splitlines() if line.strip()), "?")


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("directory", type=Path)
    parser.add_argument("--only", nargs="*", default=[], help="kinds whose names hold one of these words")
    parser.add_argument("--limit", type=int, default=5, help="files of one kind in one project, so that none decides")
    parser.add_argument("--report", type=Path, default=REPORT)
    chosen = parser.parse_args()
    try:
        sandbox.check()
    except sandbox.NoSandboxError as error:
        sys.exit(f"no namespace without network is to be had, and other people's files may run only there: {error}")
    wanted = [kind for kind in KINDS if not chosen.only or any(word in kind.name for word in chosen.only)]
    kinds = [kind for kind in wanted if shutil.which(kind.tool)]
    missing = [kind for kind in wanted if kind not in kinds]
    projects = sorted(path for path in chosen.directory.resolve().iterdir() if path.is_dir())
    verdicts: list[Verdict] = []
    with ThreadPoolExecutor(2) as pool:
        for project, found in zip(
            projects, pool.map(lambda one: list(compared(one, kinds, chosen.limit)), projects), strict=True
        ):
            verdicts += found
            print(f"{project.name}: {len(found)} files", file=sys.stderr)
    versions = {kind.name: version_of(kind) for kind in kinds}
    text = report(verdicts, kinds, versions, missing)
    chosen.report.write_text(text, "utf-8")
    print(text)
    return 0 if all(score(kind.name, verdicts).is_reached for kind in kinds) else 1


if __name__ == "__main__":
    sys.exit(main())
