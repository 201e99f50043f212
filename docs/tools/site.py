"""MkDocs' hook: pages outside docs/, and links that leave it (see mkdocs.yml).

Links in the pages are those of the repository, so that they work when it is read there. On the site, docs/ and the
repository's root lie on top of each other: docs/boinc.md stands at the site's top, worker/README.md in its folder. A
page of the navigation that is not in docs/ is taken from the root. A linked file that is no page, such as a module,
comes along as text; a linked folder does not.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[2]
LINK = re.compile(r"(?P<before>!?\[(?:[^\[\]]|\[[^\]]*\])*\])\((?P<target>[^()\s#]+)(?P<anchor>#[^()\s]*)?\)")
CODE = re.compile(r"(^ *```.*?^ *```)", re.MULTILINE | re.DOTALL)


def anchor(title: str) -> str:
    """Make a heading's anchor as GitHub does."""
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Give the site's headings the anchors that they have in the repository."""
    config.mdx_configs.setdefault("toc", {})["slugify"] = lambda title, separator: anchor(title)
    return config


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Add the navigation's pages outside docs/, and the files that pages link to."""
    for uri in _pages(config.nav):
        if files.get_file_from_path(uri) is None and (ROOT / uri).is_file():
            files.append(File.generated(config, uri, abs_src_path=str(ROOT / uri)))
    for page in files.documentation_pages():
        for path in _linked(page.src_uri, page.content_string):
            uri = _uri(path)
            if files.get_file_from_path(uri) is None and (ROOT / path).is_file():
                files.append(File.generated(config, uri, abs_src_path=str(ROOT / path)))
    return files


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turn the links of the repository into those of the site."""

    def turn(link: re.Match[str]) -> str:
        path = _path(page.file.src_uri, link["target"])
        if path is None:
            return link[0]
        if (ROOT / path).is_dir():
            path = f"{path}/README.md"
            if files.get_file_from_path(_uri(path)) is None:
                return link["before"][1:-1]
        target = posixpath.relpath(_uri(path), posixpath.dirname(page.file.src_uri))
        return f"{link['before']}({target}{link['anchor'] or ''})"

    parts = CODE.split(markdown)
    return "".join(part if number % 2 else LINK.sub(turn, part) for number, part in enumerate(parts))


def _pages(nav: Any) -> Iterator[str]:
    """Yield the files that a navigation names."""
    if isinstance(nav, str):
        yield nav
    else:
        for part in nav.values() if isinstance(nav, dict) else nav:
            yield from _pages(part)


def _linked(uri: str, markdown: str) -> Iterator[str]:
    """Yield the repository's files outside docs/ that a page links to."""
    for link in LINK.finditer(CODE.sub("", markdown)):
        path = _path(uri, link["target"])
        if path is not None and not path.startswith("docs/"):
            yield path


def _path(uri: str, target: str) -> str | None:
    """Return a link's target as a path in the repository; None if it leads out of it."""
    if ":" in target or target.startswith("/"):
        return None
    place = f"docs/{uri}" if (ROOT / "docs" / uri).is_file() else uri
    return posixpath.normpath(posixpath.join(posixpath.dirname(place), target))


def _uri(path: str) -> str:
    """Return a file's place on the site; all but pages and pictures end in .txt, so that browsers show them."""
    if path.startswith("docs/"):
        return path.removeprefix("docs/")
    return path if path.endswith((".md", ".png", ".jpg", ".svg")) else f"{path}.txt"
