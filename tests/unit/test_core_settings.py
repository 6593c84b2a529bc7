"""Settings: where they come from, which wins, and what is said of one that can't be understood."""

import os
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from brummer.core import servers
from brummer.core.gathering import files_for, gather, value_from_flag
from brummer.core.limits import DEFAULTS, Limits
from brummer.core.servers import Server
from brummer.core.settings import BY_KEY, TABLE, Flags, Origin, Settings
from brummer.core.toml_file import SettingsInvalid
from brummer.host.settings_files import LIMIT_BYTES, read_settings

USER, PROJECT = Path("/home/u/.brum.toml"), Path("/home/u/p/.brum.toml")
DOCUMENTATION = Path(__file__).parents[2] / "docs" / "configuration.md"


def of(text: str, **environ: str) -> Settings:
    return gather([(PROJECT, text)], environ)


# The table.


def test_every_limit_is_set_by_exactly_one_setting_and_has_one_default() -> None:
    assert sorted(setting.limit for setting in TABLE if setting.limit) == sorted(Limits.__struct_fields__)
    for setting in TABLE:
        assert Settings().value_of(setting) == setting.default


def test_every_default_is_a_value_that_may_be_set() -> None:
    for setting in TABLE:
        if setting.kind.most is not None:
            assert setting.read(setting.kind.from_text(setting.kind.shown(setting.default))) == setting.default


def test_the_variables_that_have_been_promised_are_called_as_promised() -> None:
    assert BY_KEY["use_robust_networking"].variable == "BRUMMER_USE_ROBUST_NETWORKING"
    assert BY_KEY["max_connections"].variable == "BRUMMER_MAX_CONNECTIONS"


def test_the_documentation_lists_the_same_settings() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (.+?) \| (.+?) \| `(\w+)` \| (.+?) \|$", DOCUMENTATION.read_text(), re.MULTILINE)
    assert rows == [
        (setting.key, setting.kind.name, setting.kind.shown(setting.default), setting.variable, setting.meaning)
        for setting in TABLE
    ]


# Where they come from.


def test_nothing_set_means_the_defaults() -> None:
    assert gather([], {}) == Settings()
    assert Settings().limits == DEFAULTS


def test_files_are_read_from_the_outermost_in_and_the_users_first() -> None:
    files = files_for(Path("/home/u/p"), Path("/home/u"))
    assert files == [Path("/home/u/.brum.toml"), Path("/.brum.toml"), Path("/home/.brum.toml"), PROJECT]


def test_the_later_file_wins_over_it_the_environment_and_over_that_the_command_line() -> None:
    files = [(USER, "max_parked = 1\nmax_queued_per_instance = 1"), (PROJECT, "\nmax_parked = 2")]
    settings = gather(files, {})
    assert (settings.limits.parked, settings.origin_of("max_parked")) == (2, Origin("file", str(PROJECT), 2))
    assert settings.origin_of("max_queued_per_instance") == Origin("file", str(USER), 2)
    settings = gather(files, {"BRUMMER_MAX_PARKED": "3"})
    assert (settings.limits.parked, settings.origin_of("max_parked")) == (3, Origin("variable", "BRUMMER_MAX_PARKED"))
    settings = gather(files, {"BRUMMER_MAX_PARKED": "3"}, Flags(dict([value_from_flag("max_parked=4")])))
    assert (settings.limits.parked, settings.origin_of("max_parked")) == (4, Origin("flag", "--set"))
    assert settings.origin_of("max_reply") == Origin()


@pytest.mark.parametrize(
    ("key", "in_toml", "in_words", "value"),
    [
        ("logind", "true", "yes", True),
        ("max_connections", "5", "5", 5),
        ("max_reply", '"2MiB"', "2MiB", 2 << 20),
        ("ledger_age", '"5m"', "5m", 300),
        ("ledger_age", "90", "90", 90),
        (
            "connectivity_endpoints",
            '["192.0.2.7:443", "[2001:db8::7]:53"]',
            "192.0.2.7:443, [2001:db8::7]:53",
            (("192.0.2.7", 443), ("2001:db8::7", 53)),
        ),
    ],
)
def test_every_kind_is_set_by_file_by_variable_and_by_flag(key: str, in_toml: str, in_words: str, value: Any) -> None:
    setting = BY_KEY[key]
    for settings in (
        of(f"{key} = {in_toml}"),
        gather([], {setting.variable: in_words}),
        gather([], {}, Flags(dict([value_from_flag(f"{key}={in_words}")]))),
    ):
        assert settings.problems == ()
        assert settings.value_of(setting) == value


def test_the_environment_takes_true_or_false_in_the_usual_words_and_nothing_else() -> None:
    for word, value in {"true": True, "YES": True, "0": False, "off": False, "": True}.items():
        assert gather([], {"BRUMMER_USE_ROBUST_NETWORKING": word}).use_robust_networking is value
    (problem,) = gather([], {"BRUMMER_USE_ROBUST_NETWORKING": "maybe"}).problems
    assert problem.context["key"] == "BRUMMER_USE_ROBUST_NETWORKING"


# What can't be understood.


@pytest.mark.parametrize(
    ("text", "key", "nearest"),
    [
        ("use_robust_networking = 1", "use_robust_networking", None),
        ('logind = "true"', "logind", None),
        ("max_connections = 0", "max_connections", None),
        ("max_connections = 5.0", "max_connections", None),
        ("max_connections = true", "max_connections", None),
        ('max_reply = "5 parsecs"', "max_reply", None),
        ("max_reply = 1", "max_reply", None),
        ('ledger_age = "400d"', "ledger_age", None),
        ('connectivity_endpoints = "192.0.2.7:443"', "connectivity_endpoints", None),
        ('connectivity_endpoints = ["192.0.2.7"]', "connectivity_endpoints", None),
        ('connectivity_endpoints = ["192.0.2.7:0"]', "connectivity_endpoints", None),
        ('connectivity_endpoints = ["192.0.2.7:65536"]', "connectivity_endpoints", None),
        ("connectivity_endpoints = [443]", "connectivity_endpoints", None),
        ("max_conections = 5", "max_conections", "max_connections"),
        ("[script]", "script", "scripts"),
        ("xyzzy = 1", "xyzzy", None),
    ],
)
def test_what_will_not_do_is_named_with_file_and_line_and_costs_nothing_else(
    text: str, key: str, nearest: str | None
) -> None:
    settings = gather([(USER, "max_parked = 1"), (PROJECT, f"max_request = 100000\n{text}")], {})
    (problem,) = settings.problems
    assert (problem.context["path"], problem.context["line"], problem.context["key"]) == (str(PROJECT), 2, key)
    assert problem.context.get("nearest") == nearest
    assert settings.limits == Limits(parked=1, request_bytes=100_000)


def test_a_value_that_will_not_do_leaves_the_one_before_it_in_force() -> None:
    settings = gather([(USER, "max_parked = 1"), (PROJECT, "max_parked = -1")], {"BRUMMER_MAX_PARKED": "many"})
    assert settings.limits.parked == 1
    assert [problem.context["key"] for problem in settings.problems] == ["max_parked", "BRUMMER_MAX_PARKED"]


def test_a_file_that_is_no_toml_costs_only_itself() -> None:
    settings = gather([(USER, "max_parked = 1"), (PROJECT, "\na = = b")], {})
    (problem,) = settings.problems
    assert (problem.context["path"], problem.context["line"]) == (str(PROJECT), 2)
    assert settings.limits.parked == 1


def test_scripts_are_somebody_elses_to_understand() -> None:
    assert of("[scripts.dev]\nanything = 1").problems == ()


def test_a_variable_that_is_nearly_ours_is_told_of_and_others_may_have_theirs() -> None:
    settings = gather([], {"BRUMMER_MAX_CONECTIONS": "5", "BRUMMER_ZEBRA": "x", "BRUMMER_INSTANCES_DIR": "/x"})
    assert settings.problems == ()
    assert [warning.context["nearest"] for warning in settings.warnings] == ["BRUMMER_MAX_CONNECTIONS"]


@pytest.mark.parametrize("text", ["max_parked", "max_parcked=3", "max_parked=-3", "logind=perhaps"])
def test_a_flag_that_will_not_do_is_refused(text: str) -> None:
    with pytest.raises(SettingsInvalid):
        value_from_flag(text)


# Servers.


def test_servers_are_collected_and_a_later_one_of_the_same_name_replaces_the_earlier() -> None:
    files = [
        (USER, '[servers.docs]\nurl = "http://127.0.0.1:1/mcp"\nheaders = {authorization = "x"}'),
        (PROJECT, '[servers.docs]\nurl = "http://127.0.0.1:2/mcp"\n[servers.db]\nurl = "https://db.example/mcp"'),
    ]
    settings = gather(files, {}, Flags(servers=(servers.from_flag("db=http://127.0.0.1:3/mcp"),)))
    assert settings.servers == (Server("docs", "http://127.0.0.1:2/mcp"), Server("db", "http://127.0.0.1:3/mcp"))
    assert settings.origin_of("servers.docs") == Origin("file", str(PROJECT), 1)
    assert settings.origin_of("servers.db") == Origin("flag", "--server")


@pytest.mark.parametrize(
    ("text", "key", "line"),
    [
        ("servers = 3", "servers", 1),
        ("[servers.a]", "servers.a.url", 1),
        ('[servers.a]\nurl = "ftp://x"', "servers.a.url", 2),
        ('[servers.a]\nurl = "http://[/mcp"', "servers.a.url", 2),
        ('[servers.a]\nurl = "http://h:99999/mcp"', "servers.a.url", 2),
        ('[servers.a]\nurl = "http://x"\nheader = {}', "servers.a.header", 3),
        ('[servers.a]\nurl = "http://x"\nheaders = {a = 1}', "servers.a.headers", 3),
    ],
)
def test_a_server_that_will_not_do_is_named_and_costs_nothing_else(text: str, key: str, line: int) -> None:
    settings = of(f'{text}\n[servers.b]\nurl = "http://b/mcp"' if key != "servers" else text)
    (problem,) = settings.problems
    assert (problem.context["key"], problem.context["line"]) == (key, line)
    assert [server.name for server in settings.servers] == (["b"] if key != "servers" else [])


def test_credentials_in_headers_and_addresses_are_not_shown() -> None:
    (server,) = of('[servers.a]\nurl = "http://u:secret@h:1/mcp?key=secret"\nheaders = {auth = "secret"}').servers
    assert "secret" not in f"{server} {server!r} {server.shown_url}"
    assert server.shown_url == "http://h:1/mcp?…"


def test_a_server_flag_is_name_and_url() -> None:
    assert servers.from_flag("docs=http://127.0.0.1:9/mcp").name == "docs"
    for text in ("docs", "=http://x", "docs=x"):
        with pytest.raises(SettingsInvalid):
            servers.from_flag(text)


# Files.


def test_files_are_read_where_they_stand(tmp_path: Path) -> None:
    project = tmp_path / "home" / "p"
    project.mkdir(parents=True)
    (tmp_path / "home" / ".brum.toml").write_text("max_parked = 1\nlogind = true")
    (project / ".brum.toml").write_bytes("\ufeffmax_parked = 2\r\n# grün".encode())
    settings = read_settings(project, {"HOME": str(tmp_path / "home")})
    assert (settings.limits.parked, settings.logind, settings.problems) == (2, True, ())


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="only root can give files away")
def test_a_file_of_another_user_above_the_project_is_left_out(tmp_path: Path) -> None:
    above, project = tmp_path / ".brum.toml", tmp_path / "p"
    project.mkdir()
    above.write_text("max_parked = 1")
    os.chown(above, 12_345, -1)
    environ = {"HOME": str(tmp_path / "home")}
    settings = read_settings(project, environ)
    assert (settings.limits, settings.problems) == (DEFAULTS, ())
    assert [warning.context["path"] for warning in settings.warnings] == [str(above)]
    os.chown(project, 12_345, -1)
    assert read_settings(project, environ).limits.parked == 1, "whose project it is, says how it runs"


def test_a_file_that_cannot_be_read_costs_only_itself(tmp_path: Path) -> None:
    home, project = tmp_path / "home", tmp_path / "home" / "p"
    project.mkdir(parents=True)
    (home / ".brum.toml").write_text("max_parked = 1")
    for content, line in ((b"# \n\xff", 2), (b"#" * (LIMIT_BYTES + 1), None)):
        (project / ".brum.toml").write_bytes(content)
        settings = read_settings(project, {"HOME": str(home)})
        assert [problem.context["path"] for problem in settings.problems] == [str(project / ".brum.toml")]
        assert settings.problems[0].line == line
        assert settings.limits == msgspec.structs.replace(DEFAULTS, parked=1)
