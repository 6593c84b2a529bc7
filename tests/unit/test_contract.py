"""The tool surface that others rely on."""

import re

import msgspec

from brummer.contract.tools import BY_NAME, INSTANCE_TOOLS, TOOLS

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
]


def test_the_names_and_their_order_are_frozen() -> None:
    assert [tool.name for tool in TOOLS] == FROZEN
    assert [tool.name for tool in INSTANCE_TOOLS] == FROZEN[3:12]


def test_the_hubs_whole_list_stays_under_12_kib() -> None:
    assert len(msgspec.json.encode([tool.as_hub_tool() for tool in TOOLS])) < 12 * 1024


def test_every_description_is_at_most_two_sentences() -> None:
    for tool in TOOLS:
        assert 1 <= len(re.findall(r"\.(?:\s|$)", tool.description)) <= 2, tool.name
        assert len(tool.name) <= 40


def test_all_but_the_hubs_own_tools_take_an_instance_that_may_be_left_out() -> None:
    own = {"instances_list", "instances_connect", "instances_disconnect", "hub_status"}
    for tool in TOOLS:
        schema = tool.as_hub_tool()["inputSchema"]
        if tool.name in own - {"instances_connect"}:
            assert "instance" not in schema["properties"]
        elif tool.name not in own:
            assert "instance" in schema["properties"]
            assert "instance" not in schema.get("required", [])
        assert "instance" not in BY_NAME[tool.name].as_instance_tool()["inputSchema"]["properties"] or tool.name in own


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
    }
    assert destructive == {"scripts_stop", "scripts_restart", "instance_call"}
    for tool in TOOLS:
        hints = tool.as_hub_tool()["annotations"]
        assert not (hints["readOnlyHint"] and hints["destructiveHint"])


def test_a_failed_call_fits_every_output_schema() -> None:
    for tool in TOOLS:
        schema = tool.as_hub_tool()["outputSchema"]
        assert schema["type"] == "object"
        assert "required" not in schema
        assert schema.get("additionalProperties", True)
