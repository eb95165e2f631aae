# SPDX-License-Identifier: Apache-2.0
"""Markdown: lines that fit, a README that one reads in five minutes, links that lead somewhere."""

import re
from pathlib import Path

import pytest

from tests.helpers.paths import ROOT

COLUMNS, README_LINES = 100, 200
FOLDERS = [
    path
    for path in sorted(ROOT.iterdir())
    if path.is_dir() and path.name[0] != "." and path.name not in ("build", "dist")
]
FILES = [
    path
    for path in [*ROOT.glob("*.md"), *(found for top in FOLDERS for found in top.rglob("*.md"))]
    if "_ns" not in path.parts  # the same folders again, for mypy
]
PAGES = pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
FENCE = re.compile(r"^```(\w*|\{.*\}.*)$")
LINK = re.compile(r"!?\[[^]]*\]\(([^)\s]+)\)")


def lines_of(text):
    """Return number, language of the fence around it (None: outside) and text of every line."""
    language, found = None, []
    for number, line in enumerate(text.splitlines(), 1):
        fence = FENCE.match(line)
        if fence:
            language = (fence[1] or "none") if language is None else None
        else:
            found.append((number, language, line))
    assert language is None, "a fence is not closed"
    return found


def too_long(text):
    """Return the lines that are too long and could be shorter.

    Long lines may stand in fences marked ``text``, which show output as it was printed. A line of
    one word, such as an address, cannot be broken.
    """
    return [
        f"{number}: {line}"
        for number, language, line in lines_of(text)
        if len(line) > COLUMNS and language != "text" and " " in line.strip().lstrip("*- ")
    ]


def anchors(text):
    """Return the anchors that a Git server and the site give the headings of a text."""
    found = set()
    for _, language, line in lines_of(text):
        if language is None and re.match(r"#+ ", line):
            title = re.sub(r"[^\w\- ]", "", line.lstrip("# ").strip().lower())
            found.add(title.replace(" ", "-"))
    return found


def links(text):
    """Return the targets of all links and pictures outside code."""
    prose = "\n".join(line for _, language, line in lines_of(text) if language is None)
    return LINK.findall(re.sub(r"`[^`]*`", "", prose))


def dead_links(path, text):
    """Return the links to files of ours, or places in them, that are not there."""
    dead = []
    for link in links(text):
        if re.match(r"[a-z]+:", link):
            continue
        name, _, anchor = link.partition("#")
        target = (path.parent / name).resolve() if name else path
        known = target.exists() and (not anchor or anchor in anchors(target.read_text("utf-8")))
        if not known:
            dead.append(link)
    return dead


def test_the_files_are_there():
    names = {str(path.relative_to(ROOT)) for path in FILES}
    assert {"README.md", "CONTRIBUTING.md", "sw/FORMAT.md", "docs/index.md"} <= names
    assert any(name.startswith("docs/decisions/") for name in names)


@PAGES
def test_lines_fit(path):
    assert not too_long(path.read_text(encoding="utf-8"))


@PAGES
def test_links_lead_somewhere(path):
    assert not dead_links(path, path.read_text(encoding="utf-8"))


def test_readme_is_read_in_five_minutes():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= README_LINES


def test_every_picture_is_shown():
    pictures = {path.resolve() for kind in ("png", "svg") for path in ROOT.glob(f"docs/*.{kind}")}
    assert pictures
    shown = {
        (path.parent / link).resolve()
        for path in FILES
        for link in links(path.read_text(encoding="utf-8"))
    }
    assert not pictures - shown


def test_long_lines_are_found_but_in_output():
    long = "word " * 25
    assert too_long(f"{long}\n```\n{long}\n```\n| {long} |\n") == [
        f"1: {long}",
        f"3: {long}",
        f"5: | {long} |",
    ]
    assert not too_long(f"```text\n{long}\n```\n* https://{'a' * 120}\n{'word ' * 20}")


@pytest.mark.parametrize(
    ("link", "dead"),
    [
        ("other.md", False),
        ("other.md#a-b-c-1", False),
        ("#here", False),
        ("https://example.org/none", False),
        ("none.md", True),
        ("other.md#none", True),
        ("#none", True),
        ("../other.md", True),
    ],
)
def test_dead_links_are_found(link, dead, tmp_path: Path):
    (tmp_path / "other.md").write_text("# A `b`: C 1\n", encoding="utf-8")
    page = tmp_path / "page.md"
    text = f"## Here\n![x]({link}) `[y](no)`\n```\n[z](no)\n# none\n```\n"
    page.write_text(text, encoding="utf-8")
    assert dead_links(page, text) == ([link] if dead else [])


def test_an_open_fence_is_found():
    with pytest.raises(AssertionError, match="a fence is not closed"):
        lines_of("```sh\nls\n")
