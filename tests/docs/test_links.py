"""Relative links of the documentation: each file exists, each anchor is a heading of its page."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    page
    for folder in (".", "docs", "findings", "scripts", "scripts/tiny", "datasets")
    for page in (ROOT / folder).glob("*.md")
)
WRITTEN_BY_HAND = [page for page in PAGES if page.name not in ("cli.md", "settings.md")]
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
FENCE = re.compile(r"^ *```.*?^ *```", re.MULTILINE | re.DOTALL)
# Tables, pictures and URLs are not wrapped.
MAY_BE_LONG = re.compile(r"\s*\||!\[|.*https?://")


def prose(page: Path) -> str:
    """Return the page's text without blocks of code."""
    return FENCE.sub("", page.read_text("utf-8"))


def anchors(page: Path) -> set[str]:
    """Return the anchors that GitHub gives to the page's headings."""
    headings = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    plain = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings)
    return {heading.replace(" ", "-") for heading in plain}


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_somewhere(page: Path) -> None:
    for link in LINK.findall(prose(page)):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        assert target.exists(), link
        if anchor:
            assert anchor in anchors(target), link


@pytest.mark.parametrize("page", WRITTEN_BY_HAND, ids=name)
def test_prose_is_wrapped(page: Path) -> None:
    lines = enumerate(prose(page).splitlines(), 1)
    long = [number for number, line in lines if len(line) > 100 and not MAY_BE_LONG.match(line)]
    assert not long
