"""Which instance a call reaches, through a real hub to real instances; and a tool list that nothing changes."""

import json
from pathlib import Path

import pytest

from tests.integration.programs import LEGACY, MODERN_META, WAIT_S, Brum, Hub, Instance, within


def names_of(hub: Hub, **arguments: str) -> list[str]:
    """The names of the scripts that the reached instance has: each test project has one of its own."""
    content = hub.call("scripts_list", **arguments)
    return [script["name"] for script in content["scripts"]]


def only(script: str) -> dict[str, str]:
    return {"Procfile": f"{script}: echo this is {script}; sleep 300\n"}


@pytest.fixture
def shop(brum: Brum) -> Instance:
    return brum.instance(brum.project("work/shop", only("basket")))


@pytest.fixture
def api(brum: Brum) -> Instance:
    return brum.instance(brum.project("work/api", only("route")))


def directory_of(instance: Instance) -> Path:
    return Path(instance.record["directory"])


# By name.


@pytest.mark.promise("right-instance")
def test_by_id_by_name_by_directory_and_by_a_path_inside_it(brum: Brum, shop: Instance, api: Instance) -> None:
    hub = brum.hub().greet()
    inside = directory_of(api) / "src" / "deep"
    inside.mkdir(parents=True)
    for name in (api.id, "api", str(directory_of(api)), f"{directory_of(api)}/", str(inside)):
        assert names_of(hub, instance=name) == ["route"]
    assert names_of(hub, instance="shop") == ["basket"]


def test_a_name_that_nobody_has_is_refused_with_those_that_there_are(brum: Brum, shop: Instance, api: Instance) -> None:
    hub = brum.hub().greet()
    for name in ("nobody", "/no/such/place", str(brum.home / "no/such/place"), "*"):
        error = hub.call("scripts_list", instance=name)["error"]
        assert (error["code"], error["outcome"], error["retryable"]) == ("not_found", "not_executed", False)
        assert {item["instance_id"] for item in error["context"]["instances"]} == {shop.id, api.id}
        assert {item["name"] for item in error["context"]["instances"]} == {"shop", "api"}


@pytest.mark.promise("a-choice-is-listed")
def test_a_name_that_two_have_is_refused_with_both_ids(brum: Brum) -> None:
    first = brum.instance(brum.project("one/shop", only("basket")))
    second = brum.instance(brum.project("two/shop", only("route")))
    hub = brum.hub().greet()
    error = hub.call("scripts_list", instance="shop")["error"]
    assert error["code"] == "ambiguous_instance"
    assert {item["instance_id"] for item in error["context"]["instances"]} == {first.id, second.id}
    assert names_of(hub, instance=second.id) == ["route"]


def test_a_second_instance_in_one_directory_is_reached_by_its_name(brum: Brum, shop: Instance) -> None:
    other = brum.instance(directory_of(shop), "--name", "nightly")
    hub = brum.hub().greet()
    hub.call("scripts_run", instance="nightly", name="basket", wait="none")
    assert [item["name"] for item in hub.call("scripts_status", instance=other.id)["processes"]] == ["basket"]
    assert hub.call("scripts_status", instance=shop.id)["processes"] == []


# Without a name.


def test_the_only_instance_needs_no_name(brum: Brum, shop: Instance) -> None:
    assert names_of(brum.hub().greet()) == ["basket"]


@pytest.mark.promise("a-choice-is-listed")
def test_two_instances_need_one_and_the_error_lists_them(brum: Brum, shop: Instance, api: Instance) -> None:
    hub = brum.hub().greet()
    error = hub.call("scripts_list")["error"]
    assert (error["code"], error["outcome"]) == ("ambiguous_instance", "not_executed")
    assert {item["instance_id"] for item in error["context"]["instances"]} == {shop.id, api.id}
    assert {item["directory"] for item in error["context"]["instances"]} == {
        str(directory_of(shop)),
        str(directory_of(api)),
    }


def test_no_instance_at_all_is_an_error_that_a_retry_does_not_mend_and_it_says_what_does(brum: Brum) -> None:
    error = brum.hub().greet().call("scripts_list")["error"]
    assert (error["code"], error["retryable"], error["outcome"]) == ("no_instances", False, "not_executed")
    assert "brum up -d" in error["message"]


@pytest.mark.promise("right-instance")
def test_the_chosen_instance_is_meant_until_the_choice_is_forgotten(brum: Brum, shop: Instance, api: Instance) -> None:
    hub = brum.hub().greet()
    chosen = hub.call("instances_connect", instance="api")
    assert (chosen["instance"]["instance_id"], chosen["remembered"]) == (api.id, True)
    assert names_of(hub) == ["route"]
    assert names_of(hub, instance="shop") == ["basket"]
    assert hub.call("instances_disconnect")["disconnected"] == api.id
    assert hub.call("instances_disconnect")["disconnected"] is None
    assert hub.call("scripts_list")["error"]["code"] == "ambiguous_instance"


def test_the_choice_comes_before_the_place(brum: Brum, shop: Instance, api: Instance) -> None:
    hub = brum.hub(cwd=directory_of(shop)).greet()
    assert names_of(hub) == ["basket"]
    hub.call("instances_connect", instance=api.id)
    assert names_of(hub) == ["route"]


def test_a_hub_that_is_started_inside_a_project_means_that_project(brum: Brum, shop: Instance, api: Instance) -> None:
    inside = directory_of(api) / "src"
    inside.mkdir()
    assert names_of(brum.hub(cwd=inside).greet()) == ["route"]


@pytest.mark.promise("right-instance")
def test_of_nested_projects_the_inner_one_is_meant(brum: Brum, shop: Instance) -> None:
    inner = brum.instance(brum.project("work/shop/plugin", only("plug")))
    assert names_of(brum.hub(cwd=directory_of(inner)).greet()) == ["plug"]
    assert names_of(brum.hub(cwd=directory_of(shop)).greet()) == ["basket"]


def test_the_clients_root_tells_which_project_is_meant(brum: Brum, shop: Instance, api: Instance) -> None:
    hub = brum.hub().greet(roots=[directory_of(api) / "with a blank"])
    assert names_of(hub) == ["route"]


def test_a_client_whose_root_changes_is_asked_again(brum: Brum, shop: Instance, api: Instance) -> None:
    hub = brum.hub().greet(roots=[directory_of(api)])
    assert names_of(hub) == ["route"]
    hub.roots = [directory_of(shop).as_uri()]
    hub.send(b'{"jsonrpc":"2.0","method":"notifications/roots/list_changed"}\n')
    hub.ask("ping")
    assert names_of(hub) == ["basket"]


def test_a_symbolic_link_to_a_project_is_that_project(brum: Brum, shop: Instance, api: Instance) -> None:
    link = brum.home / "shortcut"
    link.symlink_to(directory_of(api))
    assert names_of(brum.hub(cwd=link).greet()) == ["route"]
    assert names_of(brum.hub().greet(), instance=str(link)) == ["route"]


def test_an_instance_that_starts_later_is_found(brum: Brum) -> None:
    hub = brum.hub().greet()
    assert hub.call("instances_list")["instances"] == []
    late = brum.instance(brum.project("late", only("late")))
    assert within(WAIT_S, lambda: [item["state"] for item in hub.call("instances_list")["instances"]] == ["ready"])
    assert names_of(hub) == ["late"]
    late.end()
    assert within(WAIT_S, lambda: [item["state"] for item in hub.call("instances_list")["instances"]] == ["gone"])


# Over all, and through.


@pytest.mark.promise("waits-block")
def test_waiting_everywhere_ends_with_the_first_match(brum: Brum, shop: Instance, api: Instance) -> None:
    hub = brum.hub().greet()
    hub.call("scripts_run", instance="api", name="route", wait="none")
    match = hub.call("wait_for", instance="*", log="this is route", since="1h", timeout_s=WAIT_S)
    assert (match["matched"], match["what"], match["instance"]) == (True, "log", api.id)
    assert match["line"]["text"] == "this is route"
    assert match["incomplete"] == []


def test_waiting_everywhere_for_nothing_ends_in_time(brum: Brum, shop: Instance, api: Instance) -> None:
    nothing = brum.hub().greet().call("wait_for", instance="*", log="never", timeout_s=0.2)
    assert (nothing["matched"], nothing["incomplete"]) == (False, [])


def test_what_an_instance_offers_can_be_listed_and_called(brum: Brum, shop: Instance) -> None:
    hub = brum.hub().greet()
    tools = hub.call("instance_tools", instance="shop")["tools"]
    assert {"scripts_list", "wait_for"} <= {tool["name"] for tool in tools}
    assert all("instance" not in tool["inputSchema"]["properties"] for tool in tools)
    inner = hub.call("instance_call", instance="shop", tool="scripts_list", arguments={})
    assert inner == hub.call("scripts_list", instance="shop")
    assert hub.call("instance_call", tool="no_such_tool", arguments={})["error"]["outcome"] == "not_executed"


@pytest.mark.promise("payloads-pass-unchanged")
def test_any_content_of_an_instances_own_tool_passes_unchanged(brum: Brum) -> None:
    """The conformance launcher's instance has tools that answer with an image, audio and a resource."""
    launcher = Path(__file__).parent / "conformance_server.py"
    brum.python(launcher, "instance", brum.project("pictures")).stdout.line()
    hub = brum.hub().greet()
    result = hub.ask("tools/call", name="instance_call", arguments={"tool": "test_multiple_content_types"})
    assert [block["type"] for block in result["content"]] == ["text", "image", "resource"]
    assert "structuredContent" not in result
    asked = {"name": "instance_call", "arguments": {"tool": "test_tool_with_progress"}}
    result = hub.ask("tools/call", _meta={"progressToken": "p"}, **asked)
    assert [block["text"] for block in result["content"]] == ["done"]
    reports = [message["params"] for message in hub.notifications if message["method"] == "notifications/progress"]
    assert [(report["progressToken"], report["progress"]) for report in reports] == [("p", 0), ("p", 50), ("p", 100)]


# The list.


@pytest.mark.promise("frozen-tools")
def test_the_tool_list_is_byte_identical_whatever_comes_and_goes(brum: Brum) -> None:
    hub = brum.hub().greet()

    def lists() -> tuple[str, str]:
        found = []
        for meta in ({}, {"_meta": MODERN_META}):
            hub.send(json.dumps({"jsonrpc": "2.0", "id": 0, "method": "tools/list", "params": meta}).encode() + b"\n")
            found.append(hub.stdout.line())
        return found[0], found[1]

    before = lists()
    instance = brum.instance(brum.project("shop", only("basket")))
    assert within(WAIT_S, lambda: "error" not in hub.call("instances_connect", instance="shop"))
    assert lists() == before
    instance.end()
    assert within(WAIT_S, lambda: hub.call("instances_list")["instances"][0]["state"] == "gone")
    assert lists() == before
    another = brum.hub(cwd=brum.home / "shop").greet()
    another.send(b'{"jsonrpc":"2.0","id":0,"method":"tools/list","params":{}}\n')
    assert another.stdout.line() == before[0]


def test_the_tool_list_is_small_and_well_formed(brum: Brum) -> None:
    hub = brum.hub()
    hub.ask("initialize", protocolVersion=LEGACY, capabilities={}, clientInfo={"name": "t", "version": "0"})
    tools = hub.ask("tools/list")["tools"]
    assert len(hub.stdout.seen[-1]) < 12 * 1024
    assert len(tools) == 16
    for tool in tools:
        assert len(tool["name"]) <= 40
        assert tool["inputSchema"]["type"] == "object"
        assert {"readOnlyHint", "destructiveHint", "idempotentHint"} <= tool["annotations"].keys()
        assert tool["description"].count(". ") <= 1
    local = {"instances_list", "instances_connect", "instances_disconnect", "hub_status", "view_open"}
    routed = {tool["name"] for tool in tools if "instance" in tool["inputSchema"]["properties"]} - {"instances_connect"}
    assert routed == {tool["name"] for tool in tools} - local
