"""Name what a method that ravine ships still lacks, as file:line and what goes there: `scripts/missing [addsign …]`.

The tests hold each of these places; here they are told all at once, for one method, before any test runs.
"""

from __future__ import annotations

import json
import pkgutil
import re
import sys
from collections.abc import Iterator
from importlib import import_module
from inspect import getsourcelines
from pathlib import Path

import ravine.optim
from ravine.catalog.bib import papers
from ravine.catalog.docstring import parts
from ravine.catalog.names import ABSENT
from ravine.lab.protocol.spaces import SPACES
from ravine.optim import registry
from ravine.optimizer import Optimizer
from ravine.rule.modifier import Modifier
from ravine.typed import plain

ROOT = Path(__file__).parents[2]
RULES, TESTS = "src/ravine/optim", "tests"


def main(names: list[str]) -> int:
    """Prints what is missing; the exit status."""
    known = {cls.__module__.rsplit(".", 1)[-1] for cls in shipped()}
    if unknown := [name for name in names if name not in known]:
        print(f"there is no {RULES}/{unknown[0]}.py with a rule in it", file=sys.stderr)
        return 2
    asked = [cls for cls in shipped() if not names or cls.__module__.rsplit(".", 1)[-1] in names]
    lines = [f"{cls.__name__}\n" + "\n".join(f"  {x}" for x in found) for cls in asked if (found := [*missing(cls)])]
    print("\n".join(lines) or f"nothing is missing: {', '.join(cls.__name__ for cls in asked)}")
    return 1 if lines else 0


def shipped() -> list[type[Optimizer]]:
    """The rules in the files of src/ravine/optim, registered or not; not what others are derived from."""
    found = dict[type[Optimizer], None]()
    for module in pkgutil.iter_modules(ravine.optim.__path__):
        for x in vars(import_module(f"ravine.optim.{module.name}")).values():
            if isinstance(x, type) and issubclass(x, Optimizer) and x.__module__ == f"ravine.optim.{module.name}":
                found[x] = None
    bases = {base for cls in registry().values() for base in cls.__mro__[1:]}
    return [cls for cls in found if cls not in bases or cls in registry().values()]


def missing(cls: type[Optimizer]) -> Iterator[str]:
    """The places that a method lacks, in the order in which one fills them."""
    stem, name, title = cls.__module__.rsplit(".", 1)[-1], cls.__name__.lower(), cls.__name__
    own = f"{RULES}/{stem}.py:{getsourcelines(cls)[1]}"
    if name not in registry():
        row = before(f"{RULES}/__init__.py", "from ravine.optim", f"from ravine.optim.{stem}")
        yield f"{row}: from ravine.optim.{stem} import {title} as {title}"
    said = parts(cls)
    wanted = {"a sentence of meaning": said.sentence, "the equations": said.equations, "'Use it …': when": said.use}
    for what in [k for k, x in {**wanted, "the reference with its address": said.references}.items() if not x]:
        yield f"{own}: the docstring has not {what}"
    if not cls.papers:
        yield f'{own}: papers = ("key",), a key of papers.bib'
    for key in [key for key in cls.papers if key not in papers()]:
        yield f"{end(f'{RULES}/papers.bib')}: an entry @article{{{key}, …}}"
    if name not in SPACES:
        yield f"{at('src/ravine/lab/protocol/spaces.py', '^_RATES')}: '{name}' in the row of its rates, and in _BESIDE"
    if any(plain(title) == plain(x) for x in ABSENT):
        yield f"{at('src/ravine/catalog/names.py', '^ABSENT')}: take {title} out, it is here now"
    if not any(
        f"class {title}Paper" in x.read_text("utf-8")
        for x in (ROOT / TESTS / "optim/transcriptions").iterdir()
        if x.suffix == ".py"
    ):
        yield f"{TESTS}/optim/transcriptions/{stem}.py:1: class {title}Paper, the paper's pseudocode in float64"
    if not listed("laws/test_signature.py", "KINDS", name):
        row = before(f"{TESTS}/laws/test_signature.py", "    .", f'    "{name}', "^KINDS")
        yield f'{row}: "{name}": "linear", "invariant" or "neither", and FORGETS_AT_ONCE if it has no memory'
    if by_lr(cls) != listed("mods/test_l1.py", "BY_LR", name):
        here = "its steps are no product" if by_lr(cls) else "take it out: its rate is found"
        row = before(f"{TESTS}/mods/test_l1.py", "    .", f'    "{name}', "^BY_LR = ")
        yield f'{row}: "{name}", {here}'
    if stem not in json.loads((ROOT / TESTS / "authors/mutation.json").read_text("utf-8"))["rules"]:
        yield f"{TESTS}/authors/mutation.json:1: python tests/authors/mutate.py {stem}"
    pages = {f"docs/optimizers/{name}.md": "", "docs/optimizers.md": title, "docs/proof.md": title}
    for page, text in pages.items():
        if not (ROOT / page).exists() or not re.search(rf"\b{text}\b", (ROOT / page).read_text("utf-8")):
            yield f"{page}:1: scripts/docs, when all else is there"


def by_lr(cls: type[Optimizer]) -> bool:
    """True where the graph of a rule tells of no rate but lr."""
    found = list[object]()

    class Seen(Modifier):
        def update(self, s, p, g, t, new, lr, rate):  # pyright: ignore[reportIncompatibleMethodOverride]
            found.append((rate.op, rate.arg))
            return new

    cls.equations(mods=(Seen(),))
    return found[0] == ("hyper", "lr")


def listed(file: str, table: str, name: str) -> bool:
    """True if a table of a test, from its name to the next line without an indent, has this name."""
    found = re.findall(
        rf"^{table}\b.*?(?=^\S[^\n]*\n(?!\s))",
        (ROOT / TESTS / file).read_text("utf-8") + "\nend\n",
        re.DOTALL | re.MULTILINE,
    )
    return any(f'"{name}"' in x for x in found)


# places


def at(file: str, pattern: str) -> str:
    """The line that begins so."""
    lines = (ROOT / file).read_text("utf-8").splitlines()
    return f"{file}:{next(i for i, line in enumerate(lines, 1) if re.match(pattern, line))}"


def before(file: str, row: str, new: str, table: str = "") -> str:
    """The first of the rows that stands after `new` in the alphabet; the rows begin alike, in a table."""
    lines = (ROOT / file).read_text("utf-8").splitlines()
    first = next(i for i, line in enumerate(lines) if re.match(table or row, line)) + bool(table)
    last = next((i for i in range(first, len(lines)) if not re.match(row, lines[i])), len(lines))
    return f"{file}:{1 + next((i for i in range(first, last) if lines[i].lower() > new.lower()), last)}"


def end(file: str) -> str:
    """The line after the last."""
    return f"{file}:{1 + len((ROOT / file).read_text('utf-8').splitlines())}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
