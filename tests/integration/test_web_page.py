"""The page of `brum web` in a real browser."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.integration.browser import Tab, chromium, page_server
from tests.integration.programs import SERVER_PY, WAIT_S, Brum, tasks, within
from tests.integration.token_proxy import proxy_with_token

HOSTILE = """\
import sys, time
lines = [
    "<script>window.ran = 1</script>",
    "<img src=x onerror='window.ran = 2'>",
    "<svg onload='window.ran = 3'></svg>",
    "javascript:window.ran=4 data:text/html,<script>window.ran=5</script>",
    "http://127.0.0.1:1/'onmouseover='window.ran=6",
    "\\x1b]52;c;aGFja2Vk\\x07 osc, \\x1b[2Jcsi, nul \\x00 end",
    "before\\u202eafter \\u200bzero",
    "]]><!--</style></script>{nonce}${7*7}{{7*7}}",
    "w" * 16000,
    "\\u6f22\\u5b57 \\U0001F600 wide",
    "ERROR the end",
]
for line in lines:
    print(line, flush=True)
time.sleep(600)
"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """One for all tests; what a tab keeps ends with it. Not for the session: asyncio can't run beside playwright."""
    with chromium() as browser:
        yield browser


@pytest.fixture
def tab(browser: Any) -> Iterator[Tab]:
    """It ends with a page without errors, that its policy refused nothing, and which asked nobody but its server."""
    tab = Tab(browser)
    try:
        yield tab
        assert tab.errors == []
        assert tab.violations == []
        assert {urlsplit(url).hostname for url in tab.requests if not url.startswith("data:")} <= {"127.0.0.1"}
    finally:
        tab.close()


def place_of(brum: Brum, project: str, script: str = "") -> str:
    """What follows the secret in an address, to show this script."""
    instance = next(brum.instances.glob(f"{project}-*.json")).stem
    return f"/{instance}/{script}" if script else f"/{instance}"


@pytest.mark.promise("the-page-is-its-users")
def test_the_address_opens_the_page_once_and_leaves_no_trace(brum: Brum, browser: Any, tab: Tab) -> None:
    brum.instance(brum.project("shop"))
    server = page_server(brum)
    page = tab.open(server.url)
    tab.says("shop")
    secret = server.url.partition("#")[2]
    assert secret not in page.url
    assert page.evaluate("history.length") <= 2
    assert not any(secret in url for url in tab.requests)
    assert page.evaluate("document.cookie") == ""
    other = Tab(browser)
    try:
        other.open(server.url)
        other.says("This address was used already")
        assert "shop" not in other.page.inner_text("body")
    finally:
        other.close()


def test_a_link_opened_in_a_second_tab_needs_no_secret_of_its_own(brum: Brum, tab: Tab) -> None:
    brum.instance(brum.project("shop"))
    tab.open(page_server(brum).url)
    tab.page.get_by_role("link", name="hello").first.wait_for()
    second = tab.context.new_page()
    second.goto(tab.page.url.partition("#")[0] + "#" + place_of(brum, "shop", "hello"))
    second.get_by_role("heading", name="shop › hello").wait_for()


@pytest.mark.promise("the-page-runs-only-itself")
def test_hostile_lines_and_names_are_text(brum: Brum, tab: Tab) -> None:
    evil = "<b onclick=x>evil"
    files = {"hostile.py": HOSTILE, **tasks({evil: f"{sys.executable} hostile.py", "[red]name": "sleep 600"})}
    brum.instance(brum.project("shop", files), evil, "[red]name")
    page = tab.open(page_server(brum).url)
    page.get_by_role("link", name=evil).first.click()
    page.locator("#lines").get_by_text("ERROR the end").wait_for()
    shown = page.inner_text("#lines")
    assert "<script>window.ran = 1</script>" in shown
    assert "<img src=x onerror='window.ran = 2'>" in shown
    assert "before\\u202eafter \\u200bzero" in shown
    assert "漢字 😀 wide" in shown
    assert "]]><!--</style></script>{nonce}${7*7}{{7*7}}" in shown
    assert page.evaluate("[...document.querySelectorAll('#lines a')].map(a => a.protocol)") == ["http:"]
    assert page.evaluate("document.querySelectorAll('#lines script, #lines img, #lines svg, b[onclick]').length") == 0
    page.get_by_role("tab", name="What happened").click()
    page.get_by_role("link", name="All projects").click()
    tab.says(evil)
    assert page.evaluate("window.ran") is None


@pytest.mark.promise("the-page-runs-only-itself")
def test_what_the_policy_forbids_does_not_run(brum: Brum, browser: Any) -> None:
    """So that the other tests, which see no violation, mean something."""
    tab = Tab(browser)
    try:
        page = tab.open(page_server(brum).url)
        tab.says("no project has an instance yet")
        page.evaluate(
            """() => {
                const script = document.createElement("script");
                try { script.textContent = "window.ran = 1"; } catch { window.refused = true; }
                document.body.append(script);
                fetch("http://127.0.0.2:1/").catch(() => {});
                document.body.setAttribute("style", "color: red");
            }"""
        )
        tab.becomes("window.violations.length >= 3")
        assert page.evaluate("window.ran") is None
        assert page.evaluate("window.refused") is True
    finally:
        tab.close()


@pytest.mark.promise("the-page-comes-back")
def test_a_server_that_is_killed_and_comes_back_finds_the_page_waiting(brum: Brum, tab: Tab) -> None:
    brum.instance(brum.project("shop"), "dev")
    server = page_server(brum)
    tab.open(server.url)
    tab.says("ready for")
    server.signal(signal.SIGKILL)
    server.wait()
    tab.says("brum web is away since")
    assert tab.page.locator("#away").inner_text().endswith("waiting")
    assert tab.page.locator("#cards").inner_text().startswith("shop")
    page_server(brum)
    tab.becomes("document.getElementById('away').textContent === ''")
    instance = place_of(brum, "shop").removeprefix("/")
    brum.run("call", instance, "scripts_run", '{"name": "fail", "wait": "exit"}')
    tab.says("failed: exit 3")


@pytest.mark.promise("the-page-comes-back")
def test_a_stranger_on_the_servers_port_is_not_shown_the_secret(brum: Brum, tab: Tab) -> None:
    server = page_server(brum)
    tab.open(server.url)
    tab.says("no project has an instance yet")
    port = urlsplit(server.url).port
    assert port is not None
    server.signal(signal.SIGKILL)
    server.wait()
    tab.says("brum web is away since")
    stranger = brum.project("stranger", {"stranger.py": STRANGER})
    heard = stranger / "heard"
    brum.python(stranger / "stranger.py", str(port), heard)
    tab.says("This page was open for too long")
    asked = heard.read_text()
    assert "/proof?nonce=" in asked
    assert "authorization" not in asked.lower()


@pytest.mark.promise("the-page-comes-back")
def test_an_instance_that_stops_or_is_killed_is_shown_as_that_and_holds_up_nothing(brum: Brum, tab: Tab) -> None:
    files = {"Procfile": "dev: echo first; sleep 600\nfail: exit 3\n"}
    stopped = brum.instance(brum.project("shop", files), "dev")
    other = brum.instance(brum.project("api", files), "dev")
    page = tab.open(page_server(brum).url + place_of(brum, "shop", "dev"))
    page.locator("#lines").get_by_text("first").wait_for()
    stopped.signal(signal.SIGSTOP)
    page.locator("#state").get_by_text("suspect since").wait_for()
    brum.run("call", other.id, "scripts_run", '{"name": "fail", "wait": "exit"}')
    page.locator("#verdict").get_by_text("api › fail").wait_for()
    assert page.get_by_role("button", name="Restart").is_disabled()
    stopped.signal(signal.SIGCONT)
    tab.becomes("!document.querySelector('#state').textContent.includes('suspect')")
    stopped.signal(signal.SIGKILL)
    stopped.wait()
    page.locator("#state").get_by_text("gone since").wait_for()
    assert "first" in page.inner_text("#lines")
    brum.instance(brum.home / "shop", "dev")
    page.locator("#lines").get_by_text("the instance was started anew").wait_for()
    page.locator("#state").get_by_text("running for").wait_for()


STRANGER = """\
import http.server, pathlib, sys

class Stranger(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        with pathlib.Path(sys.argv[2]).open("a") as heard:
            heard.write(f"{self.path}\\n{self.headers}\\n")
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b'{"proof": "00"}')
    do_POST = do_GET

http.server.ThreadingHTTPServer.allow_reuse_address = True
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Stranger).serve_forever()
"""


@pytest.mark.promise("the-page-for-everybody")
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing(brum: Brum, browser: Any, js: Path, theme: str) -> None:
    brum.instance(brum.project("shop"), "dev", "hello", "fail")
    tab = Tab(browser, color_scheme=theme)
    try:
        page = tab.open(page_server(brum).url)
        tab.says("failed: exit 3")
        place, axe = place_of(brum, "shop"), (js / "node_modules" / "axe-core" / "axe.min.js").read_text()
        page.evaluate(axe)
        for hash_ in ("/", place, f"{place}/dev", f"{place}/fail?tab=errors", f"{place}?tab=story"):
            page.evaluate("place => { location.hash = place; }", hash_)
            tab.becomes(f"document.querySelector('nav [aria-current]')?.hash === '#{hash_.partition('?')[0]}'")
            tab.becomes("document.getAnimations().length === 0")
            found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
            faults = [(each["id"], [node["html"] for node in each["nodes"]]) for each in found["violations"]]
            assert faults == [], hash_
        page.keyboard.press("?")
        found = page.evaluate("axe.run(document.querySelector('dialog[open]'))")
        assert [each["id"] for each in found["violations"]] == []
    finally:
        tab.close()


@pytest.mark.promise("the-page-for-everybody")
def test_everything_can_be_done_with_the_keyboard_alone(brum: Brum, tab: Tab) -> None:
    brum.instance(brum.project("shop", {"Procfile": "dev: sh -c 'echo first; echo second; sleep 600'\n"}), "dev")
    page = tab.open(page_server(brum).url)
    tab.says("running for")
    page.keyboard.press("j")  # the project
    page.keyboard.press("j")  # its script
    page.get_by_role("heading", name="shop › dev").wait_for()
    tab.says("second")
    page.keyboard.press("/")
    page.keyboard.type("first")
    page.locator("#lines mark").wait_for()
    assert "second" not in page.inner_text("#lines")
    page.keyboard.press("Escape")
    page.keyboard.press("h")
    page.get_by_role("tab", name="What happened", selected=True).wait_for()
    page.keyboard.press("h")
    page.get_by_role("tab", name="Lines", selected=True).wait_for()
    page.keyboard.press("s")
    page.locator("#state").get_by_text("stopped").wait_for()
    page.keyboard.press("s")
    page.locator("#state").get_by_text("running for").wait_for()
    pid = page.locator("#state").get_by_text("pid").inner_text()
    page.keyboard.press("r")
    tab.becomes(f"!document.querySelector('#state').textContent.includes('{pid}')")
    page.keyboard.press("?")
    page.get_by_role("dialog").wait_for()
    page.keyboard.press("Escape")
    page.locator("dialog[open]").wait_for(state="detached")
    reached = set()
    for _ in range(30):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.id || document.activeElement.textContent"))
    assert {"query", "level", "wraps", "times", "lines", "span", "Restart", "Stop", "help"} <= reached


def test_the_buttons_start_restart_and_stop(brum: Brum, tab: Tab) -> None:
    files = {"Procfile": f"dev: {sys.executable} server.py\nquiet: sleep 600\n", "server.py": SERVER_PY}
    brum.instance(brum.project("shop", files), "quiet")
    page = tab.open(page_server(brum).url)
    page.get_by_role("link", name="dev").first.click()
    page.get_by_role("button", name="Start").click()
    page.locator("#state").get_by_text("ready for").wait_for()
    assert page.locator("#state a").get_attribute("href").startswith("http://127.0.0.1:")
    page.get_by_role("navigation").get_by_role("link", name="shop").click()
    page.get_by_role("button", name="Stop all").click()
    dialog = page.get_by_role("dialog")
    assert "Stop 2 scripts of shop: " in dialog.inner_text()
    dialog.get_by_role("button", name="Cancel").click()
    assert page.get_by_role("button", name="Stop all").is_enabled()
    page.get_by_role("button", name="Stop all").click()
    dialog.get_by_role("button", name="Stop all").click()
    page.locator("#state").get_by_text("nothing runs").wait_for()


@pytest.mark.promise("typing")
def test_a_question_of_a_script_is_answered_in_the_page(brum: Brum, tab: Tab) -> None:
    script = """import getpass\nprint("hello", input("Your name? "))\nprint(len(input("Password: ")), "long")\n"""
    brum.instance(brum.project("shop", {"ask.py": script, "Procfile": f"ask: {sys.executable} ask.py\n"}), "ask")
    page = tab.open(page_server(brum).url + place_of(brum, "shop", "ask"))
    page.get_by_label("Your name?").wait_for()
    page.keyboard.press("i")
    page.keyboard.type("<i>Ada</i>")
    page.keyboard.press("Enter")
    page.locator("#lines").get_by_text("hello <i>Ada</i>").wait_for()
    field = page.get_by_label("Password:")
    field.wait_for()
    tab.becomes("document.getElementById('typed').type === 'password' && document.getElementById('typed').value === ''")
    field.fill("secret word")
    page.get_by_role("button", name="send").click()
    page.locator("#lines").get_by_text("11 long").wait_for()
    page.locator("#state").get_by_text("done").wait_for()
    assert not page.locator("#typing").is_visible()
    assert "secret word" not in page.inner_text("body")


def test_a_page_that_nobody_sees_only_listens_for_failures(brum: Brum, tab: Tab) -> None:
    instance = brum.instance(brum.project("shop"), "dev")
    page = tab.open(page_server(brum).url + place_of(brum, "shop", "dev"))
    page.locator("#lines").get_by_text("ready on").wait_for()
    page.get_by_role("link", name="hello").wait_for()  # all of the project was read
    tools: list[str] = []
    page.evaluate(
        """() => {
            Object.defineProperty(document, "visibilityState", { value: "hidden", configurable: true });
            document.dispatchEvent(new Event("visibilitychange"));
        }"""
    )
    page.on("request", lambda request: tools.append(request.headers.get("mcp-name", "")))
    for _ in range(2):
        brum.run("call", instance.id, "scripts_run", '{"name": "fail", "wait": "exit"}')
    tab.becomes("document.title.startsWith('(1!)')")
    assert "changes_since" in tools
    assert set(tools) <= {"changes_since", "scripts_status", "hub_status"}
    assert tools.count("hub_status") <= 1
    page.evaluate(
        """() => {
            delete document.visibilityState;
            document.dispatchEvent(new Event("visibilitychange"));
        }"""
    )
    tab.becomes("document.getElementById('verdict').textContent.includes('fail')")
    assert within(WAIT_S, lambda: page.evaluate("1") and tools.count("hub_status") > 1)


def test_cpu_and_memory_of_a_script_are_plotted(brum: Brum, tab: Tab) -> None:
    brum.instance(brum.project("shop", {"Procfile": f"busy: {sys.executable} -c 'while True: pass'\n"}), "busy")
    page = tab.open(page_server(brum).url + place_of(brum, "shop", "busy"))
    tab.becomes("/^[1-9][0-9]* %$/.test(document.querySelector('#plots figure b').textContent)")
    tab.becomes("/MiB$/.test(document.querySelectorAll('#plots figure b')[1].textContent)")
    tab.becomes("/L/.test(document.querySelector('#plots .curve').getAttribute('d'))")
    assert page.locator("#state").get_by_text("running for").is_visible()


def test_errors_have_their_traces_and_lead_to_their_lines(brum: Brum, tab: Tab) -> None:
    script = "for n in range(400): print('line', n)\n{}['bottle']\n"
    files = {"run.py": script, "Procfile": f"run: {sys.executable} run.py\n"}
    brum.instance(brum.project("shop", files), "run")
    page = tab.open(page_server(brum).url + place_of(brum, "shop", "run"))
    page.get_by_role("tab", name="Errors 1").click()
    page.locator("details[open] pre").get_by_text("run.py").wait_for()
    link = page.get_by_role("link", name="link", exact=True).get_attribute("href")
    page.get_by_role("link", name="show among the lines").click()
    marked = page.locator("#lines .marked")
    marked.wait_for()
    assert marked.inner_text().endswith("Traceback (most recent call last):")
    assert page.locator("#lines .row.error").count() >= 3
    page.locator("#level").select_option("error")
    shown = "document.querySelectorAll('#lines .row{}').length"
    tab.becomes(f"{shown.format('.error')} >= 3 && {shown.format(':not(.error)')} === 0")
    second = tab.context.new_page()
    second.goto(page.url.partition("#")[0] + link)
    second.locator("details[open] pre").get_by_text("KeyError: 'bottle'").wait_for()


IN_THE_MIDDLE = """\
import sys, time, traceback
for n in range(250): print("line", n)
try: {}["bottle"]
except KeyError: traceback.print_exc(file=sys.stdout)
for n in range(250): print("line", n)
print("the end", flush=True)
time.sleep(600)
"""


def test_an_error_in_the_middle_of_a_long_log_is_shown_there(brum: Brum, tab: Tab) -> None:
    """Also if its lines come before the next picture is drawn, as they do on a quick machine."""
    brum.instance(brum.project("shop", {"run.py": IN_THE_MIDDLE, "Procfile": f"run: {sys.executable} run.py\n"}), "run")
    page = tab.open(page_server(brum).url + place_of(brum, "shop", "run"))
    page.locator("#lines").get_by_text("the end").wait_for()
    page.get_by_role("tab", name="Errors 1").click()
    link = page.get_by_role("link", name="show among the lines")
    link.wait_for()
    page.evaluate("""() => {
        window.held = [];
        window.nextPicture = window.requestAnimationFrame;
        window.requestAnimationFrame = (draw) => held.push(draw);
    }""")
    with page.expect_request(
        lambda request: '"logs_tail"' in (request.post_data or "") and "wait_s" in request.post_data
    ):
        link.evaluate("link => link.click()")  # a click of playwright waits for a picture
    page.evaluate("""() => {
        window.requestAnimationFrame = window.nextPicture;
        for (const draw of held) requestAnimationFrame(draw);
    }""")
    assert page.locator("#lines .marked").inner_text().endswith("Traceback (most recent call last):")


def test_the_line_of_a_link_stays_while_others_come(brum: Brum, tab: Tab) -> None:
    many = "for n in range(250): print('line', n)"
    script = f"{many}\nprint('ERROR here')\ninput()\n{many}\ninput()\n"
    files = {"run.py": script, "Procfile": f"run: {sys.executable} -u run.py\n"}
    instance = brum.instance(brum.project("shop", files), "run")
    page = tab.open(page_server(brum).url + place_of(brum, "shop", "run"))
    page.locator("#lines").get_by_text("ERROR here").wait_for()
    page.get_by_role("tab", name="Errors 1").click()
    page.get_by_role("link", name="show among the lines").click()
    page.locator("#lines .marked").wait_for()
    page.locator("#follow[aria-pressed=false]").wait_for()
    brum.run("call", instance.id, "scripts_input", '{"name": "run"}')
    page.get_by_text("251 new below").wait_for()  # and one says what was typed
    assert page.locator("#lines .marked").is_visible()


def test_a_selection_copies_the_text_of_the_lines_as_it_was_printed(brum: Brum, tab: Tab) -> None:
    printed = ["first \u6f22\u5b57", "x" * 700, "https://example.invalid/a last"]
    script = f"import time\nfor line in {printed!r}: print(line)\ntime.sleep(600)\n"
    brum.instance(brum.project("shop", {"run.py": script, "Procfile": f"run: {sys.executable} run.py\n"}), "run")
    tab.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page = tab.open(page_server(brum).url + place_of(brum, "shop"))
    page.locator("#lines").get_by_text("last").wait_for()
    for wraps in (False, True):
        page.locator("#wraps").set_checked(wraps)
        tab.becomes(f"(document.querySelectorAll('#lines .row').length > 3) === {str(wraps).lower()}")
        page.evaluate(
            """() => {
                const texts = document.querySelectorAll('#lines .row .text');
                const range = document.createRange();
                range.setStart(texts[0], 0);
                range.setEnd(texts[texts.length - 1], texts[texts.length - 1].childNodes.length);
                getSelection().removeAllRanges();
                getSelection().addRange(range);
            }"""
        )
        page.keyboard.press("Control+c")
        assert page.evaluate("navigator.clipboard.readText()") == "\n".join(printed)


def test_of_fifty_thousand_lines_only_those_that_are_seen_are_elements(brum: Brum, tab: Tab) -> None:
    script = "import time\nfor n in range(50_000): print(n)\nprint('the end', flush=True)\ntime.sleep(600)\n"
    brum.instance(brum.project("shop", {"run.py": script, "Procfile": f"run: {sys.executable} run.py\n"}), "run")
    page = tab.open(page_server(brum).url + place_of(brum, "shop", "run"))
    page.locator("#lines").get_by_text("the end").wait_for()
    height = 0
    while height < 18 * 50_001:
        height = page.evaluate("document.querySelector('.space').offsetHeight")
        page.evaluate("document.getElementById('lines').scrollTop = 0")
        tab.becomes(f"document.querySelector('.space').offsetHeight > {min(height, 18 * 50_000)}")
    seconds, frames, elements = page.evaluate(SCROLL)
    heap_mib = page.evaluate("performance.memory.usedJSHeapSize") >> 20
    print(f"{frames / seconds:.0f} frames/s, {elements} elements, {heap_mib} MiB")
    assert elements < 500
    page.evaluate("document.getElementById('lines').scrollTop = 0")
    page.locator("#lines .row").first.get_by_text("0", exact=True).wait_for()
    page.get_by_role("button", name="follow").click()
    page.locator("#lines").get_by_text("the end").wait_for()


SCROLL = """async () => {
    const box = document.getElementById('lines');
    const begun = performance.now();
    let frames = 0;
    for (let at = 0; at < 1; at += 1 / 180) {
        box.scrollTop = at * box.scrollHeight;
        await new Promise(requestAnimationFrame);
        frames += 1;
    }
    return [(performance.now() - begun) / 1000, frames, document.querySelectorAll('*').length];
}"""


@pytest.mark.promise("the-page-in-a-chat")
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_same_file_is_a_view_in_a_chat(
    brum: Brum, browser: Any, node: Path, js: Path, tmp_path: Path, theme: str
) -> None:
    bundle = tmp_path / "app_host.js"
    esbuild = js / "node_modules" / "esbuild" / "bin" / "esbuild"
    command = [
        node,
        esbuild,
        js / "app_host.js",
        "--bundle",
        "--format=esm",
        f"--outfile={bundle}",
        "--log-level=error",
    ]
    subprocess.run([str(part) for part in command], check=True, timeout=60)
    brum.instance(brum.project("shop", {"Procfile": "dev: echo '<b>first</b>'; sleep 600\nfail: exit 3\n"}), "dev")
    with proxy_with_token(brum.hub_over_http().url, brum.http_token) as url:
        tab = Tab(browser, color_scheme=theme)
        try:
            host = url.replace("/mcp", "/host")
            html = f"<!doctype html><title>chat</title><body><script type=module>{bundle.read_text()}</script>"
            tab.page.route(host, lambda route: route.fulfill(body=html, content_type="text/html"))
            tab.open(host)
            view = tab.page.frame_locator("iframe")
            view.get_by_text("1 script runs, none has failed").wait_for()
            told = tab.page.evaluate("window.told")
            assert told["uri"] == "ui://brummer/view"
            assert told["mimeType"] == "text/html;profile=mcp-app"
            assert told["capabilities"]["resources"] == {}
            view.get_by_role("link", name="dev").first.click()
            view.get_by_role("heading", name="shop › dev").wait_for()
            view.locator("#lines").get_by_text("<b>first</b>").wait_for()
            for button in ("Start", "Restart", "Stop", "save", "keys"):
                assert view.get_by_role("button", name=button).count() == 0
            frame = tab.page.frames[1]
            assert frame.evaluate("getComputedStyle(document.documentElement).colorScheme") == theme
            other = "dark" if theme == "light" else "light"
            tab.page.evaluate("theme => window.bridge.setHostContext({theme})", other)
            tab.becomes("window.told.sizes.at(-1) === 560")
            assert within(WAIT_S, lambda: frame.evaluate("document.documentElement.style.colorScheme") == other)
            called = set(tab.page.evaluate("window.told.called"))
            assert {"changes_since", "hub_status", "logs_tail"} <= called
            assert called <= {
                *("changes_since", "hub_status", "instances_list", "logs_tail", "scripts_list", "scripts_status"),
                "instance_call",
            }
            assert tab.errors == []
            assert tab.violations == []
            assert frame.evaluate("window.violations") == []
        finally:
            tab.close()
