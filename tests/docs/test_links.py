"""Every link of a page to another file or heading of the repository leads somewhere."""

import re
from pathlib import Path

import pytest

from .pages import PAGES, ROOT, prose

LINK = re.compile(r"\]\((?P<target>[^()\s]+)\)")


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    found: list[str] = []
    for title in re.findall(r"^#+ (.+?) *$", prose(page), re.MULTILINE):
        text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", title)
        found.append(re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-"))
    return set(found)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links(page):
    dead = []
    for link in LINK.finditer(prose(page)):
        if re.match(r"\w+:", link["target"]):
            continue
        target, _, anchor = link["target"].partition("#")
        file = (page.parent / target).resolve() if target else page
        if not file.exists() or not file.is_relative_to(ROOT):
            dead.append(link["target"])
        elif anchor and (file.suffix != ".md" or anchor not in anchors(file)):
            dead.append(f"{link['target']}: no such heading")
    assert not dead
