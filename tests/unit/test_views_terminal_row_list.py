"""Rows with a cursor: what fits, and where the cursor stays."""

import pytest
from rich.style import Style
from textual.app import App, ComposeResult
from textual.geometry import Region
from textual.strip import Strip

from brummer.views.terminal.row_list import ListedRow, RowList, fitted_row

PLAIN = Style()


def row(key: str, name: str = "", **parts: tuple[tuple[str, Style], ...]) -> ListedRow[str]:
    return ListedRow(key, (("● ", PLAIN),), (name or key, PLAIN), **parts)


@pytest.mark.parametrize(
    ("width", "text"),
    [
        (20, "● service :5173 2!"),
        (18, "● service :5173 2!"),
        (17, "● service 2!"),
        (12, "● service 2!"),
        (11, "● servi… 2!"),
        (7, "● s… 2!"),
        (1, "● s… 2!"),
    ],
)
def test_what_does_not_fit_is_left_out_and_then_the_name_is_cut(width: int, text: str) -> None:
    listed = row("service", tail=((" 2!", PLAIN),), optional=((" :5173", PLAIN),))
    assert "".join(part for part, _ in fitted_row(listed, width)) == text


def test_a_wide_name_is_cut_by_its_columns() -> None:
    assert "".join(part for part, _ in fitted_row(row("x", "番茄服务"), 8)) == "● 番茄 …"
    assert "".join(part for part, _ in fitted_row(row("x", "番茄服务"), 8, "")) == "● 番茄服"


class ListApp(App[None]):
    def __init__(self) -> None:
        super().__init__()
        self.rows: RowList[str] = RowList(empty="nothing")
        self.chosen: list[tuple[str | None, bool]] = []

    def compose(self) -> ComposeResult:
        yield self.rows

    def on_row_list_chosen(self, message: RowList.Chosen) -> None:
        self.chosen.append((self.rows.chosen, message.by_user))


async def test_the_cursor_stays_at_its_row_wherever_that_is_now() -> None:
    app = ListApp()
    async with app.run_test(size=(20, 4)) as pilot:
        assert app.rows.render_line(0).text.strip() == "nothing"
        app.rows.show([row("a"), row("b"), row("c")])
        app.rows.choose("b")
        app.rows.show([row("x"), row("b"), row("a")])
        assert app.rows.chosen == "b"
        app.rows.show([row("b"), row("x")])
        assert app.rows.chosen == "b"
        app.rows.choose("nobody")
        assert app.rows.chosen == "b"
        app.rows.show([row("x"), row("y")])
        assert app.rows.chosen == "x", "the row that took its place"
        app.rows.show([])
        assert app.rows.chosen is None
        await pilot.press("down", "enter")
        assert app.rows.chosen is None


async def test_the_row_with_the_cursor_is_seen() -> None:
    app = ListApp()
    async with app.run_test(size=(20, 4)) as pilot:
        app.rows.show([row(str(n)) for n in range(10)])
        await pilot.press(*["j"] * 6)
        assert [app.rows.render_line(y).text.strip() for y in range(4)] == ["● 3", "● 4", "● 5", "● 6"]
        await pilot.press(*["k"] * 5)
        assert app.rows.render_line(0).text.strip() == "● 1"
        assert app.chosen[-1] == ("1", True)
        await pilot.resize_terminal(20, 2)
        assert app.rows.chosen == "1"


async def test_rows_that_stay_the_same_are_not_drawn_again() -> None:
    app = ListApp()
    async with app.run_test(size=(20, 4)) as pilot:
        app.rows.show([row("a"), row("b")])
        await pilot.pause()
        drawn: list[int] = []
        plain = app.rows.render_lines

        def render_lines(crop: Region) -> list[Strip]:
            drawn.append(crop.height)
            return plain(crop)

        app.rows.render_lines = render_lines  # type: ignore[method-assign]
        app.rows.show([row("a"), row("b")])
        await pilot.pause()
        assert drawn == []
        app.rows.show([row("a"), row("c")])
        await pilot.pause()
        assert drawn
