"""The page as one file: whole, alone, and safe to put into an element."""

import re

from brummer.views.web.page_file import DIRECTORY, SCRIPTS, page

NONCE = "n0nce"


def test_the_page_is_one_file_and_names_no_other_place() -> None:
    text = page(NONCE)
    assert set(re.findall(r"<[^>]*\b(?:src|href)=\"([^\"]*)", text)) == {"data:,", "#/"}
    assert not re.search(r"(?:https?:)?//[a-z]+\.[a-z]", text.replace("http://www.w3.org/2000/svg", ""))
    assert "@import" not in text
    assert "url(" not in text


def test_every_script_and_style_has_the_nonce_and_none_has_another_one() -> None:
    assert re.findall(r"<(script|style)\b[^>]*nonce=\"([^\"]*)\"", page(NONCE)) == [("style", NONCE), ("script", NONCE)]
    assert len(re.findall(r"<(?:script|style)\b", page(NONCE))) == 2
    assert page(NONCE).count(NONCE) == 2
    assert not re.search(r"@(?:nonce|style|script)@", page(NONCE))


def test_the_parts_are_joined_to_one_module() -> None:
    script = page().partition('<script type="module" nonce="">')[2].rpartition("</script>")[0]
    assert not re.search(r"(?m)^(?:import|export)\b", script)
    assert "</script" not in script
    assert "<!--" not in script


def test_every_part_is_used() -> None:
    assert {path.name for path in DIRECTORY.iterdir()} == {"page.html", "page.css", *SCRIPTS}


def test_no_text_becomes_markup_and_no_style_is_an_attribute() -> None:
    for forbidden in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function"):
        assert forbidden not in page()
    assert not re.search(r"<[^>]+\s(?:style|on[a-z]+)=", page())


def test_every_name_at_the_top_of_a_part_is_its_own() -> None:
    names = [
        name
        for part in SCRIPTS
        for name in re.findall(
            r"(?m)^(?:export )?(?:async )?(?:const|let|function\*?|class) ([\w$]+)", (DIRECTORY / part).read_text()
        )
    ]
    assert sorted(names) == sorted(set(names))
