"""Settings: where they come from, which wins, and what is said of one that can't be understood."""

import os
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from brummer.cli import start
from brummer.discovery.record import HostName
from brummer.host.home import home_directory
from brummer.host.settings_files import LIMIT_BYTES, read_settings
from brummer.settings import servers
from brummer.settings.limits import DEFAULTS, Limits
from brummer.settings.load import REPORTED_MAX, SettingsFile, files_for, gather, value_from_flag
from brummer.settings.servers import Server
from brummer.settings.table import BY_KEY, TABLE, TABLES, Flags, Origin, Settings
from brummer.settings.toml_file import SettingsInvalid
from brummer.settings.types import PROJECT, USER, Setting
from brummer.settings.units import LARGEST

USERS, PROJECTS = Path("/home/u/.brum.toml"), Path("/home/u/p/.brum.toml")
DOCUMENTATION = Path(__file__).parents[2] / "docs" / "configuration.md"


def users(text: str) -> SettingsFile:
    return SettingsFile(USERS, text, USER)


def projects(text: str) -> SettingsFile:
    return SettingsFile(PROJECTS, text, PROJECT)


def of(text: str, **environ: str) -> Settings:
    return gather([users(text)], environ)


# The table.


@pytest.mark.promise("every-limit-holds")
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
    row = r"^\| `(\w+)` \| (.+?) \| (.+?) \| `(\w+)` \| (user|project) \| (.+?) \|$"
    assert re.findall(row, DOCUMENTATION.read_text(), re.MULTILINE) == [
        (each.key, each.kind.name, each.kind.shown(each.default), each.variable, each.set_by, each.meaning)
        for each in TABLE
    ]


# Where they come from.


def test_nothing_set_means_the_defaults() -> None:
    assert gather([], {}) == Settings()
    assert Settings().limits == DEFAULTS


def test_files_are_read_from_the_outermost_in_and_the_users_first() -> None:
    files = files_for(Path("/home/u/p"), Path("/home/u"))
    assert list(files.items()) == [
        (USERS, USER),
        (Path("/.brum.toml"), PROJECT),
        (Path("/home/.brum.toml"), PROJECT),
        (PROJECTS, PROJECT),
    ]


def test_the_later_file_wins_over_it_the_environment_and_over_that_the_command_line() -> None:
    files = [users("ledger_entries = 1\nmax_queued_per_instance = 1"), projects("\nledger_entries = 2")]
    settings = gather(files, {})
    assert (settings.limits.ledger_entries, settings.origin_of("ledger_entries")) == (
        2,
        Origin("file", str(PROJECTS), 2),
    )
    assert settings.origin_of("max_queued_per_instance") == Origin("file", str(USERS), 2)
    settings = gather(files, environ := {"BRUMMER_LEDGER_ENTRIES": "3"})
    assert settings.limits.ledger_entries == 3
    assert settings.origin_of("ledger_entries") == Origin("variable", "BRUMMER_LEDGER_ENTRIES")
    settings = gather(files, environ, Flags(dict([value_from_flag("ledger_entries=4")])))
    assert (settings.limits.ledger_entries, settings.origin_of("ledger_entries")) == (4, Origin("flag", "--set"))
    assert settings.origin_of("max_reply") == Origin()


# Settings that a project's file may have.


@pytest.mark.promise("a-repository-is-a-stranger")
def test_a_project_may_set_what_concerns_its_own_instance_and_the_list_is_explicit() -> None:
    assert {setting.key for setting in TABLE if setting.set_by == PROJECT} == {
        "ledger_entries",
        "ledger_size",
        "ledger_age",
        "output_size",
        "journal_size",
    }
    assert {name for name, set_by in TABLES.items() if set_by == PROJECT} == {"scripts"}


@pytest.mark.parametrize("setting", [each for each in TABLE if each.set_by == USER], ids=lambda each: each.key)
def test_a_setting_that_only_the_user_may_set_is_ignored_and_reported_in_a_projects_file(setting: Any) -> None:
    in_words = {"true or false": "true", "addresses": '["192.0.2.7:443"]'}.get(setting.kind.name, "70_000_000")
    settings = gather([projects(f"ledger_entries = 7\n{setting.key} = {in_words}")], {})
    assert (settings.value_of(setting), settings.origin_of(setting.key)) == (setting.default, Origin())
    assert settings.limits.ledger_entries == 7
    assert settings.problems == (), "an instance of this project starts"
    (warning,) = settings.warnings
    assert warning.code == "setting_ignored"
    assert (warning.context["path"], warning.context["line"], warning.context["key"]) == (str(PROJECTS), 2, setting.key)
    assert setting.variable in warning.message


@pytest.mark.promise("a-repository-is-a-stranger")
def test_a_project_adds_no_server_and_replaces_none() -> None:
    named = '[servers.docs]\nurl = "http://127.0.0.1:2/mcp"\n[servers.db]\nurl = "https://db.example/mcp"'
    for files in ([users('[servers.docs]\nurl = "http://127.0.0.1:1/mcp"'), projects(named)], [projects(named)]):
        settings = gather(files, {})
        assert [server.url for server in settings.servers] == ["http://127.0.0.1:1/mcp"] * (len(files) - 1)
        assert [(each.code, each.context["key"], each.line) for each in settings.warnings] == [
            ("setting_ignored", "servers.docs", 1),
            ("setting_ignored", "servers.db", 3),
        ]


@pytest.mark.parametrize(
    "text",
    [
        'servers = {docs = {url = "http://127.0.0.1:2/mcp"}}',
        'servers.docs.url = "http://127.0.0.1:2/mcp"',
        '["servers"."docs"]\n"url" = "http://127.0.0.1:2/mcp"',
        '"\\u0073ervers" = {docs = {url = "http://127.0.0.1:2/mcp"}}',
    ],
)
def test_a_projects_server_is_ignored_in_every_spelling_of_its_name(text: str) -> None:
    settings = gather([projects(text)], {})
    assert settings.servers == ()
    assert [each.context["key"] for each in settings.warnings] == ["servers.docs"]


def test_a_word_that_is_none_of_those_that_a_setting_knows_is_refused_with_them() -> None:
    assert of('start_instances = "never"').start_instances == "never"
    refused = of('start_instances = "always"')
    assert refused.start_instances == "known"
    assert "one of known, home, never" in refused.problems[0].message


def test_a_file_with_many_faults_gives_a_bounded_number_of_problems() -> None:
    servers_ = "".join(f'[servers.s{n}]\nurl = "http://h/"\n' for n in range(1_000))
    unknown = "".join(f"unknown_{n} = 1\n" for n in range(1_000))
    settings = gather([projects(unknown + servers_)], {})
    assert (len(settings.problems), len(settings.warnings)) == (REPORTED_MAX + 1, REPORTED_MAX + 1)
    assert settings.problems[-1].message == f"{PROJECTS}: {1_000 - REPORTED_MAX} more in this file"
    assert settings.warnings[-1].code == "setting_ignored"


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


NUMBERS = [setting for setting in TABLE if setting.kind.most is not None]


def numbers_for(setting: Setting) -> set[float]:
    most = setting.kind.most or 0
    return {0, 1, setting.least - 1, setting.least, setting.default, most, most + 1, 10**15, 10**30}


@pytest.mark.parametrize("setting", NUMBERS, ids=lambda each: each.key)
def test_a_number_is_accepted_unchanged_or_refused_with_the_valid_range(setting: Setting) -> None:
    """In a file, as a variable and as a flag."""
    least, most = setting.kind.shown(setting.least), setting.kind.shown(setting.kind.most)
    for number in sorted(numbers_for(setting)):
        value = int(number)
        in_range = setting.least <= value <= (setting.kind.most or 0)
        by_file = of(f"{setting.key} = {value}")
        by_variable = gather([], {setting.variable: str(value)})
        if setting.key.startswith("memory_") and in_range:  # the two depend on each other
            assert setting.read(value) == value
            continue
        for settings in (by_file, by_variable):
            assert settings.value_of(setting) == (value if in_range else setting.default)
            assert len(settings.problems) == (0 if in_range else 1)
        if in_range:
            assert value_from_flag(f"{setting.key}={value}") == (setting.key, value)
        else:
            with pytest.raises(SettingsInvalid):
                value_from_flag(f"{setting.key}={value}")
        if 0 <= value <= LARGEST and not in_range:
            assert by_file.problems[0].message.endswith(f"set it to something from {least} to {most}")


@pytest.mark.parametrize("setting", NUMBERS, ids=lambda each: each.key)
@pytest.mark.parametrize("text", ["-1", "-0.5", "nan", "inf", "-inf", "true", "[]", '""', '"-1s"', '"1e3"', '"٣"'])
def test_a_value_that_is_not_a_number_of_its_kind_is_refused(setting: Setting, text: str) -> None:
    settings = of(f"{setting.key} = {text}")
    assert settings.value_of(setting) == setting.default
    assert [problem.context["key"] for problem in settings.problems] == [setting.key]


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
    settings = of(f"max_request = 100000\n{text}", BRUMMER_MAX_PARKED="1")
    (problem,) = settings.problems
    assert (problem.context["path"], problem.context["line"], problem.context["key"]) == (str(USERS), 2, key)
    assert problem.context.get("nearest") == nearest
    assert settings.limits == Limits(parked=1, request_bytes=100_000)


def test_a_value_that_will_not_do_leaves_the_one_before_it_in_force() -> None:
    environ = {"BRUMMER_LEDGER_ENTRIES": "many"}
    settings = gather([users("ledger_entries = 1"), projects("ledger_entries = -1")], environ)
    assert settings.limits.ledger_entries == 1
    assert [problem.context["key"] for problem in settings.problems] == ["ledger_entries", "BRUMMER_LEDGER_ENTRIES"]


def test_a_file_that_is_no_toml_costs_only_itself() -> None:
    settings = gather([users("max_parked = 1"), projects("\na = = b")], {})
    (problem,) = settings.problems
    assert (problem.context["path"], problem.context["line"]) == (str(PROJECTS), 2)
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
    file = users(
        '[servers.docs]\nurl = "http://127.0.0.1:1/mcp"\nheaders = {authorization = "x"}\n'
        '[servers.db]\nurl = "https://db.example/mcp"'
    )
    settings = gather([file], {}, Flags(servers=(servers.from_flag("db=http://127.0.0.1:3/mcp"),)))
    assert settings.servers == (
        Server("docs", "http://127.0.0.1:1/mcp", {"authorization": "x"}),
        Server("db", "http://127.0.0.1:3/mcp"),
    )
    assert settings.origin_of("servers.docs") == Origin("file", str(USERS), 1)
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


def test_the_limits_of_a_server_are_read_from_its_table() -> None:
    text = '[servers.docs]\nurl = "http://h/"\ntimeout = "5m"\nmax_timeout = "2h"\nconnect_timeout = 30\n'
    (server,) = of(text).servers
    assert (server.timeout_s, server.max_timeout_s, server.connect_timeout_s) == (300, 7200, 30)


@pytest.mark.parametrize("value", ["0", "-1", '"5 parsecs"', "true", "[]", '"31d"', "nan", "inf"])
@pytest.mark.parametrize("key", ["timeout", "max_timeout", "connect_timeout"])
def test_an_invalid_limit_is_a_problem_with_its_line(key: str, value: str) -> None:
    text = f'[servers.docs]\nurl = "http://h/"\n{key} = {value}\n'
    settings = of(text)
    assert settings.servers == ()
    assert [(each.context["key"], each.line) for each in settings.problems] == [(f"servers.docs.{key}", 3)]


@pytest.mark.promise("no-secret-leaks")
def test_credentials_in_headers_and_addresses_are_not_shown() -> None:
    (server,) = of('[servers.a]\nurl = "http://u:secret@h:1/mcp?key=secret"\nheaders = {auth = "secret"}').servers
    assert "secret" not in f"{server} {server!r} {server.shown_url}"
    assert server.shown_url == "http://h:1/mcp?…"


def test_a_server_flag_is_name_and_url() -> None:
    assert servers.from_flag("docs=http://127.0.0.1:9/mcp").name == "docs"
    for text in ("docs", "=http://x", "docs=x"):
        with pytest.raises(SettingsInvalid):
            servers.from_flag(text)


@pytest.mark.parametrize(
    ("url", "destination"),
    [
        ("ssh://devbox", ("devbox", "")),
        ("ssh://Dev-Box.example", ("Dev-Box.example", "")),
        ("ssh://me@devbox:2222/", ("me@devbox", "2222")),
        ("ssh://me@[::1]:22", ("me@::1", "22")),
    ],
)
def test_a_machine_over_ssh_is_a_name_and_what_ssh_needs(url: str, destination: tuple[str, str]) -> None:
    for server in (servers.from_flag(f"box={url}"), *of(f'[servers.box]\nurl = "{url}"').servers):
        assert (server.name, server.is_box, server.destination) == ("box", True, destination)
    assert not servers.from_flag("docs=http://127.0.0.1:9/mcp").is_box


@pytest.mark.parametrize(
    "url",
    [
        "ssh://",
        "ssh://-oProxyCommand=x",
        "ssh://-l@box",
        "ssh://me:secret@box",
        "ssh://box/path",
        "ssh://box:0",
        "ssh://box:65536",
        "ssh://box%h",
        "ssh://b ox",
        "ssh://box;ls",
        "ssh://box\\n",
    ],
)
@pytest.mark.promise("no-secret-leaks")
def test_what_ssh_could_misunderstand_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(SettingsInvalid) as refused:
        servers.from_flag(f"box={url}")
    settings = of(f'[servers.box]\nurl = "{url}"')
    assert settings.servers == ()
    (problem,) = settings.problems
    assert "secret" not in f"{problem.message} {refused.value.message}"


@pytest.mark.parametrize("name", ["Box", "b_x", "a@b", "-box", "b" * 64])
def test_the_name_of_a_machine_can_stand_behind_the_at_of_an_instance(name: str) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(name, HostName)
    with pytest.raises(SettingsInvalid):
        servers.from_flag(f"{name}=ssh://box")
    assert of(f'[servers."{name}"]\nurl = "ssh://box"').servers == ()


@pytest.mark.parametrize("key", ["headers = {a = 'b'}", 'timeout = "5m"', "port = 3"])
def test_a_machine_over_ssh_has_no_key_but_its_url(key: str) -> None:
    settings = of(f'[servers.box]\nurl = "ssh://box"\n{key}')
    assert settings.servers == ()
    assert [each.line for each in settings.problems] == [3]


# Files.


class Tree:
    """A home directory with a clone in it."""

    def __init__(self, directory: Path) -> None:
        self.home = directory / "home"
        self.project = self.home / "p"
        self.project.mkdir(parents=True)
        self.environ = {"HOME": str(self.home)}

    def users(self, text: str | bytes) -> None:
        (self.home / ".brum.toml").write_bytes(text if isinstance(text, bytes) else text.encode())

    def projects(self, text: str | bytes) -> None:
        (self.project / ".brum.toml").write_bytes(text if isinstance(text, bytes) else text.encode())

    def read(self) -> Settings:
        return read_settings(self.project, self.environ)


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path)


SERVER = '[servers.docs]\nurl = "http://127.0.0.1:2/mcp"\n'


def test_files_are_read_from_their_directories(tree: Tree) -> None:
    tree.users("ledger_entries = 1\nlogind = true")
    tree.projects("\ufeffledger_entries = 2\r\n# grün")
    settings = tree.read()
    assert (settings.limits.ledger_entries, settings.logind, settings.problems) == (2, True, ())


def test_a_file_in_a_parent_directory_has_only_the_power_of_a_projects_file(tree: Tree) -> None:
    inner = tree.project / "a" / "b"
    inner.mkdir(parents=True)
    tree.projects(f"max_parked = 2\n{SERVER}")
    settings = read_settings(inner, tree.environ)
    assert (settings.limits, settings.servers) == (DEFAULTS, ())
    assert [warning.context["key"] for warning in settings.warnings] == ["max_parked", "servers.docs"]


def test_in_the_home_directory_itself_the_file_is_the_users(tree: Tree) -> None:
    tree.users(f"max_parked = 2\n{SERVER}")
    settings = read_settings(tree.home, tree.environ)
    assert (settings.limits.parked, len(settings.servers), settings.warnings) == (2, 1, ())


def test_the_users_file_may_be_a_link_into_a_repository(tree: Tree) -> None:
    (tree.home / "dotfiles").mkdir()
    (tree.home / "dotfiles" / "brum.toml").write_text(SERVER)
    (tree.home / ".brum.toml").symlink_to(tree.home / "dotfiles" / "brum.toml")
    assert len(tree.read().servers) == 1


def test_a_home_directory_with_two_paths_has_one_file(tree: Tree) -> None:
    tree.users(f"max_parked = 2\n{SERVER}")
    (tree.home.parent / "link").symlink_to(tree.home)
    settings = read_settings(tree.project, {"HOME": str(tree.home.parent / "link")})
    assert (settings.limits.parked, len(settings.servers), settings.warnings) == (2, 1, ())


def test_a_projects_link_to_the_users_file_changes_nothing(tree: Tree) -> None:
    tree.users(f"max_parked = 2\n{SERVER}")
    (tree.project / ".brum.toml").symlink_to(tree.home / ".brum.toml")
    settings = tree.read()
    assert (settings.limits.parked, len(settings.servers), settings.warnings) == (2, 1, ())


def test_a_projects_link_to_another_file_gives_it_no_power(tree: Tree) -> None:
    elsewhere = tree.home / "elsewhere.toml"
    elsewhere.write_text(SERVER)
    (tree.project / ".brum.toml").symlink_to(elsewhere)
    settings = tree.read()
    assert settings.servers == ()
    assert [warning.code for warning in settings.warnings] == ["setting_ignored"]


@pytest.mark.parametrize("home", ["", ".", "p", "../p"])
def test_a_relative_home_does_not_make_a_projects_file_the_users(
    tree: Tree, home: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tree.project)
    tree.projects(SERVER)
    settings = read_settings(tree.project, {"HOME": home})
    assert settings.servers == ()
    assert [warning.code for warning in settings.warnings] == ["setting_ignored"]
    found = home_directory({"HOME": home})
    assert found is not None
    assert found.is_absolute()


@pytest.mark.parametrize("home", ["", ".", "p"])
def test_a_command_has_an_absolute_home_from_its_start(home: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", home)
    start.ensure_home()
    assert Path(os.environ["HOME"]).is_absolute()
    assert Path.home().is_absolute()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_file_of_another_user_above_the_project_is_left_out(tree: Tree) -> None:
    above = tree.home.parent / ".brum.toml"
    above.write_text("ledger_entries = 1")
    os.chown(above, 12_345, -1)
    settings = tree.read()
    assert (settings.limits, settings.problems) == (DEFAULTS, ())
    assert [warning.context["path"] for warning in settings.warnings] == [str(above)]
    os.chown(tree.project, 12_345, -1)
    assert tree.read().limits.ledger_entries == 1, "whose project it is, says how it runs"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_the_owner_of_a_project_can_not_provide_the_users_own_file(tree: Tree) -> None:
    tree.users(SERVER)
    os.chown(tree.home / ".brum.toml", 12_345, -1)
    os.chown(tree.project, 12_345, -1)
    assert tree.read().servers == ()


def test_a_file_that_can_not_be_read_affects_no_other_file(tree: Tree) -> None:
    tree.users("max_parked = 1")
    for content, line in ((b"# \n\xff", 2), (b"#" * (LIMIT_BYTES + 1), None)):
        tree.projects(content)
        settings = tree.read()
        assert [problem.context["path"] for problem in settings.problems] == [str(tree.project / ".brum.toml")]
        assert settings.problems[0].line == line
        assert settings.limits == msgspec.structs.replace(DEFAULTS, parked=1)
