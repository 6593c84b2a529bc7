"""The table of `brum ls`, in the columns of the terminal."""

import re
from typing import Any

import pytest

from brummer.cli.colour import PLAIN, Paint
from brummer.cli.instance_table import lines_of, summaries_of
from brummer.cli.table import width

HOME = "/home/ada"


def instance(name: str, *scripts: dict[str, Any], **members: Any) -> dict[str, Any]:
    known = {"instance_id": f"{name}-12345678", "name": name, "state": "ready", "directory": f"{HOME}/src/{name}"}
    return {**known, "scripts": list(scripts), **members}


def script(name: str, status: str = "ready", *urls: str) -> dict[str, Any]:
    return {"name": name, "status": status, **({"urls": list(urls)} if urls else {})}


def table(*instances: dict[str, Any], columns: int | None = 80, paint: Paint = PLAIN) -> list[str]:
    return list(lines_of(summaries_of({"instances": list(instances)}), HOME, columns, paint))


def test_each_project_shows_what_runs_what_failed_and_its_url() -> None:
    web = script("web", "ready", "http://localhost:5173/")
    shown = table(
        instance("shop", script("mailer", "failed"), web, script("worker", "running")),
        instance("api", script("dev", "ready", "http://localhost:80/", "http://localhost:81/"), more_scripts=True),
        instance("idle"),
        instance("stuck", state="retrying"),
        instance("many", script("a", "failed"), script("b", "crash-looping"), script("test", "exited")),
    )
    assert [re.split(r"\s{2,}", line) for line in shown] == [
        ["PROJECT", "RUNNING", "URL", "DIRECTORY"],
        ["shop", "2 of 3, mailer failed", "http://localhost:5173/", "~/src/shop"],
        ["api", "1 of 1+", "http://localhost:80/ +1", "~/src/api"],
        ["idle", "-", "-", "~/src/idle"],
        ["stuck", "retrying", "-", "~/src/stuck"],
        ["many", "0 of 3, 2 failed: a, b", "-", "~/src/many"],
    ]
    assert len({line.rindex(line.split()[-1]) for line in shown}) == 1, "the columns are aligned"


@pytest.mark.parametrize("columns", [60, 80, 100])
def test_a_table_that_is_too_wide_is_cut_where_least_is_lost(columns: int) -> None:
    failing = [script(f"a-script-{n}", "failed") for n in range(5)]
    deep = {"directory": f"{HOME}/a/very/long/way/down/to/the/directory/of/this/shop"}
    url = "http://localhost:5173/"
    shown = table(instance("shop-with-a-long-name", *failing, script("web", "ready", url), **deep), columns=columns)
    assert all(width(line) <= columns for line in shown)
    assert url in shown[1]
    assert shown[1].endswith("/this/shop")


def test_the_agent_for_which_an_instance_was_started_is_shown() -> None:
    shown = table(instance("shop", started_by="claude-code"), instance("api"))
    assert [re.split(r"\s{2,}", line) for line in shown] == [
        ["PROJECT", "RUNNING", "URL", "STARTED BY", "DIRECTORY"],
        ["shop", "-", "-", "claude-code", "~/src/shop"],
        ["api", "-", "-", "-", "~/src/api"],
    ]
    narrow = table(instance("shop", started_by="an agent with a long\x1b[2J name " * 3), columns=60)
    assert all(width(line) <= 60 for line in narrow)
    assert "an agent" in narrow[1]
    assert narrow[1].endswith("/shop")
    assert "\x1b" not in narrow[1]


def test_wide_characters_take_two_columns() -> None:
    shown = table(
        instance("project", script("web"), directory=f"{HOME}/日本語の長い名前のプロジェクト" * 3), columns=60
    )
    assert all(width(line) <= 60 for line in shown)
    assert shown[1].endswith("プロジェクト")


def test_another_reader_than_a_terminal_gets_whole_cells() -> None:
    directory = "/srv/" + "x" * 200
    assert directory in table(instance("shop", directory=directory), columns=None)[1]


def test_two_instances_of_one_name_are_known_by_their_ids() -> None:
    other = instance("shop", instance_id="shop-87654321", directory="/elsewhere")
    assert [line.split()[0] for line in table(instance("shop"), other)][1:] == ["shop-12345678", "shop-87654321"]


def test_an_instance_of_another_machine_has_its_host_and_no_home_of_this_one() -> None:
    remote = instance("shop", instance_id="shop-12345678@box", host="box")
    shown = [line.split() for line in table(instance("shop"), remote)[1:]]
    assert [(cells[0], cells[-1]) for cells in shown] == [("shop", "~/src/shop"), ("shop@box", f"{HOME}/src/shop")]


def test_a_failure_is_red_and_the_columns_stay_aligned() -> None:
    shown = table(instance("shop", script("web", "failed")), paint=Paint(colourful=True))
    assert "\x1b[31m0 of 1, web failed\x1b[0m" in shown[1]


def test_members_of_another_version_are_no_obstacle() -> None:
    odd = {"instance_id": "shop-1", "scripts": "none", "new": 1}
    assert table(odd)[1].split() == ["shop-1", "unknown", "-"]


def test_nothing_that_a_project_is_called_reaches_the_terminal_unseen() -> None:
    shown = table(instance("shop", script("a\x1b[2Jb", "failed"), directory="/x\u202ey"))
    assert "\x1b" not in "".join(shown)
    assert "\u202e" not in "".join(shown)
