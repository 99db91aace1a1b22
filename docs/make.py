"""Write docs/optimizers.md and a page for each method from what the code knows: scripts/docs (--check only compares).

A page is made of the method's docstring, the equations as the compiler has traced them, its defaults beside the
literature's, the rows of docs/divergences.md that are about it, and its papers. docs/performance.md comes from the
records in benchmarks/results: performance.py, and so do docs/migrate.md and a table in docs/advise.md. Schedules have
a page and a picture, and a step has a picture of its phases: phases.py.
"""

import inspect
import sys
from pathlib import Path

import migrate
import performance
import phases
import worth
from tables import table

from ravine import mods, schedules, strategies
from ravine.catalog.docstring import parts
from ravine.catalog.literature import PAPER
from ravine.catalog.methods import Method, cited, defaults, method, methods
from ravine.catalog.printed import bytes_of
from ravine.optim import registry
from ravine.optimizer import Optimizer
from ravine.rule.hyper import SWITCHES
from ravine.schedules.by_name import registry as schedules_by_name
from ravine.schedules.by_name import sampled
from ravine.visuals import Panel, grid

HERE = Path(__file__).parent
INDEX = HERE / "optimizers.md"
FOLDER = HERE / "optimizers"
DIVERGENCES = HERE / "divergences.md"


def divergences() -> list[tuple[str, str, str, str]]:
    """The rows of docs/divergences.md: method, where they disagree, the default here, the flag for the other."""
    lines = [line for line in DIVERGENCES.read_text(encoding="utf-8").splitlines() if line.startswith("|")]
    rows = [tuple(cell.strip() for cell in line.strip("|").split("|")) for line in lines[2:]]
    for row in rows:
        assert len(row) == 4, f"docs/divergences.md: a row has four cells, divided by |: {row}"
    return rows  # pyright: ignore[reportReturnType]


def value(x: object) -> str:
    """A default as a person writes it."""
    return f"`{x:g}`" if isinstance(x, float) else f"`{x!r}`"


def code(text: str, language: str = "") -> str:
    """A block as it is."""
    return f"```{language}\n{text}\n```"


def of_defaults(cls: type[Optimizer]) -> str:
    """What the method takes; a column for the literature where it says something else."""
    name, own = cls.__name__.lower(), defaults(cls)
    literature, source = PAPER.get(name, ({}, ""))
    if not any(own[k] != x for k, x in literature.items()):
        return table(("argument", "default"), [(f"`{k}`", value(x)) for k, x in own.items()])
    rows = [(f"`{k}`", value(x), value(literature[k]) if k in literature else "") for k, x in own.items()]
    head = table(("argument", "default", "in the literature"), rows)
    return f'{head}\n\nThe last column is `ravine.create("{name}", …, defaults="paper")`: {source}.'


def page(cls: type[Optimizer], facts: Method) -> str:
    """One method."""
    said, name = parts(cls), cls.__name__
    traced = f"$$\\begin{{aligned}}\n{cls.equations()}\n\\end{{aligned}}$$"
    others = [row[1:] for row in divergences() if row[0] == name]
    twin = f" As `torch.optim.{cls.twin.__name__}`: a state dict of one loads into the other." if cls.twin else ""
    sections = {
        "": f"# {name}\n\n{said.sentence}",
        "Equations": "\n\n".join(
            [
                *([code(said.equations)] if said.equations else []),
                "As the compiler has traced them at the defaults (θ is the parameter, η the learning rate):",
                traced,
            ]
        ),
        "In words": said.paragraphs,
        "When to use it": said.use,
        "Defaults": of_defaults(cls),
        "What it costs": f"{bytes_of(facts.state)} bytes of state for each float32 parameter of a 1024 × 1024 matrix; "
        f"a step moves {facts.moved} bytes in {facts.passes} pass{'es' * (facts.passes != 1)} over memory.{twin}",
        "Where others differ": table(("where they disagree", "here", "for the other"), others) if others else "",
        "Papers": "\n\n".join(
            [
                *([said.references.replace("\n", "  \n")] if said.references else []),
                *([code("\n\n".join(entry.text for entry in cited(cls)), "bibtex")] if cls.papers else []),
            ]
        ),
    }
    written = [f"## {title}\n\n{body}" if title else body for title, body in sections.items() if body]
    return "\n\n".join(written) + "\n"


def index(rows: list[Method]) -> str:
    """The table of all methods."""
    linked = [
        (f"[{x.name}](optimizers/{x.name.lower()}.md)", str(x.year or ""), bytes_of(x.state), str(x.moved), x.sentence)
        for x in rows
    ]
    return f"""# The optimizers

Made by `scripts/docs`; `ravine list` prints the same, `ravine show NAME` a page of it. State is what a method keeps
for each float32 parameter of a 1024 × 1024 matrix, in bytes; factors of rows and columns, and what has a rank, are
smaller or larger beside other shapes. Moved is what a step reads and writes for it. All take `maximize`, `mods`, and
what [step.md](step.md) tells of: `storage`, `master_bits`, `nonfinite`, `measured`, `capturable`. Those that torch has
take its switches {", ".join(SWITCHES)}.
Where papers, textbooks and libraries disagree: [divergences.md](divergences.md).

{table(("name", "year", "state", "moved", "what it is"), linked)}
"""


def modifiers() -> str:
    """The page of all modifiers and strategies."""
    out = [f"# Modifiers\n\nMade by `scripts/docs`. {inspect.cleandoc(mods.__doc__ or '')}"]
    for room, every in (("", mods), ("# Strategies", strategies)):
        out += [f"{room}\n\n{inspect.cleandoc(every.__doc__ or '')}"] * bool(room)
        for name, cls in sorted((k, x) for k, x in vars(every).items() if isinstance(x, type)):
            out += entry(name, cls)
    return "\n\n".join(x for x in out if x) + "\n"


def entry(title: str, cls: type) -> list[str]:
    """A class as blocks of text: its arguments, and its docstring part by part."""
    said, takes = parts(cls), str(inspect.signature(cls)).removesuffix(" -> None")
    blocks = [f"## {title}", code(f"{cls.__name__}{takes}", "python signature"), said.sentence]
    blocks += [code(said.equations) if said.equations else "", said.paragraphs, said.use]
    return [*blocks, said.references.replace("\n", "  \n")]


def every_schedule() -> str:
    """The page of all schedules."""
    out = [
        "# Every schedule",
        "Made by `scripts/docs`; `ravine schedule` lists them, `ravine schedule cosine` shows one. t is the number of "
        "steps made so far; [schedules.md](schedules.md) is the guide.",
        "![](schedules.svg)",
    ]
    for name, cls in schedules_by_name().items():
        out += entry(name, cls)
    return "\n\n".join(x for x in out if x) + "\n"


def curves() -> str:
    """The picture of all schedules, each made for a run of 300 steps; momentum stands beside its one-cycle."""
    total = 300
    drawn = {name: schedules.create(name, total) for name in schedules_by_name()}
    drawn["polynomial"] = schedules.create("polynomial", total, power=2.0)
    drawn["untuned-warmup"] = schedules.create("untuned-warmup", total, beta2=0.99)
    drawn["one-cycle's momentum"] = schedules.OneCycle(total).momentum()
    return grid([Panel(name, sampled(x, total)) for name, x in drawn.items()])


def pages() -> dict[Path, str]:
    """{file: text} of all that is made here."""
    every = registry()
    made = {FOLDER / f"{name}.md": page(cls, method(cls)) for name, cls in sorted(every.items())}
    others = {HERE / "modifiers.md": modifiers(), HERE / "performance.md": performance.page()}
    others |= {HERE / "migrate.md": migrate.page(), worth.PAGE: worth.page()}
    others |= {HERE / "every_schedule.md": every_schedule(), HERE / "schedules.svg": curves()}
    others |= {HERE / "phases.svg": phases.picture()}
    return {INDEX: index(methods()), **others, **made}


def stale(made: dict[Path, str]) -> list[Path]:
    """Files that are not as made, or that nothing makes any more."""
    absent = [path for path in FOLDER.glob("*.md") if path not in made]
    differ = [path for path, text in made.items() if not path.exists() or path.read_text(encoding="utf-8") != text]
    return sorted([*absent, *differ])


if __name__ == "__main__":
    made = pages()
    old = stale(made)
    if "--check" in sys.argv:
        names = ", ".join(str(path.relative_to(HERE.parent)) for path in old)
        sys.exit(f"out of date: {names}: run scripts/docs" if old else 0)
    FOLDER.mkdir(exist_ok=True)
    for path in old:
        if path in made:
            path.write_text(made[path], encoding="utf-8")
        else:
            path.unlink()
