"""The checkers in tools/ find what they look for; each is tried on something broken."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
HOST = "py" + "pi.org"
HOME = "/ro" + "ot/x"
OURS = "brum" + "mer"

GOOD_PAGE = f"""
# A page

See [the heading](#two-words), [this page](page.md#two-words-1), [the licence](../LICENSE "x") and [ref].
Run `make test` or `make test T="-k x"`; please make sure of it. Not a link: `[x](nowhere.md)`.

[ref]: https://example.org/page#anchor

    make nothing of this

See `{OURS}.core.buy`.
See `buy` and `Shop.prices` in [`core.py`](../src/{OURS}/core.py), and `S…` ([`core.py`](../src/{OURS}/core.py)).

```console
$ make test
[x](nowhere.md)
```

## Two words
## Two words
"""

FAULTS = {
    "a missing file": ("[x](nowhere.md)", "docs/page.md:1: link leads nowhere: nowhere.md"),
    "a missing heading": ("# A\n\n[x](#b)", "docs/page.md:3: no such heading: #b"),
    "a missing heading of another page": ("[x](../README.md#b)", "no such heading: ../README.md#b"),
    "a broken reference": ("[x]: nowhere.md", "link leads nowhere: nowhere.md"),
    "a way out": ("[x](../../x)", "link leaves the repository: ../../x"),
    "a make target in a sentence": ("Run `make tset`.", "the Makefile has no target tset"),
    "a make target in a block": ("```\nmake test tset\n```", "the Makefile has no target tset"),
    "a source file that is not there": ("See `shop/sell.py`.", "docs/page.md:1: there is no file shop/sell.py"),
    "a module that is not there": (f"See `{OURS}.shop.sell`.", f"docs/page.md:1: there is no {OURS}.shop.sell"),
    "a name that a module has not": (f"See `{OURS}.core.sell`.", f"docs/page.md:1: there is no {OURS}.core.sell"),
    "a name that a linked file has not": (
        f"`buy`, `Shop.price` of [`x`](../src/{OURS}/core.py)",
        f"docs/page.md:1: ../src/{OURS}/core.py has no Shop.price",
    ),
    "names that no name in a linked file begins with": (
        f"`BUY_…` ([`x`](../src/{OURS}/core.py))",
        f"docs/page.md:1: ../src/{OURS}/core.py has no BUY_…",
    ),
    "a test that is not there": ("See `test_shop.py`.", "docs/page.md:1: there is no file test_shop.py"),
    "a registry's host": (f"x https://{HOST}/simple", "docs/page.md:1: names a package registry's host"),
    "a path of one machine": (f"x {HOME}/", "names a path of one machine"),
}


def check_docs(folder: Path, page: str) -> subprocess.CompletedProcess[str]:
    (folder / "tools").mkdir()
    (folder / "docs").mkdir()
    shutil.copy(ROOT / "tools" / "check_docs.py", folder / "tools")
    (folder / "Makefile").write_text("test: ## the tests\n\ttrue\n")
    (folder / "LICENSE").write_text("Free.\n")
    (folder / "README.md").write_text("# Read me\n")
    (folder / "docs" / "page.md").write_text(page)
    (folder / "src" / "brummer").mkdir(parents=True)
    (folder / "src" / "brummer" / "core.py").write_text("def buy(): ...\nclass Shop:\n    prices = 1\n")
    command: list[str | Path] = [sys.executable, folder / "tools" / "check_docs.py"]
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)


def test_a_good_page_passes(tmp_path: Path) -> None:
    done = check_docs(tmp_path, GOOD_PAGE)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(("page", "fault"), FAULTS.values(), ids=FAULTS)
def test_a_broken_page_is_named(tmp_path: Path, page: str, fault: str) -> None:
    done = check_docs(tmp_path, page)
    assert done.returncode == 1
    assert fault in done.stderr
    assert len(done.stderr.splitlines()) == 1


MANIFEST = """
[[section]]
title = "Calls"

[section.promises]
once = "A call runs once."
"""
HELD = '@pytest.mark.promise("once")\nasync def test_a_call_runs_once(): ...\n'
PROMISE_FAULTS = {
    "no test": (MANIFEST, "", "docs/promises.toml: no test holds once"),
    "a test of another name": (MANIFEST, HELD.replace("test_a", "a"), "a_call_runs_once has a promise and is no test"),
    "an unknown promise": (MANIFEST, HELD + HELD.replace('"once"', '"twice"'), "names the promise 'twice'"),
    "a promise that is no literal": (MANIFEST, HELD + HELD.replace('"once"', "ONCE"), "names the promise ''"),
    "the same promise twice": (MANIFEST * 2, HELD, "docs/promises.toml: there are two promises once"),
    "further proof of nothing": (
        MANIFEST + '[section.further]\nx = "make test"\n',
        HELD,
        "further proof of no promise: x",
    ),
}


def check_promises(folder: Path, manifest: str, tests: str, *options: str) -> subprocess.CompletedProcess[str]:
    for name in ("tools", "docs", "tests"):
        (folder / name).mkdir(exist_ok=True)
    for name in ("promises.py", "generated.py"):
        shutil.copy(ROOT / "tools" / name, folder / "tools")
    (folder / "docs" / "promises.toml").write_text(manifest)
    (folder / "tests" / "test_x.py").write_text(tests)
    command: list[str | Path] = [sys.executable, folder / "tools" / "promises.py", *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)


def test_the_proof_page_has_each_promise_with_its_tests_and_is_checked(tmp_path: Path) -> None:
    done = check_promises(tmp_path, MANIFEST, HELD, "--check")
    assert (done.returncode, done.stderr) == (1, "docs/proof.md is stale; run make docs\n")
    assert not (tmp_path / "docs" / "proof.md").exists()
    assert check_promises(tmp_path, MANIFEST, HELD).returncode == 0
    page = (tmp_path / "docs" / "proof.md").read_text()
    assert "| A call runs once. | [a call runs once](../tests/test_x.py) |" in page
    done = check_promises(tmp_path, MANIFEST, HELD, "--check")
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(("manifest", "tests", "fault"), PROMISE_FAULTS.values(), ids=PROMISE_FAULTS)
def test_what_is_wrong_with_a_promise_is_named(tmp_path: Path, manifest: str, tests: str, fault: str) -> None:
    done = check_promises(tmp_path, manifest, tests)
    assert done.returncode == 1
    assert fault in done.stderr


def test_no_address_is_left_in_the_lock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "tools")
    import lock  # noqa: PLC0415 a script, found through the path just set

    written = """
source = { registry = "https://host.example/simple" }
sdist = { url = "https://host.example/a/b/x-1.tar.gz", hash = "sha256:0", upload-time = "2026-01-01" }
wheels = [{ url = "https://host.example/a/b/x-1-py3-none-any.whl", hash = "sha256:1", size = 2 }]
"""
    assert lock.without_addresses(written) == (
        """
source = { registry = "wheelhouse" }
sdist = { path = "x-1.tar.gz", hash = "sha256:0" }
wheels = [{ path = "x-1-py3-none-any.whl", hash = "sha256:1", size = 2 }]
"""
    )
    with pytest.raises(ValueError, match=r"git://host\.example"):
        lock.without_addresses('source = { git = "git://host.example/x" }')
