"""BibTeX as this package writes it: entries of fields in braces, in quotes, or bare numbers. No macros."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from functools import cache
from importlib.resources import files


@dataclass(frozen=True)
class Entry:
    """A paper: its key, its kind, its fields, and the text it was read from."""

    key: str
    kind: str
    fields: dict[str, str]
    text: str

    @property
    def year(self) -> int:
        """The year it was published in."""
        return int(self.fields["year"])

    def line(self) -> str:
        """Authors, year, title and address, for people."""
        names = [_surname_last(name) for name in re.split(r"\s+and\s+", self.fields["author"])]
        authors = names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
        return f"{plain(authors)} ({self.year}). {plain(self.fields['title'])}. {self.fields.get('url', '')}".strip()


@cache
def papers() -> dict[str, Entry]:
    """{key: entry} of all papers that the methods name."""
    return parse(files("ravine.optim").joinpath("papers.bib").read_text(encoding="utf-8"))


def parse(text: str) -> dict[str, Entry]:
    """{key: entry} of a text; ValueError with the line where it is not BibTeX of this kind.

    >>> parse("@book{knuth1984, title = {The {TeX}book}, year = 1984}")["knuth1984"].fields
    {'title': 'The {TeX}book', 'year': '1984'}
    """
    found: dict[str, Entry] = {}
    at = text.find("@")
    while at >= 0:
        line = text.count("\n", 0, at) + 1
        head = re.compile(r"@(\w+)\s*\{\s*([^\s,{}]+)\s*,").match(text, at)
        end = _closing(text, text.find("{", at))
        if head is None or end < 0:
            raise ValueError(f"papers.bib, line {line}: expected @kind{{key, field = {{…}}, …}} with balanced braces")
        kind, key = head[1].lower(), head[2]
        if key in found:
            raise ValueError(f"papers.bib, line {line}: the key {key} stands twice; write each paper once")
        found[key] = Entry(key, kind, _fields(text[head.end() : end], key, line), text[at : end + 1])
        at = text.find("@", end)
    return found


def _fields(body: str, key: str, line: int) -> dict[str, str]:
    fields: dict[str, str] = {}
    while body.strip(", \t\n"):
        body = body.lstrip(", \t\n")
        name = re.match(r"([\w-]+)\s*=\s*", body)
        end = -1
        if name:
            first = body[name.end() : name.end() + 1]
            if first == "{":
                end = _closing(body, name.end())
            elif first == '"':
                end = _closing_quote(body, name.end())
            elif number := re.compile(r"\d+").match(body, name.end()):
                fields[name[1].lower()], body = number[0], body[number.end() :]
                continue
        if name is None or end < 0:
            raise ValueError(f"papers.bib, line {line}: {key} has no field `name = {{…}}` at {body[:30]!r}")
        fields[name[1].lower()] = " ".join(body[name.end() + 1 : end].split())
        body = body[end + 1 :]
    return fields


def _closing(text: str, start: int) -> int:
    """Where the brace that opens at `start` is closed; -1 if nowhere."""
    depth = 0
    for at in range(start, len(text)) if start >= 0 else ():
        depth += {"{": 1, "}": -1}.get(text[at], 0)
        if depth == 0:
            return at
    return -1


def _closing_quote(text: str, start: int) -> int:
    """Where the quote that opens at `start` is closed: quotes in braces are of the text."""
    depth = 0
    for at in range(start + 1, len(text)):
        depth += {"{": 1, "}": -1}.get(text[at], 0)
        if depth == 0 and text[at] == '"':
            return at
    return -1


def _surname_last(name: str) -> str:
    last, comma, first = name.partition(",")
    return f"{first.strip()} {last.strip()}" if comma else name.strip()


ACCENTS = {'"': "\u0308", "'": "\u0301", "`": "\u0300", "^": "\u0302", "~": "\u0303", "c": "\u0327", "v": "\u030c"}


def plain(text: str) -> str:
    r"""Without TeX's braces and accents: Fran{\c{c}}ois is François."""
    text = re.sub(r"\{?\\([\"'`^~]|[cv](?=[\s{]))\s*\{?\\?(\w)\}?\}?", lambda found: found[2] + ACCENTS[found[1]], text)
    return unicodedata.normalize("NFC", text.replace("{", "").replace("}", "").replace("\\&", "&").replace("--", "–"))
