"""Write docs/proof.md: every method with its paper, its transcription, and its authors' code, as measured here and now.

    python tests/authors/proof.py        part of scripts/docs; needs the test extras

The section on mutation is made from mutation.json, which `mutate.py` writes, and from survivors.py.
"""

from __future__ import annotations

import json
import math
import re
import sys
import warnings
from pathlib import Path

import survivors
import torch
import trajectory
from trajectory import Case

from ravine.catalog.docstring import parts
from ravine.optim import registry
from ravine.optimizer import Optimizer

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
PAGE = ROOT / "docs" / "proof.md"
TRANSCRIPTIONS = HERE.parent / "optim" / "transcriptions"
STEPS = max(trajectory.SEEN)


def error(gap: float) -> str:
    """A gap rounded up to a power of ten, and to 1e-15: what float64 keeps of a walk is not the same everywhere."""
    return "≤ 1e-15" if gap <= 1e-15 else f"≤ 1e{math.ceil(math.log10(gap) - 1e-9):d}"


def paper(cls: type[Optimizer]) -> str:
    """The references of a method as links."""
    lines = [re.fullmatch(r"(.*?)\s{2,}(\S+)", line) for line in parts(cls).references.splitlines()]
    return "; ".join(f"[{line[1]}]({line[2]})" for line in lines if line)


def transcription(name: str) -> str:
    """The file that has the paper's pseudocode."""
    for file in sorted(TRANSCRIPTIONS.glob("*.py")):
        if re.search(rf"^class {name}Paper\b", file.read_text(encoding="utf-8"), re.MULTILINE):
            return f"[{file.name}](../{file.relative_to(ROOT).as_posix()})"
    return "none"


def source(text: str) -> str:
    """A package as it is, a file of a repository as a link."""
    if re.fullmatch(r"torch( [\d.]+)?(\+\w+)?", text):
        return f"torch.optim {torch.__version__.split('+')[0]}"
    if found := re.fullmatch(r"([\w.-]+/[\w.-]+)@(\w+)(?: (\S+))?", text):
        repository, commit, path = found.groups()
        where = f"blob/{commit}/{path}" if path else f"tree/{commit}"
        return f"[{repository}@{commit[:7]}](https://github.com/{repository}/{where}) {path or ''}".strip()
    return text


def modifiers(case: Case) -> str:
    return ", ".join(type(mod).__name__ for mod in case.hyper.get("mods", ()))


def grouped(cases: list[Case]) -> dict[tuple[str, str, str], list[Case]]:
    """{(method, modifiers, source as printed): its settings}."""
    out: dict[tuple[str, str, str], list[Case]] = {}
    for case in cases:
        out.setdefault((case.method, modifiers(case), source(case.source)), []).append(case)
    return out


def notes(cases: list[Case]) -> str:
    return "; ".join(dict.fromkeys(case.note for case in cases if case.note and case.note != "at its defaults"))


def measured(cases: list[Case]) -> str:
    return error(max(trajectory.apart(trajectory.ours(case), trajectory.theirs(case)) for case in cases))


def table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    cells = [[cell.replace("|", "\\|") for cell in row] for row in [head, ("---",) * len(head), *rows]]
    return "\n".join("| " + " | ".join(row) + " |" for row in cells)


def walks(cases: list[Case]) -> tuple[str, str, int]:
    """The table of methods, the table of modifiers, and how many methods have a walk."""
    every, found = registry(), grouped(cases)
    order = sorted(every.values(), key=lambda cls: cls.__name__.lower())
    rows, worn = [], []
    for cls in order:
        name = cls.__name__
        theirs = {at: of for (method, mods, at), of in found.items() if method == name and not mods}
        first = (f"[{name}](optimizers/{name.lower()}.md)", paper(cls), transcription(name))
        if not theirs:
            rows.append((*first, "none", "", "", ""))
        for i, (at, of) in enumerate(theirs.items()):
            head = first if not i else (first[0], "as above", "")
            rows.append((*head, at, str(len(of)), measured(of), notes(of)))
    for (method, mods, at), of in sorted(found.items()):
        if mods:
            worn.append((f"{mods} on {method}", at, str(len(of)), measured(of), notes(of)))
    head = ("method", "paper", "transcription", "their code", "settings", "largest error", "note")
    have = len({method for method, mods, _ in found if not mods and method.lower() in every})
    return table(head, rows), table(("modifier", *head[3:]), worn), have


def mutation() -> str:
    """The section on mutants."""
    known = json.loads((HERE / "mutation.json").read_text(encoding="utf-8"))
    rows, left = [], []
    for stem, rule in known["rules"].items():
        authors = rule["killed"].get("authors", 0)
        alive = len(rule["survivors"])
        others = rule["mutants"] - authors - alive
        killed = f"{rule['mutants'] - alive} of {rule['mutants']}"
        rows.append((", ".join(rule["classes"]), killed, str(authors), str(others), str(alive)))
        for x in rule["survivors"]:
            place = f"[{stem}.py:{x['line']}](../src/ravine/optim/{stem}.py#L{x['line']})"
            left.append((place, f"`{x['code']}`", x["change"], survivors.why(stem, x) or "not explained"))
    total = sum(rule["mutants"] for rule in known["rules"].values())
    alive = sum(len(rule["survivors"]) for rule in known["rules"].values())
    return f"""## Mutation

Each constant, sign, comparison, maximum and minimum in the code of a rule was changed alone, and tests other than the
rule's transcription run until one failed: {total - alive} of {total} changes were seen. What the last table explains
met the walks alone. The last rule was run on {known["date"]}; `python tests/authors/mutate.py NAME` runs one again.

{table(("rules of one file", "seen", "by walks beside others' code", "by facts and laws", "left"), rows)}

What is left, and why:

{table(("where", "line", "change", "why no test can or need see it"), left)}
{engine()}"""


def engine() -> str:
    """The section on mutants of the compiler and of the executor."""
    known = json.loads((HERE.parent / "mutants/engine.json").read_text(encoding="utf-8"))
    seen = {k: sum(n for test, n in x["killed"].items() if test != "crash") for k, x in known.items()}
    rows = [
        (
            f"{k}.py",
            f"{seen[k]} of {x['mutants']}",
            str(len(x["survivors"])),
            str(x["killed"].get("crash", 0)),
            x["date"],
        )
        for k, x in known.items()
    ]
    total = sum(x["mutants"] for x in known.values())
    commits = ", ".join(sorted({x["commit"][:7] for x in known.values()}))
    return f"""
## Mutation of the engine

The same for the compiler's plan, its simplification and storage, and for what binds and runs a step: operators,
conditions, numbers, statements. {sum(seen.values())} of {total} changes were seen by the laws that reach their line. A
change that ended the process counts as not seen: most of those in simplify.py did not compile. The record is of
{commits}; storage.py, step.py and bind.py have been edited since, and simplify.py has got tests of its own. What
survived is listed in `tests/mutants/engine.json`; which of these changes no test can see has not yet been sorted out.
`python tests/mutants/engine.py FILE` runs a file again.

{table(("file", "seen", "left", "ended the process", "date"), rows)}
"""


def page(cases: list[Case]) -> str:
    methods, worn, have = walks(cases)
    live = sum(not case.recorded for case in cases)
    return f"""# Proof

Made by `scripts/docs`. {have} of {len(registry())} methods walk beside the code of their authors or, where the authors
have published none, beside the implementation that most people use: torch.optim first of all.

- **Transcription**: the paper's pseudocode in plain float64, written from the paper and not from the rule. Every rule
  agrees with it to 1e-10 over 50 steps at random hyperparameters.
- **Their code**: {STEPS} steps over a matrix, a vector and a convolution in float64, on the gradients of a bowl that is
  pushed about, compared at {len(trajectory.SEEN)} of them. {live} settings are made by a package of the test extras
  whenever the tests run; {len(cases) - live} were recorded once from a repository at the commit named: numbers with
  their provenance, in [tests/authors/recorded](../tests/authors/recorded).
- **Largest error**: the largest difference of any weight on the whole walk and in all settings, in units of the largest
  of 1 and the weight, rounded up to a power of ten.

## Methods

{methods}

## Modifiers

{worn}

{mutation()}"""


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    try:
        cases = trajectory.cases()
    except ModuleNotFoundError as absent:
        sys.exit(f"docs/proof.md stays as it is: making it needs the test extras, and {absent.name} is not installed")
    PAGE.write_text(page(cases), encoding="utf-8")
