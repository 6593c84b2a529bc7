"""Settings: where they come from, which wins, and what is said of one that can't be understood."""

from pathlib import Path

import pytest

from brummer.core.settings import Settings, files_for, load, server_from_flag
from brummer.core.toml_file import SettingsInvalid

USER, PROJECT = Path("/home/u/.brum.toml"), Path("/home/u/p/.brum.toml")


def test_nothing_set_means_robust_networking_and_no_servers() -> None:
    assert load([], {}) == Settings(use_robust_networking=True, servers=())


def test_files_are_read_from_the_outermost_in_and_the_users_first() -> None:
    files = files_for(Path("/home/u/p"), Path("/home/u"))
    assert files == [Path("/home/u/.brum.toml"), Path("/.brum.toml"), Path("/home/.brum.toml"), PROJECT]


def test_the_later_file_wins_and_the_environment_wins_over_both() -> None:
    texts = [(USER, "use_robust_networking = false"), (PROJECT, "use_robust_networking = true")]
    assert load(texts, {}).use_robust_networking
    assert not load(texts, {"BRUMMER_USE_ROBUST_NETWORKING": "false"}).use_robust_networking
    assert not load(texts[:1], {}).use_robust_networking


def test_servers_are_collected_and_a_later_one_of_the_same_name_replaces_the_earlier() -> None:
    texts = [
        (USER, '[servers.docs]\nurl = "http://127.0.0.1:1/mcp"\nheaders = {authorization = "x"}'),
        (PROJECT, '[servers.docs]\nurl = "http://127.0.0.1:2/mcp"\n[servers.db]\nurl = "https://db.example/mcp"'),
    ]
    servers = {server.name: server for server in load(texts, {}).servers}
    assert {name: server.url for name, server in servers.items()} == {
        "docs": "http://127.0.0.1:2/mcp",
        "db": "https://db.example/mcp",
    }


def test_endpoints_are_host_and_port_and_the_later_file_replaces_the_list() -> None:
    texts = [
        (USER, 'logind = true\nconnectivity_endpoints = ["192.0.2.7:443"]'),
        (PROJECT, 'connectivity_endpoints = ["[2001:db8::7]:53", "router.lan:80"]'),
    ]
    settings = load(texts, {})
    assert settings.connectivity_endpoints == (("2001:db8::7", 53), ("router.lan", 80))
    assert settings.logind
    assert load(texts[:1], {}).connectivity_endpoints == (("192.0.2.7", 443),)


@pytest.mark.parametrize(
    "value", ['"192.0.2.7:443"', '["192.0.2.7"]', '["192.0.2.7:0"]', '["192.0.2.7:65536"]', "[443]"]
)
def test_an_endpoint_that_is_no_host_and_port_is_named_with_an_example(value: str) -> None:
    with pytest.raises(SettingsInvalid) as caught:
        load([(PROJECT, f"connectivity_endpoints = {value}")], {})
    assert caught.value.context["key"] == "connectivity_endpoints"
    assert str(PROJECT) in caught.value.message
    assert "192.0.2.7:443" in caught.value.message


def test_credentials_in_headers_are_not_shown() -> None:
    (server,) = load([(USER, '[servers.a]\nurl = "http://h/mcp"\nheaders = {authorization = "secret"}')], {}).servers
    assert "secret" not in repr(server)


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("use_robust_networking = 1", "use_robust_networking"),
        ("servers = 3", "servers"),
        ("[servers.a]", "servers.a"),
        ('[servers.a]\nurl = "ftp://x"', "a"),
        ('[servers.a]\nurl = "http://x"\nheader = {}', "servers.a"),
        ('[servers.a]\nurl = "http://x"\nheaders = {a = 1}', "servers.a"),
    ],
)
def test_a_setting_of_the_wrong_kind_is_named_with_its_file(text: str, key: str) -> None:
    with pytest.raises(SettingsInvalid) as caught:
        load([(PROJECT, text)], {})
    assert caught.value.context["key"] == key


def test_a_file_that_is_no_toml_is_an_error_that_names_it() -> None:
    with pytest.raises(SettingsInvalid) as caught:
        load([(PROJECT, "a = = b")], {})
    assert caught.value.context["path"] == str(PROJECT)


def test_the_environment_takes_true_or_false_in_the_usual_words_and_nothing_else() -> None:
    for word, value in {"true": True, "YES": True, "0": False, "off": False, "": True}.items():
        assert load([], {"BRUMMER_USE_ROBUST_NETWORKING": word}).use_robust_networking is value
    with pytest.raises(SettingsInvalid):
        load([], {"BRUMMER_USE_ROBUST_NETWORKING": "maybe"})


def test_a_server_flag_is_name_and_url() -> None:
    assert server_from_flag("docs=http://127.0.0.1:9/mcp").name == "docs"
    for text in ("docs", "=http://x", "docs=x"):
        with pytest.raises(SettingsInvalid):
            server_from_flag(text)
