"""The tool surface that others rely on."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest

from brummer.contract.tools import (
    INSTANCE_ONLY,
    INSTANCE_TOOLS,
    PATTERN_LENGTH,
    READ_ONLY,
    REPEATABLE,
    TOOLS,
    ToolDefinition,
)
from brummer.health.catalog import Problem
from brummer.health.status import HubFacts, HubStatus, MachineStatus
from brummer.host import patterns
from brummer.instance.changes import Change
from brummer.instance.port_owner import PortOwner
from brummer.instance.run import ProcessStatus
from brummer.instance.waiting import Match
from brummer.link.status import LastError, LinkStatus
from brummer.logs.output import Line
from brummer.peers.instance_entry import InstanceSummary
from brummer.peers.timeline import TimelineEvent
from tests.unit.agents_page import NAMED
from tests.unit.golden import assert_golden

FROZEN = [
    "instances_list",
    "instances_connect",
    "instances_disconnect",
    "scripts_list",
    "scripts_run",
    "scripts_stop",
    "scripts_restart",
    "scripts_status",
    "logs_tail",
    "logs_search",
    "wait_for",
    "changes_since",
    "hub_status",
    "instance_tools",
    "instance_call",
    "view_open",
]


@pytest.mark.promise("frozen-tools")
def test_the_lists_are_frozen_to_the_byte() -> None:
    hub, instance = ([getattr(tool, f"as_{side}_tool")() for tool in TOOLS] for side in ("hub", "instance"))
    file = Path(__file__).with_name("golden_tools_list.txt")
    assert_golden(file, [msgspec.json.encode(hub), msgspec.json.encode(instance)])


def test_the_names_and_their_order_are_frozen() -> None:
    assert [tool.name for tool in TOOLS] == FROZEN
    assert [tool.name for tool in INSTANCE_TOOLS] == [*FROZEN[3:12], *(tool.name for tool in INSTANCE_ONLY)]


def test_no_tool_of_instances_alone_has_the_name_of_a_tool_of_the_hub() -> None:
    assert not {tool.name for tool in INSTANCE_ONLY}.intersection(FROZEN)


DEFINITIONS: Final[dict[str, ToolDefinition]] = {tool.name: tool for tool in (*TOOLS, *INSTANCE_ONLY)}


def test_a_call_that_types_is_sent_again_only_under_its_key() -> None:
    assert "scripts_input" not in READ_ONLY | REPEATABLE


ARGUMENTS: Final = {
    name: tool.arguments for name, tool in DEFINITIONS.items() if name not in ("instance_tools", "instance_call")
}
"""The arguments that Brummer itself decodes; `instance_tools` has none, and `instance_call` passes them on."""

CONVERTERS_TAKE: Final[dict[str, frozenset[str]]] = {
    "string": frozenset({"description", "enum", "maxLength"}),
    "integer": frozenset({"description", "minimum", "maximum"}),
    "number": frozenset({"description", "minimum", "maximum"}),
    "boolean": frozenset({"description"}),
    "object": frozenset({"description", "properties", "required", "additionalProperties"}),
}
"""The keywords beside ``type`` that all of these understand: OpenAI's strict mode, Gemini's function declarations,
Anthropic's tools, and what semantic-kernel, autogen, crewai and pydantic make models of. Not among them: a list of
types (autogen, semantic-kernel), anyOf, oneOf, allOf and $ref (Gemini, Anthropic at the top), default (OpenAI strict,
Gemini), exclusiveMinimum (Gemini), format (autogen, OpenAI strict), const, nullable.
"""


def schemas() -> Iterator[tuple[str, dict[str, Any]]]:
    for tool in TOOLS:
        for kind, definition in (("hub", tool.as_hub_tool()), ("instance", tool.as_instance_tool())):
            yield f"{kind}:{tool.name}", definition["inputSchema"]
    for tool in INSTANCE_ONLY:
        yield f"instance:{tool.name}", tool.as_instance_tool()["inputSchema"]


def nodes(path: str, schema: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """A schema and all schemas in it, under any keyword."""
    assert isinstance(schema, dict), path
    yield path, schema
    for name, inner in schema.get("properties", {}).items():
        yield from nodes(f"{path}.{name}", inner)


@pytest.mark.promise("frozen-tools")
def test_the_hubs_whole_list_stays_within_12_kib() -> None:
    assert len(msgspec.json.encode([tool.as_hub_tool() for tool in TOOLS])) <= 12 * 1024


@pytest.mark.promise("any-converter-takes-the-schemas")
def test_every_schema_uses_only_keywords_that_every_providers_converter_accepts() -> None:
    for path, node in (each for name, schema in schemas() for each in nodes(name, schema)):
        assert isinstance(node.get("type"), str), path
        assert node["type"] in CONVERTERS_TAKE, path
        assert node.keys() - {"type"} <= CONVERTERS_TAKE[node["type"]], path
        assert all(isinstance(name, str) and name for name in node.get("enum", [])), path
        assert set(node.get("required", [])) <= set(node.get("properties", {})), path
        assert node.get("minimum", 0) <= node.get("maximum", float("inf")), path


def test_every_provider_accepts_the_names() -> None:
    for name, schema in schemas():
        assert re.fullmatch(r"[a-z][a-z0-9_]{0,39}", name.split(":")[1])
        for property_name in schema["properties"]:
            assert re.fullmatch(r"[a-z][a-z0-9_]{0,63}", property_name), name


def test_every_schema_is_an_object_without_further_names_and_without_an_output_schema() -> None:
    for name, schema in schemas():
        assert schema["type"] == "object", name
        assert schema["additionalProperties"] is False, name
    for tool in TOOLS:
        assert "outputSchema" not in tool.as_hub_tool()


def test_every_parameter_is_described_and_every_number_has_its_bounds() -> None:
    for name, schema in schemas():
        for parameter, node in schema["properties"].items():
            assert node.get("description"), f"{name}.{parameter}"
            if node["type"] in ("integer", "number"):
                assert {"minimum", "maximum"} <= node.keys(), f"{name}.{parameter}"


@pytest.mark.parametrize("tool", ARGUMENTS)
def test_the_schema_requires_the_same_arguments_as_the_code(tool: str) -> None:
    schema = DEFINITIONS[tool].as_instance_tool()["inputSchema"]
    fields = {field.name: field for field in msgspec.structs.fields(ARGUMENTS[tool])}
    for of_commands in ("asked_by", "environment", "colours", *(["wait_s"] if tool == "logs_search" else [])):
        fields.pop(of_commands, None)
    assert list(fields) == list(schema["properties"])
    assert [name for name, field in fields.items() if field.required] == schema.get("required", [])


@pytest.mark.parametrize("tool", ARGUMENTS)
def test_the_description_names_every_default_that_is_not_empty(tool: str) -> None:
    properties = DEFINITIONS[tool].as_instance_tool()["inputSchema"]["properties"]
    for field in msgspec.structs.fields(ARGUMENTS[tool]):
        if field.name in properties and field.default not in (None, False, 0, msgspec.NODEFAULT):
            default = f"{field.default:g}" if isinstance(field.default, float) else str(field.default)
            default = default.lower() if isinstance(field.default, bool) else default
            assert f"(default {default})" in properties[field.name]["description"], field.name


def test_an_expression_may_be_as_long_as_the_schema_says() -> None:
    assert PATTERN_LENGTH == patterns.MAX_LENGTH


def test_the_one_page_of_the_hub_is_named_unless_resources_are_off() -> None:
    named = {tool.name: tool.as_hub_tool().get("_meta") for tool in TOOLS if "_meta" in tool.as_hub_tool()}
    assert named == {"view_open": {"ui": {"resourceUri": "ui://brummer/view"}}}
    assert not any("_meta" in tool.as_hub_tool(with_resources=False) for tool in TOOLS)
    assert not any("_meta" in tool.as_instance_tool() for tool in TOOLS)


def test_every_description_is_at_most_two_sentences() -> None:
    for tool in DEFINITIONS.values():
        assert 1 <= len(re.findall(r"\.(?:\s|$)", tool.description)) <= 2, tool.name
        assert len(tool.name) <= 40


def test_all_but_the_hubs_own_tools_take_an_instance_that_may_be_left_out() -> None:
    own = {"instances_list", "instances_connect", "instances_disconnect", "hub_status", "view_open"}
    for tool in TOOLS:
        schema = tool.as_hub_tool()["inputSchema"]
        if tool.name in own - {"instances_connect"}:
            assert "instance" not in schema["properties"]
        elif tool.name not in own:
            assert "instance" in schema["properties"]
            assert "instance" not in schema.get("required", [])
        assert "instance" not in tool.as_instance_tool()["inputSchema"]["properties"] or tool.name in own


def test_hints_say_what_a_tool_does() -> None:
    read_only = {tool.name for tool in TOOLS if tool.read_only}
    destructive = {tool.name for tool in TOOLS if tool.destructive}
    assert read_only == {
        "instances_list",
        "scripts_list",
        "scripts_status",
        "logs_tail",
        "logs_search",
        "wait_for",
        "changes_since",
        "hub_status",
        "instance_tools",
        "view_open",
    }
    assert destructive == {"scripts_stop", "scripts_restart", "instance_call"}
    for tool in TOOLS:
        hints = tool.as_hub_tool()["annotations"]
        assert not (hints["readOnlyHint"] and hints["destructiveHint"])


SHAPES = (
    InstanceSummary,
    ProcessStatus,
    PortOwner,
    Line,
    Change,
    HubStatus,
    HubFacts,
    MachineStatus,
    Problem,
    LinkStatus,
    LastError,
    TimelineEvent,
    Match,
)


@pytest.mark.parametrize("shape", SHAPES)
def test_every_field_of_an_answer_is_on_the_agents_page(shape: type[msgspec.Struct]) -> None:
    assert set(shape.__struct_fields__) <= NAMED
