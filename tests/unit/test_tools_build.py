"""What `make build` refuses, and what it and `make docs` write of the README; each tried on packages made up here."""

import io
import tarfile
import zipfile
from collections.abc import Iterable
from pathlib import Path

import pytest

import build
import install_text
from metadata_hook import with_absolute_links

METADATA = """\
Metadata-Version: 2.4
Name: brummer
Version: 1.2.0
Description-Content-Type: text/markdown

# Brummer

See [the start](https://git.test/docs/start.md).
"""
BESIDE = "brummer-1.2.0.dist-info"
GOOD = {
    "brummer/__main__.py": "",
    "brummer/py.typed": "",
    f"{BESIDE}/METADATA": METADATA,
    f"{BESIDE}/entry_points.txt": "[console_scripts]\n",
    f"{BESIDE}/licenses/LICENSE": "Free.\n",
}


def wheel_of(folder: Path, files: dict[str, str]) -> Path:
    wheel = folder / "brummer-1.2.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return wheel


def sdist_of(folder: Path, names: Iterable[str]) -> Path:
    sdist = folder / "brummer-1.2.0.tar.gz"
    with tarfile.open(sdist, "w:gz") as archive:
        for name in names:
            archive.addfile(tarfile.TarInfo(f"brummer-1.2.0/{name}"), io.BytesIO())
    return sdist


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    folder = tmp_path / "src"
    for name in ("__main__.py", "py.typed", "__pycache__/x.pyc"):
        (folder / "brummer" / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / "brummer" / name).touch()
    return folder


def test_a_wheel_with_all_of_the_package_and_nothing_else_passes(tmp_path: Path, sources: Path) -> None:
    assert list(build.wheel_faults(wheel_of(tmp_path, GOOD), sources)) == []


@pytest.mark.parametrize("missing", GOOD)
def test_a_wheel_that_lacks_a_file_is_refused(tmp_path: Path, sources: Path, missing: str) -> None:
    files = {name: content for name, content in GOOD.items() if name != missing}
    assert any(
        "lacks" in fault or "metadata" in fault for fault in build.wheel_faults(wheel_of(tmp_path, files), sources)
    )


@pytest.mark.parametrize("stray", ["tests/test_x.py", "tools/build.py", "brummer/__pycache__/x.pyc", "brummer/old.py"])
def test_a_wheel_with_a_file_that_is_no_part_of_the_package_is_refused(
    tmp_path: Path, sources: Path, stray: str
) -> None:
    faults = list(build.wheel_faults(wheel_of(tmp_path, {**GOOD, stray: ""}), sources))
    assert faults == [f"brummer-1.2.0-py3-none-any.whl has {stray}, which is no part of the package"]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("https://git.test/docs/start.md", "docs/start.md"),
        ("[the start](https://git.test/docs/start.md)", "[start]\n\n[start]: docs/start.md"),
        ("text/markdown", "text/plain"),
        ("# Brummer\n\nSee [the start](https://git.test/docs/start.md).\n", ""),
        ("Version: 1.2.0", "Version: one"),
        ("Name: brummer\n", ""),
    ],
    ids=["relative link", "relative reference", "not Markdown", "no description", "no version", "no name"],
)
def test_metadata_that_an_index_refuses_or_shows_badly_is_one_fault(before: str, after: str) -> None:
    assert list(build.metadata_faults(METADATA.encode())) == []
    assert len(list(build.metadata_faults(METADATA.replace(before, after, 1).encode()))) == 1


def test_an_sdist_has_all_that_git_tracks(tmp_path: Path) -> None:
    sdist = sdist_of(tmp_path, ["Makefile", "tools/setup.sh", "PKG-INFO"])
    assert list(build.sdist_faults(sdist, {"Makefile", "tools/setup.sh"})) == []
    assert list(build.sdist_faults(sdist, {"Makefile", "uv.lock"})) == [
        "brummer-1.2.0.tar.gz lacks uv.lock, which git tracks"
    ]


def tree(folder: Path, *, repository: str, published: str, changes: str) -> Path:
    (folder / "CHANGELOG.md").write_text(changes)
    (folder / "README.md").write_text("# Brummer\n")
    (folder / "pyproject.toml").write_text(
        f'[project]\nname = "brummer"\n[tool.brummer]\nrepository = "{repository}"\npublished = {published}\n'
    )
    return folder


def test_a_release_has_its_tag_its_changes_an_address_and_pages_that_install_it(tmp_path: Path) -> None:
    wheel = wheel_of(tmp_path, GOOD)
    good = tree(tmp_path, repository="https://git.test/brummer", published="true", changes="# C\n\n## 1.2.0\n")
    assert list(build.release_faults(wheel, good, "v1.2.0")) == []
    assert len(list(build.release_faults(wheel, good, "v1.2.1"))) == 1
    bad = tree(tmp_path, repository="https://git.example/brummer", published="false", changes="# C\n\n## Unreleased\n")
    assert len(list(build.release_faults(wheel, bad, "v1.2.0"))) == 3


def test_a_release_whose_readme_still_speaks_of_a_placeholder_is_refused(tmp_path: Path) -> None:
    good = tree(tmp_path, repository="https://git.test/brummer", published="true", changes="## 1.2.0\n")
    (good / "README.md").write_text("The address is a placeholder.\n")
    assert len(list(build.release_faults(wheel_of(tmp_path, GOOD), good, "v1.2.0"))) == 1


def test_relative_links_of_the_readme_become_links_into_the_repository() -> None:
    page = "[a](docs/a.md#b) [c](https://c.test/d) [e](#f) [g](mailto:g@h.test) [i](LICENSE)"
    assert with_absolute_links(page, "https://git.test/x/blob/v1") == (
        "[a](https://git.test/x/blob/v1/docs/a.md#b) [c](https://c.test/d) [e](#f) [g](mailto:g@h.test)"
        " [i](https://git.test/x/blob/v1/LICENSE)"
    )


SETTINGS = '[project]\nname = "brummer"\n[tool.brummer]\nrepository = "https://git.test/x"\npublished = '


def test_pages_install_from_the_repository_until_an_index_has_the_package() -> None:
    assert install_text.what_to_install(f"{SETTINGS}false") == "git+https://git.test/x"
    assert install_text.what_to_install(f"{SETTINGS}true") == "brummer"


@pytest.mark.parametrize(
    "command", ["uv tool install X", "pipx install X", "uvx --from X brum --version", "`pip install X`"]
)
def test_every_page_installs_the_same(command: str) -> None:
    for before in ("brummer", "git+https://git.example/old.git"):
        assert install_text.with_current(command.replace("X", before), "new") == command.replace("X", "new")


def test_a_path_that_a_page_installs_stays() -> None:
    for command in ("pipx install .", "uv tool install dist/brummer-1.whl", "pipx install brummer-x"):
        assert install_text.with_current(command, "new") == command
