"""The tree of projects and their scripts, as rows of a list: a project's scripts stand below it until it is folded."""

from collections.abc import Iterator, Sequence
from typing import ClassVar, Final, NamedTuple

from rich.style import Style
from textual.binding import Binding, BindingType

from brummer.views.model import Kind, ProjectRows, RowKey, TreeRow
from brummer.views.terminal.row_list import BOLD, DIM, PLAIN, ListedRow, RowList, StyledText

STYLES: Final[dict[Kind, Style]] = {
    "runs": Style(color="green"),
    "busy": Style(color="yellow"),
    "failed": Style(color="red"),
    "done": DIM,
    "stopped": DIM,
    "never": DIM,
    "away": Style(color="yellow"),
}
"""Beside the signs, which differ in shape."""
ERRORS: Final = Style(color="red")


class Guides(NamedTuple):
    """What shows how rows belong together."""

    is_open: str
    is_folded: str
    within: str
    last: str


GUIDES: Final = {"unicode": Guides("▼", "▶", "├", "└"), "ascii": Guides("-", "+", " ", " ")}
"""By the setting `glyphs`."""


class ProjectTree(RowList[RowKey]):
    """``glyphs``: the setting."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("space", "fold", show=False),
        Binding("left", "fold(True)", show=False),
        Binding("right", "fold(False)", show=False),
    ]

    def __init__(self, glyphs: str = "unicode", id: str | None = None) -> None:  # noqa: A002 — as all widgets have it
        super().__init__(is_ascii=glyphs == "ascii", id=id)
        self._guides = GUIDES[glyphs]
        self._folded: set[str] = set()
        self._projects: Sequence[ProjectRows] = ()

    def show_projects(self, projects: Sequence[ProjectRows]) -> None:
        self._projects = projects
        self.show(list(self._listed()))

    def _listed(self) -> Iterator[ListedRow[RowKey]]:
        for project in self._projects:
            is_folded = project.row.key.instance in self._folded
            yield project_row(project, self._guides, is_folded=is_folded)
            if not is_folded:
                last = len(project.scripts) - 1
                for index, script in enumerate(project.scripts):
                    yield script_row(script, self._guides.last if index == last else self._guides.within)

    def action_fold(self, folds: bool | None = None) -> None:  # noqa: FBT001 — as a binding passes it
        """Hide the scripts of the chosen project, or show them again; None: the other way round."""
        if self.chosen is None:
            return
        instance = self.chosen.instance
        if folds is None:
            folds = instance not in self._folded
        if folds:
            self.choose(RowKey(instance))
            self._folded.add(instance)
        else:
            self._folded.discard(instance)
        self.show_projects(self._projects)


def project_row(project: ProjectRows, guides: Guides, *, is_folded: bool) -> ListedRow[RowKey]:
    """``▼ shop ◌ gone``; a folded one, and one with hidden scripts, says how many there are."""
    row = project.row
    sign = guides.is_folded if is_folded else guides.is_open
    dim = DIM if row.is_dim else PLAIN
    note = ((f" {row.note}", STYLES["away"]),) if row.note else ()
    count = project.hidden + (len(project.scripts) if is_folded else 0)
    more = ((f" +{count}", DIM),) if count else ()
    return ListedRow(row.key, ((f"{sign} ", dim),), (row.name, BOLD + dim), note, more)


def script_row(row: TreeRow, guide: str) -> ListedRow[RowKey]:
    """``├ ● dev :43949 2!``; a narrow tree leaves out the port first."""
    dim = DIM if row.is_dim else PLAIN
    head: tuple[StyledText, ...] = ((f"{guide} ", DIM), (f"{row.sign} ", STYLES[row.kind] + dim))
    port = ((f" {row.port}", DIM),) if row.port else ()
    errors = ((f" {row.errors}!", ERRORS + dim),) if row.errors else ()
    return ListedRow(row.key, head, (row.name, dim), errors, port)
