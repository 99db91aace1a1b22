"""No link on a page leads nowhere, and the README leads to every page."""

import re
import tomllib
from functools import cache
from pathlib import Path

import pytest
from pages import FENCE, PAGES, ROOT

LINK = re.compile(r"\]\(([^()\s]+(?:\([^()\s]*\)[^()\s]*)*)\)|<a [^>]*href=\"([^\"]+)\"")


@cache
def prose(page: Path) -> str:
    """A page without its blocks of code."""
    return FENCE.sub("", page.read_text(encoding="utf-8"))


@cache
def anchors(page: Path) -> frozenset[str]:
    """What may stand after # in a link to a page: its headings as GitHub writes them."""
    found: dict[str, int] = {}
    for heading in re.findall(r"^#+ +(.+?) *$", prose(page), re.MULTILINE):
        text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
        slug = re.sub(r"[^\w\- ]", "", text).replace(" ", "-")
        found[slug] = found.get(slug, -1) + 1
        if found[slug]:
            found[f"{slug}-{found[slug]}"] = 0
    return frozenset(found)


@cache
def links(page: Path) -> tuple[tuple[str, Path, str], ...]:
    """(as written, file, anchor) of each link of a page into this repository."""
    out = []
    for match in LINK.finditer(re.sub(r"`[^`\n]*`", "", prose(page))):
        written = match[1] or match[2]
        if not re.match(r"[a-z]+:", written):
            file, _, anchor = written.partition("#")
            out.append((written, (page.parent / file).resolve() if file else page, anchor))
    return tuple(out)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_no_link_is_broken(page: Path):
    for written, file, anchor in links(page):
        assert file.is_relative_to(ROOT) and file.exists(), f"{page.relative_to(ROOT)}: {written}"
        if line := re.fullmatch(r"L(\d+)", anchor):
            assert int(line[1]) <= len(file.read_text(encoding="utf-8").splitlines()), f"{page.name}: {written}"
        elif anchor:
            assert file.suffix == ".md" and anchor in anchors(file), f"{page.relative_to(ROOT)}: {written}"


def test_the_readme_leads_to_every_page():
    reached, new = set[Path](), {ROOT / "README.md"}
    while new:
        reached |= new
        new = {file for page in new for _, file, _ in links(page) if file.suffix == ".md"} - reached
    assert [str(page.relative_to(ROOT)) for page in PAGES if page not in reached] == []


@pytest.mark.parametrize("page", sorted((ROOT / "docs").glob("*.md")), ids=lambda page: page.name)
def test_the_readme_itself_names_each_page_of_docs(page: Path):
    assert page in {file for _, file, _ in links(ROOT / "README.md")}


def test_links_are_found_and_headings_are_githubs():
    compare = ROOT / "docs" / "compare.md"
    assert "ravine-compare-which-optimizer-for-this-task" in anchors(compare) and "your-own-task" in anchors(compare)
    assert ("docs/compare.md", compare, "") in links(ROOT / "README.md")
    assert sum(len(links(page)) for page in PAGES) > 150


def test_the_citation_is_of_this_version():
    text = (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    fields = dict(re.findall(r"^([a-z-]+): *(.*)$", text, re.MULTILINE))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert fields.keys() >= {"cff-version", "message", "title", "authors"}  # what the format requires
    assert fields["cff-version"] == "1.2.0" and fields["type"] == "software"
    assert fields["version"] == project["version"] and fields["license"] == project["license"]
    assert '\nauthors:\n  - name: "The ravine developers"\n' in text
