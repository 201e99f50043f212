"""`make docs`: the site builds without a warning, has every page, and needs no network."""

import re
import subprocess
import sys

import pytest

from .pages import ROOT

pytest.importorskip("mkdocs", reason="mkdocs is in the extras docs and dev")


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", folder],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
    return folder


def texts(site):
    return {page.relative_to(site).as_posix(): page.read_text(encoding="utf-8") for page in site.rglob("*.html")}


def test_pages_of_the_repositorys_root_and_files_that_are_linked_to_come_along(site):
    found = texts(site)
    assert "How good are the scores?" in found["index.html"]
    assert 'href="server/xtalgrid_server/config/example.toml.txt"' in found["configuration.html"]
    assert (site / "server/xtalgrid_server/config/example.toml.txt").read_text() == (
        ROOT / "server/xtalgrid_server/config/example.toml"
    ).read_text()
    assert 'href="../worker/index.html' in found["scripts/index.html"]


def test_what_writes_the_documentation_is_not_published(site):
    assert (ROOT / "docs" / "tools").is_dir()
    assert not (site / "tools").exists()


def test_each_page_has_one_place_in_the_navigation():
    pages = re.findall(r"([\w./-]+\.md)$", (ROOT / "mkdocs.yml").read_text(encoding="utf-8"), re.MULTILINE)
    assert len(pages) > 40
    assert sorted(pages) == sorted(set(pages))


def test_nothing_is_loaded_from_outside(site):
    loaded = r"""<(?:script|img|link|iframe)[^>]*(?:src|href)=["']?((?:https?:)?//[^"'\s>]+)|@import|url\(["']?(?:https?:)?//"""
    outside = {name: re.findall(loaded, text) for name, text in texts(site).items()}
    outside |= {file.name: re.findall(loaded, file.read_text(encoding="utf-8")) for file in site.rglob("*.css")}
    assert not {name: found for name, found in outside.items() if found}


def test_lists_and_tables_are_not_shown_as_text(site):
    """Markdown for the site wants an empty line before a list, which the repository's does not."""
    without_code = {name: re.sub(r"<pre.*?</pre>", "", text, flags=re.DOTALL) for name, text in texts(site).items()}
    broken = {name: re.findall(r"^(?:\* |- |\d+\. |\|).*", text, re.MULTILINE) for name, text in without_code.items()}
    assert not {name: lines for name, lines in broken.items() if lines}
