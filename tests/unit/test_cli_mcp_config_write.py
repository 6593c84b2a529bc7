"""`brum mcp-config --write`: what becomes of the settings of a coding agent, to the last character."""

import json
import os
import sys
import tomllib
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from brummer.cli import ports, settings_of_clients
from brummer.cli.commands import mcp_config
from brummer.cli.json_edit import NotUnderstood, parsed, with_member
from brummer.cli.mcp_clients import CLIENTS, Client, SettingsPlaces
from brummer.cli.toml_edit import with_table
from tests.unit.cli_support import Brum, commands_in_this_process, own_surroundings

PATH = ("mcpServers", "brummer")
SERVER = {"command": "/b", "args": ["--mcp"]}
INDENTED = '{\n      "command": "/b",\n      "args": [\n        "--mcp"\n      ]\n    }'


@pytest.fixture
def brum(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Brum]:
    own_surroundings(tmp_path, monkeypatch)
    for variable in ("XDG_CONFIG_HOME", "CODEX_HOME", "CLAUDE_CONFIG_DIR"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(mcp_config, "_command", lambda: ["/b"])
    with commands_in_this_process(capsys) as run:
        yield run


def file_of(client: str, home: Path) -> Path:
    return CLIENTS[client].file(SettingsPlaces(home, {}, is_mac=sys.platform == "darwin"))


def left_in(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir()}


# The text of JSON.


@pytest.mark.parametrize(
    ("text", "becomes"),
    [
        ('{"a":1}', '{"a":1, "mcpServers": {"brummer": {"command": "/b", "args": ["--mcp"]}}}'),
        (
            '{\n  // me\n  "a": 1, // 1\n  "mcpServers": {\n    "o": {"url": ""} // z\n  }\n}\n',
            '{\n  // me\n  "a": 1, // 1\n  "mcpServers": {\n    "o": {"url": ""}, // z\n    "brummer": @\n  }\n}\n',
        ),
        (
            '{\n\t"a": [1,2,],\n\t"mcpServers": {},\n}\n',
            '{\n\t"a": [1,2,],\n\t"mcpServers": {\n\t\t"brummer": @\n\t},\n}\n',
        ),
        (
            '{"mcpServers":{"brummer":{"command":1},"z":2}}',
            '{"mcpServers":{"brummer":{"command": "/b", "args": ["--mcp"]},"z":2}}',
        ),
        (
            '{\r\n  "mcpServers": {}\r\n}',
            '{\r\n  "mcpServers": {\r\n    "brummer": @\r\n  }\r\n}',
        ),
        (
            '{ // why\n  "mcpServers": {\n    // none yet\n  }, // kept\n}',
            '{ // why\n  "mcpServers": {\n    // none yet\n    "brummer": @\n  }, // kept\n}',
        ),
    ],
)
def test_a_member_is_set_and_every_other_character_stays(text: str, becomes: str) -> None:
    """``@`` stands for the server, indented as the rest."""
    server = INDENTED.replace("  ", "\t") if "\t" in text else INDENTED
    becomes = becomes.replace("@", server.replace("\n", "\r\n") if "\r" in text else server)
    assert with_member(text, PATH, SERVER) == becomes
    assert with_member(becomes, PATH, SERVER) == becomes


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("[1]", 1),
        ('{\n"a": 1', 2),
        ('{"a" 1}', 1),
        ('{\n\n"mcpServers": []}', 3),
        ('{"a":1}\n x', 2),
        ("{a:1}", 1),
        ('{"a": 01x}', 1),
        ('{"a": 1}\n<<<<<<< HEAD\n', 2),
        ('{"a": /* no end }', 1),
        ("[" * 100_000, 1),
    ],
)
def test_a_text_that_is_no_json_object_is_refused_with_the_line(text: str, line: int) -> None:
    with pytest.raises(NotUnderstood) as raised:
        with_member(text, PATH, SERVER)
    assert raised.value.line == line


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@settings(deadline=None, max_examples=100)
@given(st.dictionaries(st.text() | st.sampled_from(PATH), VALUES), st.sampled_from([None, 0, 2, "\t"]))
def test_whatever_else_is_in_the_settings_has_the_same_meaning_afterwards(
    content: dict[str, Any], indent: int | str | None
) -> None:
    text = json.dumps(content, indent=indent)
    assert parsed(text) == content
    if not isinstance(content.get("mcpServers", {}), dict):
        return
    expected = {**content, "mcpServers": {**content.get("mcpServers", {}), "brummer": SERVER}}
    assert json.loads(with_member(text, PATH, SERVER)) == expected


# The text of TOML.


CODEX = ("mcp_servers", "brummer")
OTHER = '# mine\n[mcp_servers.other]\nargs = [\n  "[mcp_servers.brummer]",\n]\n'
BLOCK = '[mcp_servers.brummer]\ncommand = "/b"\nargs = ["--mcp"]\n'


@pytest.mark.parametrize(
    ("text", "becomes"),
    [
        ("", BLOCK),
        ("a = 1 # one\n", f"a = 1 # one\n\n{BLOCK}"),
        (
            f'[mcp_servers.brummer]\ncommand = "x"\n\n[mcp_servers.brummer.env]\nA = "1"\n\n{OTHER}',
            f"{BLOCK}\n\n{OTHER}",
        ),
        ('[mcp_servers."brummer"] # mine\ncommand = "x"\n[[x]]\na = 1\n', f"{BLOCK}[[x]]\na = 1\n"),
        ("a = 1\r\n", f"a = 1\n\n{BLOCK}".replace("\n", "\r\n")),
    ],
)
def test_a_table_is_set_and_every_other_line_stays(text: str, becomes: str) -> None:
    assert with_table(text, CODEX, SERVER) == becomes
    assert with_table(becomes, CODEX, SERVER) == becomes


@pytest.mark.parametrize(
    "text",
    [
        "a = \n",
        'mcp_servers = {brummer = {command = "x"}}\n',
        'mcp_servers.brummer.command = "x"\n',
        '[mcp_servers]\nbrummer.command = "x"\n',
        'mcp_servers = "none"\n',
        'a = """\n[mcp_servers.brummer]\nb = 1\n"""\n',
    ],
)
def test_a_table_that_can_not_be_found_by_its_header_is_left_alone(text: str) -> None:
    with pytest.raises(NotUnderstood):
        with_table(text, CODEX, SERVER)


def test_every_value_of_a_table_survives() -> None:
    text = 'd = 1979-05-27\n[mcp_servers.brummer]\nenv = { "a b" = "\\"\\u007f" }\nn = [1, 2.5, true]\nat = 07:32:00\n'
    table = tomllib.loads(text)["mcp_servers"]["brummer"]
    written = tomllib.loads(with_table(text, CODEX, {**table, "new": {}}))
    assert written["mcp_servers"]["brummer"] == {**table, "new": {}}


# The command.


@pytest.mark.parametrize("client", CLIENTS)
def test_the_hub_is_added_to_the_settings_of_each_client_once(brum: Brum, client: str, tmp_path: Path) -> None:
    ran, file = brum("mcp-config", "--write", client), file_of(client, tmp_path)
    assert (ran.status, ran.err) == (0, "")
    assert f"+++ {file}" in ran.out
    written = file.read_text()
    found = tomllib.loads(written) if client == "codex" else json.loads(written)
    server = found[CLIENTS[client].member]["brummer"]
    command = server["command"]
    assert [*([command] if isinstance(command, str) else command), *server.get("args", [])] == ["/b", "--mcp"]
    assert file.stat().st_mode & 0o777 == 0o600
    again = brum("mcp-config", "--write", client)
    assert again.out == f"{CLIENTS[client].title} has it already, in {file}\n"
    assert not any(name.endswith(".bak") for name in left_in(file.parent)), "nothing was changed, so nothing was copied"
    assert file.read_text() == written
    shown = brum("mcp-config", client).out
    assert f"~/{file.relative_to(tmp_path)}" in shown or client == "claude-code"


def test_the_settings_of_the_user_stay_and_the_old_file_is_kept(brum: Brum, tmp_path: Path) -> None:
    file, target = tmp_path / ".config" / "zed" / "settings.json", tmp_path / "dotfiles" / "zed.json"
    servers = '{"x": {"url": "u"}, "brummer": {"url": "v", "env": {"A": "1"}}}'
    old = f'// Zed\n{{\n  "theme": "One", // dark\n  "context_servers": {servers}\n}}\n'
    for path in (file, target):
        path.parent.mkdir(parents=True)
    target.write_text(old)
    target.chmod(0o664)
    file.symlink_to(target)
    ran = brum("mcp-config", "--write", "zed")
    assert ran.status == 0
    assert file.is_symlink()
    assert target.stat().st_mode & 0o777 == 0o664
    new = target.read_text()
    assert new.startswith('// Zed\n{\n  "theme": "One", // dark\n')
    assert parsed(new)["context_servers"] == {"x": {"url": "u"}, "brummer": {"env": {"A": "1"}, **SERVER}}
    [backup] = target.parent.glob("zed.json.*.bak")
    umask = os.umask(0o077)
    os.umask(umask)
    assert (backup.read_text(), backup.stat().st_mode & 0o777) == (old, 0o664 & ~umask)
    assert str(backup) in ran.out
    assert [line[0] for line in ran.out.splitlines() if line.startswith(("+", "-"))][:4] == ["-", "+", "-", "+"]


@pytest.mark.parametrize(
    ("client", "text"),
    [
        ("cursor", b'{"mcpServers": {"x": '),
        ("cursor", b'{"mcpServers": []}'),
        ("cursor", b"\xff{}"),
        ("codex", b"[mcp_servers"),
        ("codex", b'mcp_servers.brummer.command = "x"\n'),
    ],
)
def test_a_file_that_is_not_understood_is_left_as_it_is(brum: Brum, client: str, text: bytes, tmp_path: Path) -> None:
    file = file_of(client, tmp_path)
    file.parent.mkdir(parents=True)
    file.write_bytes(text)
    ran = brum("mcp-config", "--write", client)
    assert (ran.status, ran.out) == (1, "")
    assert str(file) in ran.err
    assert "not changed" in ran.err
    assert file.read_bytes() == text
    assert left_in(file.parent) == {file.name}


@pytest.mark.parametrize("text", [b"", b"\n", b"\xef\xbb\xbf{}", b"{}"])
def test_an_empty_file_has_no_settings_yet(brum: Brum, text: bytes, tmp_path: Path) -> None:
    file = file_of("cursor", tmp_path)
    file.parent.mkdir()
    file.write_bytes(text)
    assert brum("mcp-config", "--write", "cursor").status == 0
    written = file.read_text(encoding="utf-8-sig")
    assert json.loads(written) == {"mcpServers": {"brummer": SERVER}}
    assert file.read_bytes().startswith(b"\xef\xbb\xbf") == text.startswith(b"\xef\xbb\xbf")


def test_a_file_that_changes_meanwhile_is_not_overwritten(
    brum: Brum, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = file_of("cursor", tmp_path)
    file.parent.mkdir()
    file.write_text("{}")
    edit_of = settings_of_clients.edit_of

    def and_another(client: Client, path: Path, server: dict[str, Any]) -> settings_of_clients.Edit:
        edit = edit_of(client, path, server)
        path.write_text('{"mine": 1}')
        return edit

    monkeypatch.setattr(mcp_config, "edit_of", and_another)
    ran = brum("mcp-config", "--write", "cursor")
    assert (ran.status, file.read_text()) == (1, '{"mine": 1}')
    assert "try again" in ran.err


def test_a_directory_in_place_of_the_file_is_named(brum: Brum, tmp_path: Path) -> None:
    file_of("cursor", tmp_path).mkdir(parents=True)
    ran = brum("mcp-config", "--write", "cursor")
    assert (ran.status, "can't be read" in ran.err) == (1, True)


def test_over_http_the_entry_has_the_address_and_the_token(
    brum: Brum, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ports, "user_token", lambda: "secret")
    for client, member in (("gemini", "httpUrl"), ("windsurf", "serverUrl"), ("opencode", "url"), ("codex", "url")):
        assert brum("mcp-config", "--write", client).status == 0
        ran = brum("mcp-config", "--write", client, "--http", "localhost:7701")
        assert (ran.status, "--mcp --http localhost:7701" in ran.err) == (0, True)
        text = file_of(client, tmp_path).read_text()
        found = tomllib.loads(text) if client == "codex" else json.loads(text)
        server = found[CLIENTS[client].member]["brummer"]
        assert server[member] == "http://localhost:7701/mcp"
        assert {"Authorization": "Bearer secret"} in server.values()
        assert "command" not in server


@pytest.mark.parametrize("words", [["--write"], ["--write", "claude-desktop", "--http"]])
def test_what_can_not_be_written_is_a_wrong_argument(
    brum: Brum, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as raised:
        brum("mcp-config", *words)
    assert raised.value.code == 2


def test_version_2_of_opencode_has_its_servers_one_level_deeper(brum: Brum, tmp_path: Path) -> None:
    file = tmp_path / ".config" / "opencode" / "opencode.jsonc"
    file.parent.mkdir(parents=True)
    file.write_text('{"mcp": {"servers": {}}}')
    assert brum("mcp-config", "--write", "opencode").status == 0
    assert parsed(file.read_text())["mcp"] == {"servers": {"brummer": {"type": "local", "command": ["/b", "--mcp"]}}}


# Who has the hub.


WAYS = [(client, ()) for client in CLIENTS] + [(client, ("--http",)) for client, each in CLIENTS.items() if each.remote]


@pytest.mark.parametrize(("client", "http"), WAYS)
def test_a_client_that_was_given_the_hub_is_known_to_have_it(
    brum: Brum, tmp_path: Path, client: str, http: tuple[str, ...]
) -> None:
    assert hubs_in(tmp_path) == []
    assert brum("mcp-config", "--write", client, *http).status == 0
    assert hubs_in(tmp_path) == [CLIENTS[client].title]
    (finding,) = [each for each in json.loads(brum("doctor", "--json").out)["findings"] if each["subject"] == "agents"]
    assert finding["detail"] == f"configured: {CLIENTS[client].title}"


@pytest.mark.parametrize("client", [name for name, each in CLIENTS.items() if each.project_file])
def test_the_settings_of_a_project_count_in_its_directory(tmp_path: Path, client: str) -> None:
    project = tmp_path / "project"
    file = project / CLIENTS[client].project_file
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps({CLIENTS[client].member: {"mine": {"command": "brum", "args": ["--mcp"]}}}))
    places = SettingsPlaces(tmp_path / "home", {})
    title = f"{CLIENTS[client].title} (this directory)"
    assert settings_of_clients.configured_agents(places, project) == [title]
    assert settings_of_clients.configured_agents(places, tmp_path) == []


@pytest.mark.parametrize(
    "text", ['{"mcpServers": {"mine": {"command": "brum"}}}', '{"mcpServers": {"brummer": ', "[]", "\ufeff", "\0"]
)
def test_a_file_without_the_hub_or_that_is_not_understood_has_none(tmp_path: Path, text: str) -> None:
    (tmp_path / ".claude.json").write_text(text)
    assert hubs_in(tmp_path) == []


def hubs_in(home: Path) -> list[str]:
    places = SettingsPlaces(home, {}, is_mac=sys.platform == "darwin")
    return settings_of_clients.configured_agents(places, home / "no project")


# Where the settings are.


@pytest.mark.parametrize(
    ("platform", "client", "below"),
    [
        ("linux", "claude-desktop", ".config/Claude/claude_desktop_config.json"),
        ("darwin", "claude-desktop", "Library/Application Support/Claude/claude_desktop_config.json"),
        ("linux", "vscode", ".config/Code/User/mcp.json"),
        ("darwin", "vscode", "Library/Application Support/Code/User/mcp.json"),
        ("darwin", "zed", ".config/zed/settings.json"),
        ("darwin", "opencode", ".config/opencode/opencode.json"),
    ],
)
def test_each_system_has_its_own_places(platform: str, client: str, below: str, tmp_path: Path) -> None:
    places = SettingsPlaces(tmp_path, {}, is_mac=platform == "darwin")
    assert CLIENTS[client].file(places) == tmp_path / below


def test_variables_of_the_clients_move_their_settings(tmp_path: Path) -> None:
    environ = {"CODEX_HOME": "/c", "CLAUDE_CONFIG_DIR": "/d", "XDG_CONFIG_HOME": "/x"}
    places = SettingsPlaces(tmp_path, environ)
    assert CLIENTS["codex"].file(places) == Path("/c/config.toml")
    assert CLIENTS["claude-code"].file(places) == Path("/d/.claude.json")
    assert CLIENTS["opencode"].file(places) == Path("/x/opencode/opencode.json")
    assert SettingsPlaces(tmp_path, {"XDG_CONFIG_HOME": "relative"}).config == tmp_path / ".config"


def test_the_variant_of_an_editor_that_is_installed_gets_the_hub(tmp_path: Path) -> None:
    config = tmp_path / ".config" if sys.platform != "darwin" else tmp_path / "Library" / "Application Support"
    (config / "VSCodium" / "User").mkdir(parents=True)
    assert file_of("vscode", tmp_path) == config / "VSCodium" / "User" / "mcp.json"
    (config / "Code" / "User").mkdir(parents=True)
    assert file_of("vscode", tmp_path) == config / "Code" / "User" / "mcp.json"


@pytest.mark.parametrize(
    ("recorded", "package"),
    [
        (None, "brummer"),
        ({"url": "file:///x/brummer-1.whl", "archive_info": {}}, "file:///x/brummer-1.whl"),
        ({"url": "https://git.test/x", "vcs_info": {"vcs": "git", "commit_id": "1f"}}, "git+https://git.test/x"),
        (
            {"url": "https://git.test/x", "vcs_info": {"vcs": "git", "commit_id": "1f", "requested_revision": "v1"}},
            "git+https://git.test/x@v1",
        ),
    ],
    ids=["from an index", "from a file", "from a repository", "from a tag"],
)
def test_a_program_in_the_cache_of_a_package_tool_is_named_by_where_it_is_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recorded: dict[str, Any] | None, package: str
) -> None:
    beside = tmp_path / "brummer-1.dist-info"
    beside.mkdir()
    if recorded:
        (beside / "direct_url.json").write_text(json.dumps(recorded))
    monkeypatch.setattr("importlib.metadata.distribution", lambda _name: metadata.PathDistribution(beside))
    program = tmp_path / "uv" / "archive-v0" / "x" / "bin" / "brum"
    program.parent.mkdir(parents=True)
    program.write_text("")
    program.chmod(0o700)
    monkeypatch.setenv("PATH", os.devnull)
    monkeypatch.setattr(sys, "argv", [str(program)])
    assert f"uvx --from {package} brum --mcp" in mcp_config.text("claude-code")


def test_the_link_on_the_path_is_named_and_not_its_target(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program, link = tmp_path / "tools" / "brum", tmp_path / "bin" / "brum"
    for path in (program, link):
        path.parent.mkdir()
    program.write_text("")
    program.chmod(0o700)
    link.symlink_to(program)
    monkeypatch.setenv("PATH", str(link.parent))
    monkeypatch.setattr(sys, "argv", [str(program)])
    assert f"-- {link} --mcp" in mcp_config.text("claude-code")
