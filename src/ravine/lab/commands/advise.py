"""`ravine advise`: which optimizer should I use? By what was measured on other tasks, and a short look at this one."""

import math
from pathlib import Path
from statistics import fmean

from ravine.cli.answer import Parser

from ..errors import LabError
from ..protocol import evidence
from ..protocol.evidence import Seen, Traits, choose, expected, left_out
from ..protocol.outcome import Method, Outcome
from ..protocol.resume import found
from ..protocol.settings import Settings
from ..protocol.verdict import doubts, words
from ..tasks import load_task
from . import answer, of_task
from .one_task import on


def advice(here: Traits, found: Outcome, seen: list[Seen]) -> str:
    """What to use, how sure that is, and why: after a short search also by other tasks."""
    tier, epochs, whole = found.facts.tier, found.facts.epochs, found.facts.tier.share >= 1
    by = {m.card.ours: m for m in sorted(found.methods, key=lambda m: -m.validation)}  # of several settings the best
    losses = {name: m.validation for name, m in by.items()}  # a choice by test loss would have no part to be judged on
    chosen = by[choose(losses, expected(here, seen), trust=1.0 if whole else 0.5)]
    first = min(found.methods, key=lambda m: m.validation)
    others = [m.name for m in found.methods if m is not chosen]
    lines = [f"Use {chosen.name} with {_settings(chosen)}, schedule {chosen.card.schedule or found.facts.schedule}."]
    if math.isinf(first.validation):
        return "\n".join([f"No advice: {words(found)}", *doubts(found)])
    if whole:
        lines.append(f"Its validation loss is the lowest, {chosen.validation:.4g}. On the {found.judged} data:")
        return "\n".join([*lines, words(found), *doubts(found)])
    if chosen is first:
        lines.append(
            f"It had the lowest validation loss in a short search here: {chosen.validation:.4g} after {epochs} epochs."
        )
    else:
        lines.append(f"{first.name} was lower in a short search ({first.validation:.4g} to {chosen.validation:.4g}), "
                     f"but on other tasks {chosen.name} was nearer to the best.")  # fmt: skip
    beside = f"Tried beside it: {', '.join(others)}. " if others else ""
    if chosen.tried:
        beside += (
            f"The rate is the best of {tier.points} over {epochs} epochs: for a longer run start there, and look at "
            "half of it."
        )
    lines += [beside.rstrip()] if beside else []
    return "\n".join([*lines, worth(seen)])


def worth(seen: list[Seen]) -> str:
    """How good such advice was where the answer is known."""
    if len(seen) < 3:
        return "There is no record of finished comparisons to judge such advice by."
    regrets = left_out(seen)
    mean = {name: fmean(min(r, 1.0) for r in found.values()) for name, found in regrets.items()}
    near = sum(r < 0.05 for r in regrets["advice"].values())
    said = ", ".join(f"{name} {_percent(x)}" for name, x in mean.items())
    better = all(mean["advice"] < x for name, x in mean.items() if name != "advice")
    return (
        f"How sure? On {len(seen)} tasks, each judged by the others alone, such advice was within 5 % of the best "
        f"{near} times. Mean excess loss: {said}."
        + ("" if better else " So it has not been better than using one method always.")
    )


def _settings(method: Method) -> str:
    return ", ".join(f"{name}={x:g}" for name, x in method.hyper.items())


def _percent(log_ratio: float) -> str:
    return f"{math.expm1(log_ratio):.1%}"


def main(argv: list[str]) -> int:
    """Runs the command in `argv` and returns its exit status."""
    return answer(lambda: _run(argv))


def _run(argv: list[str]) -> None:
    asked, seen = _parser().parse_args(argv[1:]), evidence.evidence()
    if asked.compared is not None:
        made, _ = found(asked.compared)
        here = made.facts.task.traits
        if here is None:
            raise LabError(f"{asked.compared}: nothing is recorded of its task; ravine compare --resume "
                           f"{asked.compared} looks at it")  # fmt: skip
        print(f"{made.facts.task.name}: {here.words}\n{advice(here, made, seen)}")
        return
    name = asked.task or "digits"
    task = load_task(name, asked.data)
    data = task.load()
    task.rehearse(data)
    here = evidence.traits(task, data)
    short = tuple(evidence.shortlist(here, seen, task.optimizers))
    settings = Settings(data=asked.data, tier="smoke", workers=asked.workers, optimizers=short)
    print(f"{task.name}: {here.words}\ntrying {', '.join(short)} …", flush=True)
    folder = asked.out or Path("runs") / task.folder
    print(advice(here, on(name, task, folder, settings, "ravine advise"), seen))


def _parser() -> Parser:
    parser = Parser(
        prog="ravine advise",
        description="Looks at a task, tries a shortlist of optimizers on it in a short search, and says which to use, "
        "with which rate and schedule, and how far to trust that.",
    )
    add = parser.add_argument
    of_task(parser, "digits")
    add(
        "--from",
        metavar="DIR",
        dest="compared",
        type=Path,
        help="by a finished comparison, from the folder it wrote to",
    )
    add("--out", metavar="DIR", type=Path, help="where records go (default runs/TASK)")
    add("--workers", metavar="N", help="processes, one thread each (default: one a core)")
    return parser
