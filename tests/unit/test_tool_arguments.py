"""Arguments as clients, frameworks and models send them: generated for every parameter of every tool."""

from collections.abc import Iterator
from typing import Any, Final

import msgspec
import pytest
from msgspec import Raw

from brummer.core.errors import InvalidArguments
from brummer.wire.mcp.tool_arguments import ArgumentDecoder
from tests.unit.test_contract import ARGUMENTS, DEFINITIONS

GOOD: Final = {"string": "text", "integer": 3, "number": 3, "boolean": True}
PROPERTIES: Final = {tool: DEFINITIONS[tool].as_instance_tool()["inputSchema"]["properties"] for tool in ARGUMENTS}
EVERY: Final = [(tool, name) for tool in ARGUMENTS for name in PROPERTIES[tool]]


def required(tool: str) -> dict[str, Any]:
    return dict.fromkeys(DEFINITIONS[tool].as_instance_tool()["inputSchema"].get("required", []), "text")


def decoded(tool: str, **given: object) -> msgspec.Struct:
    return ArgumentDecoder(tool, ARGUMENTS[tool]).decode(msgspec.json.encode(given))


def refusal(tool: str, **given: object) -> InvalidArguments:
    with pytest.raises(InvalidArguments) as refused:
        decoded(tool, **given)
    return refused.value


def good_value(tool: str, name: str) -> Any:
    schema = PROPERTIES[tool][name]
    return schema["enum"][0] if "enum" in schema else GOOD[schema["type"]]


@pytest.mark.parametrize(("tool", "name"), EVERY)
@pytest.mark.parametrize("nothing", [None, ""])
def test_null_and_an_empty_text_mean_not_given(tool: str, name: str, nothing: object) -> None:
    given = {**required(tool), name: nothing}
    if name in DEFINITIONS[tool].as_instance_tool()["inputSchema"].get("required", []):
        assert refusal(tool, **given).context["argument"] == name
    else:
        assert decoded(tool, **given) == decoded(tool, **required(tool))


@pytest.mark.parametrize("tool", ARGUMENTS)
@pytest.mark.parametrize("nothing", [None, ""])
def test_a_framework_may_fill_in_every_optional_parameter_with_nothing(tool: str, nothing: object) -> None:
    filled = dict.fromkeys(PROPERTIES[tool], nothing) | required(tool)
    assert decoded(tool, **filled) == decoded(tool, **required(tool))


@pytest.mark.parametrize(("tool", "name"), EVERY)
def test_a_value_that_the_schema_allows_is_accepted(tool: str, name: str) -> None:
    for value in values_of(PROPERTIES[tool][name]):
        assert getattr(decoded(tool, **{**required(tool), name: value}), name) == value


def values_of(schema: dict[str, Any]) -> Iterator[Any]:
    yield from schema.get("enum", [GOOD[schema["type"]]])
    yield from (schema[bound] for bound in ("minimum", "maximum") if bound in schema)
    if "maxLength" in schema:
        yield "x" * schema["maxLength"]


@pytest.mark.parametrize(("tool", "name"), EVERY)
def test_a_value_that_the_schema_forbids_is_refused_with_its_name(tool: str, name: str) -> None:
    schema = PROPERTIES[tool][name]
    wrong: list[object] = [[], {}, True if schema["type"] != "boolean" else 2]
    if "minimum" in schema:
        wrong += [schema["minimum"] - 1, schema["maximum"] + 1, "x", "3 lines", "nan"]
    if schema["type"] == "integer":
        wrong += [3.5, "3.5"]
    if "enum" in schema:
        wrong += ["nothing of these"]
    if "maxLength" in schema:
        wrong += ["x" * (schema["maxLength"] + 1)]
    for value in wrong:
        assert refusal(tool, **{**required(tool), name: value}).context["argument"] == name, value


NUMBERS: Final = [(tool, name) for tool, name in EVERY if PROPERTIES[tool][name]["type"] in ("integer", "number")]


@pytest.mark.parametrize(("tool", "name"), NUMBERS)
@pytest.mark.parametrize("raw", ["3", "3.0", "30e-1", '"3"', '"3.0"'])
def test_a_number_without_a_fraction_is_accepted_in_every_spelling(tool: str, name: str, raw: str) -> None:
    value = getattr(decoded(tool, **{**required(tool), name: Raw(raw.encode())}), name)
    assert value == 3
    assert isinstance(value, int if PROPERTIES[tool][name]["type"] == "integer" else float)


BOOLEANS: Final = [(tool, name) for tool, name in EVERY if PROPERTIES[tool][name]["type"] == "boolean"]


@pytest.mark.parametrize(("tool", "name"), BOOLEANS)
def test_a_boolean_may_be_a_text(tool: str, name: str) -> None:
    for raw, value in (("true", True), ("false", False)):
        assert getattr(decoded(tool, **{**required(tool), name: raw}), name) is value


@pytest.mark.parametrize(("tool", "name"), EVERY)
def test_an_unknown_name_is_refused_with_the_nearest_known_one(tool: str, name: str) -> None:
    for typo in (name[:-1] + "x", name + "s", name.title()):
        if typo in PROPERTIES[tool]:
            continue
        error = refusal(tool, **{**required(tool), typo: good_value(tool, name)})
        assert (error.context["argument"], error.context["nearest"]) == (typo, name)
        assert name in error.message


@pytest.mark.parametrize("tool", ARGUMENTS)
def test_an_unknown_name_is_refused_even_without_a_value(tool: str) -> None:
    for nothing in (None, ""):
        error = refusal(tool, **{**required(tool), "surprise": nothing})
        assert (error.context["argument"], error.context["nearest"]) == ("surprise", None)
        assert error.context["known"] == list(PROPERTIES[tool])


def test_a_text_such_as_null_is_a_text() -> None:
    assert decoded("logs_search", query="null") == decoded("logs_search", query="null", process="")
    name = "query"
    assert getattr(decoded("logs_search", query='""', process=""), name) == '""'


@pytest.mark.parametrize(
    ("tool", "name"), [(tool, name) for tool, name in EVERY if name == "since" and tool != "scripts_usage"]
)
def test_since_is_a_text_or_a_number(tool: str, name: str) -> None:
    for value in ("5m", "3600", "2026-11-30T12:03:11Z", 3600, 0.5):
        assert getattr(decoded(tool, **{**required(tool), name: value}), name) == value
