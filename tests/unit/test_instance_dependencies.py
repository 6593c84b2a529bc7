import pytest

from brummer.core.errors import NotFound
from brummer.instance.dependencies import DependencyCycle, DependencyFailed, needed_by, stop_waves
from brummer.instance.detect import Script
from brummer.instance.environment import Environment
from brummer.instance.run import Run, Surroundings


def scripts(**needs: str) -> dict[str, Script]:
    return {name: Script(name, "true", "test", "/", depends_on=tuple(needed.split())) for name, needed in needs.items()}


def finder(known: dict[str, Script], name: str) -> Script:
    if name not in known:
        raise NotFound(f"No script is called {name}", name=name)
    return known[name]


def test_what_a_script_needs_is_what_it_names() -> None:
    known = scripts(web="api db", api="db", db="")
    assert [other.name for other in needed_by(known["web"], lambda name: finder(known, name))] == ["api", "db"]


@pytest.mark.parametrize(
    ("known", "start", "cycle"),
    [
        (scripts(web="web"), "web", ["web", "web"]),
        (scripts(web="api", api="db", db="api"), "web", ["api", "db", "api"]),
    ],
)
def test_who_depends_on_itself_is_refused_with_the_way_round(
    known: dict[str, Script], start: str, cycle: list[str]
) -> None:
    with pytest.raises(DependencyCycle) as caught:
        needed_by(known[start], lambda name: finder(known, name))
    assert caught.value.context["cycle"] == cycle


def test_many_ways_to_the_same_script_are_walked_once() -> None:
    layers = {f"s{n}": " ".join([f"s{n + 1}"] * 2) for n in range(60)}
    known = scripts(**layers, s60="")
    assert len(needed_by(known["s0"], lambda name: finder(known, name))) == 2


def test_an_unknown_dependency_is_named() -> None:
    known = scripts(web="nothing")
    with pytest.raises(DependencyFailed) as caught:
        needed_by(known["web"], lambda name: finder(known, name))
    assert caught.value.context == {"script": "web", "dependency": "nothing"}


@pytest.mark.parametrize(
    ("known", "waves"),
    [
        (scripts(web="api", api="db", db="", other=""), [["web", "other"], ["api"], ["db"]]),
        (scripts(one="", two=""), [["one", "two"]]),
        (scripts(one="two", two="one"), [["one", "two"]]),
        (scripts(one="one"), [["one"]]),
        ({}, []),
    ],
)
def test_nobody_is_stopped_before_those_that_depend_on_it(known: dict[str, Script], waves: list[list[str]]) -> None:
    runs = [Run(script, Surroundings(Environment({}, "")), 1, 0, "") for script in known.values()]
    assert [[run.name for run in wave] for wave in stop_waves(runs)] == waves
