"""The text of an answer: what a reader is told beside the lists."""

from typing import Any

from brummer.contract.texts import change, instance, rendered

INSTANCE: dict[str, Any] = {
    "instance_id": "shop-00000000",
    "name": "shop",
    "state": "ready",
    "since_s": 3.0,
    "directory": "/projects/shop",
    "mcp_url": "http://127.0.0.1:1/mcp",
}


def test_an_instance_says_that_more_scripts_exist_or_that_it_did_not_answer() -> None:
    scripts = [{"name": "dev", "status": "ready", "urls": ["http://127.0.0.1:3000"]}]
    more = instance({**INSTANCE, "scripts": scripts, "more_scripts": True})
    assert "http://127.0.0.1:3000" in more
    assert more.endswith("and more: scripts_status has all")
    unknown = instance({**INSTANCE, "scripts_unknown": "it did not answer within 1 s"})
    assert "its scripts are not known: it did not answer within 1 s" in unknown


def test_a_change_that_happened_several_times_has_their_number() -> None:
    content = {"at": "2026-01-01T12:03:11Z", "process_id": "dev-1", "kind": "error", "title": "KeyError"}
    assert "x3" in change({**content, "count": 3})
    assert "x1" not in change({**content, "count": 1})


def test_a_connection_says_what_was_started_for_it_and_that_it_lasts_for_this_call_only() -> None:
    started = {"instance_id": "shop-00000000", "directory": "/projects/shop", "environment": "of your login shell"}
    text = rendered("instances_connect", {"instance": INSTANCE, "remembered": False, "started_instance": started})
    assert "its environment is that of your login shell" in text
    assert "pass `instance` in each call" in text
    assert "pass `instance`" not in rendered("instances_connect", {"instance": INSTANCE, "remembered": True})
