"""`ravine schedule`: lists the schedules, explains one, and draws it."""

from __future__ import annotations

import argparse
import inspect
import shutil
from pathlib import Path

from ravine.cli.answer import Mistake, Parser, Whole, answer, write
from ravine.schedules.by_name import create, find, registry, sampled
from ravine.schedules.schedule import Schedule
from ravine.typed import assigned
from ravine.visuals import Line, Panel, curves, grid, ink, page, terminal


def main(argv: list[str]) -> int:
    """Runs the command in `argv` and returns its exit status."""
    return answer(lambda: print(schedule(**vars(_parser().parse_args(argv[1:])))), ValueError, TypeError, OSError)


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="ravine schedule",
        description="Without a name: every schedule in a line. With one: what it is; as a curve with --plot, as "
        "numbers with --table, as a picture with -o.",
    )
    add = parser.add_argument
    add("name", metavar="NAME", nargs="?", help="as the list has it, or as it is often called")
    add("fields", metavar="FIELD=VALUE", nargs="*", help="of the schedule, such as end=0.1; warmup=100 goes with any")
    add("--steps", metavar="N", type=Whole(1, 10**6), default=1000, help="the length of the run (default 1000)")
    add("--plot", action="store_true", help="a curve in the terminal")
    add("--table", action="store_true", help="a few steps with their values")
    add("-o", metavar="FILE", dest="out", type=Path, help="a picture: .svg, or .html that tells values under the mouse")
    return parser


def schedule(
    name: str | None, fields: list[str], steps: int, plot: bool = False, table: bool = False, out: Path | None = None
) -> str:
    """What `ravine schedule` prints."""
    if name is None:
        if plot or table or out:
            raise ValueError(f"which schedule? One of {', '.join(registry())}")
        width = max(map(len, registry()))
        return "\n".join(f"{x:{width}}  {sentence(cls)}" for x, cls in registry().items())
    if steps < 1:
        raise ValueError(f"--steps {steps}: must be 1 or more")
    given = dict(map(assigned, fields))
    for field, instead in (("total", "the length of the run is --steps N"), ("name", "the name comes first")):
        if field in given:
            raise ValueError(f"{field}={given[field]}: {instead}")
    made = create(name, steps, **given)
    values = sampled(made, steps)
    sections = [repr(made)] if plot or table or out else [about(find(name), made)]
    if plot:
        sections.append(terminal(values, shutil.get_terminal_size().columns))
    if table:
        rows = sorted({round(i * (steps - 1) / 20) for i in range(21)})
        sections.append("\n".join(f"{t:>{len(str(steps))}}  {values[t]:.6g}" for t in rows))
    if out:
        picture(out, name, made, values)
        sections.append(f"written to {out}")
    return "\n\n".join(sections)


def about(cls: type[Schedule], made: Schedule) -> str:
    """The page of a schedule: its docstring, its names, and what it is for a run of these steps."""
    also = f"\n\nAlso called {', '.join(cls.aliases)}." if cls.aliases else ""
    return f"{cls.name}\n\n{inspect.cleandoc(cls.__doc__ or '')}{also}\n\nFor this run: {made!r}"


def sentence(cls: type[Schedule]) -> str:
    """What a schedule is, in one line."""
    return (cls.__doc__ or "").splitlines()[0]


def picture(out: Path, name: str, made: Schedule, values: list[float]) -> None:
    """Write the curve to a file of the kind that its name says."""
    steps = range(len(values))
    if out.suffix == ".svg":
        write(out, grid([Panel(name, values)], columns=1, width=720, height=320))
    elif out.suffix == ".html":
        figure = curves([Line(name, ink(0), steps, [values])], "step", "times the base value")
        figure["layout"]["yaxis"] = figure["layout"]["xaxis"] | {
            "title": figure["layout"]["yaxis"]["title"]
        }  # no decades
        try:
            text = page(figure, repr(made))
        except ModuleNotFoundError as error:
            missing, _, _ = str(error.name).partition(".")
            install = 'pip install ".[lab]" in ravine\'s folder'
            raise Mistake(f"{out} needs {missing}: {install}; or write an .svg") from error
        write(out, text)
    else:
        raise ValueError(f"{out} is neither .svg nor .html; pictures are made as these two")
