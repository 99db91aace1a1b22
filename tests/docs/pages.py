"""The pages that a person reads, and the code on them.

What the first words of a block say:

    python             runs alone, in an empty namespace; a block without a language right after it is what it prints
    python signature   how a class is called: not to be run
    python sketch      the outline of a script that starts processes: it is Python, and not run
    python gpu         needs an NVIDIA GPU: its types are checked, and it is run nowhere in the suite
    console            a command after "$ ", and what it prints
"""

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
FENCE = re.compile(r"^( *)(```+)(.*)\n((?:.*\n)*?)\1\2 *$", re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """A block of a page."""

    page: Path
    line: int  # of its first line of code
    kind: str
    text: str
    prints: str | None = None

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


@cache
def blocks(page: Path) -> tuple[Block, ...]:
    """All blocks of a page, in order."""
    text, found = page.read_text(encoding="utf-8"), []
    for match in FENCE.finditer(text):
        indent, _, kind, code = match.groups()
        code = re.sub(rf"^{indent}", "", code, flags=re.MULTILINE)
        after = FENCE.match(text, match.end() + len(text[match.end() :]) - len(text[match.end() :].lstrip("\n")))
        prints = after[4] if after and not after[3] else None
        found.append(Block(page, text[: match.start(4)].count("\n") + 1, kind.strip(), code, prints))
    return tuple(found)


def every(kind: str) -> list[Block]:
    """The blocks of a kind, of all pages."""
    return [block for page in PAGES for block in blocks(page) if block.kind == kind]


NUMBER = re.compile(r"(?<![\w.])[-+−]?\d+(?:\.\d+)?(?:e[-+]?\d+)?(?![\w])")


def differs(printed: str, shown: str, within: float = 0.02) -> str:
    """How what was printed differs from what a page shows; "" if it does not.

    "…" stands for any text of a line, and alone on a line for any lines. Numbers may differ by this share, as they do
    between machines, and those below 1e-6, which are errors of rounding, by as much as they like.
    """
    got, want = [[line.rstrip() for line in text.strip("\n").split("\n")] for text in (printed, shown)]
    while want:
        line = want.pop(0)
        if line == "…":
            if not want:
                return ""
            while got and not _alike(got[0], want[0], within):
                got.pop(0)
            continue
        if not got or not _alike(got[0], line, within):
            return f"shown: {line}\nprinted: {got[0] if got else 'nothing more'}"
        got.pop(0)
    return f"not shown: {got[0]}" if got else ""


def _alike(got: str, want: str, within: float) -> bool:
    """Whether a printed line is the one shown."""
    words = [re.escape(" ".join(re.sub(r"\s+", " ", part).split(" "))) for part in NUMBER.split(want)]
    pattern = r"([-+−]?\d\S*?|nan)".join(words).replace("…", ".*").replace(r"\ ", r"\ +")
    match = re.fullmatch(pattern, re.sub(r"\s+", " ", got))
    if match is None:
        return False
    numbers = [x.replace("−", "-") for x in NUMBER.findall(want)]
    return all(
        _near(float(a.replace("−", "-")), float(b), within) for a, b in zip(match.groups(), numbers, strict=True)
    )


def _near(a: float, b: float, within: float) -> bool:
    return abs(a - b) <= within * abs(b) or max(abs(a), abs(b)) < 1e-6
