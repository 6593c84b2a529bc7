"""The pages name the version that their pictures show, and it is this one."""

from pathlib import Path

import pytest

from brummer import __version__
from pictures import PAGES, PICTURES, SHOWS


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.name))
def test_the_pictures_are_of_this_version(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert SHOWS.sub(rf"\g<1>{__version__}\g<2>", text) == text, "run make pictures"
    assert len(SHOWS.findall(text)) == 1


def test_the_pictures_are_there_and_ask_for_nothing_from_elsewhere() -> None:
    assert sorted(each.name for each in PICTURES.iterdir()) == ["page.png", "view.svg"]
    drawn = (PICTURES / "view.svg").read_text(encoding="utf-8")
    assert "url(http" not in drawn
    assert "href=" not in drawn
