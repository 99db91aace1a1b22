"""The verdict as data: a row for each method, and a table in LaTeX for a paper."""

import math
import re
from statistics import fmean
from typing import Any

from ..protocol.outcome import Method, Outcome, reaches, stays_at
from ..protocol.verdict import easier
from .classic import training
from .terminal import meaning, steps

SPECIAL = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}", '"': r"\char34{}",
    "−": "$-$", "[": "{[}", "*": "{*}",  # after the end of a row these are its options
} | {c: f"\\{c}" for c in "&%$#_"}  # fmt: skip


def verdict(outcome: Outcome) -> list[dict[str, Any]]:
    """Best first; those at other batch sizes after them. What there is none of is None: the loss of a method that
    diverged, the steps to a target that is missed."""
    return [_row(m, rank, one) for one in (outcome, *outcome.sweep) for rank, m in enumerate(one.methods, 1)]


def _row(m: Method, rank: int, outcome: Outcome) -> dict[str, Any]:
    d, metric, t = outcome.behind(m), outcome.facts.task.metric, m.time
    targets = {"target": outcome.target, "easy_target": outcome.easy_target}
    numbers = {
        "loss": m.loss,
        "behind": d.mean if d else None,
        "behind_low": d.low if d else None,
        "behind_high": d.high if d else None,
        "new_seeds_loss": m.confirmed,
        **({f"new_seeds_{metric}": fmean(m.metrics) if m.metrics else None} if metric else {}),
        "defaults_loss": m.usual,
        "training_loss": training(m),
        **{
            f"{what}_{name}": None if target is None else when(m.tuned, target)
            for name, target in targets.items()
            for what, when in (("steps_to", reaches), ("steps_to_stay_at", stays_at))
        },
        **{f"setting_{name}": x for name, x in m.hyper.items()},
        "ms_per_step": t.whole,
        "ms_per_step_low": t.low,
        "ms_per_step_high": t.high,
        "ms_per_step_cpu": t.cpu,
        "fit_seconds": m.seconds,
        "state_bytes_per_parameter": t.state_bytes,
        "peak_mib": t.peak,
    }
    return {
        "task": outcome.facts.task.name,
        "batch": outcome.facts.task.batch,
        "rank": rank,
        "optimizer": m.card.name,
        "label": m.name,
        "letters": outcome.groups[m.name],
        "measure": outcome.measure,
        "seeds": len(m.tuned),
        "seeds_diverged": m.diverged,
        "trials": len(m.tried),
        "trials_diverged": sum(p.result.diverged_at is not None for p in m.tried),
        "at_edge": " ".join(m.edges),
        **{name: x if x is not None and math.isfinite(x) else None for name, x in numbers.items()},
    }


def latex(outcome: Outcome) -> str:
    r"""The table of the report, for \usepackage{booktabs}: what is in it, the caption says."""
    metric = outcome.facts.task.metric
    powered, target = outcome.seen is not None, outcome.aim
    head = [
        "optimizer", outcome.measure, *(["behind"] if powered else []), *([metric] if metric else []),
        *(["steps to target"] if target is not None else []), "ms/step", "fit, s", "setting",
    ]  # fmt: skip
    lines = [[_cell(x) for x in head]]
    for m in outcome.methods:
        d = outcome.behind(m)
        letters = outcome.groups[m.name] if powered else ""
        lines.append([
            _cell(m.name),
            "diverged" if m.diverged else f"{m.loss:.4f}" + (rf"\textsuperscript{{{letters}}}" if letters else ""),
            *([f"{d.mean:.4f} [{d.low:.4f}, {d.high:.4f}]".replace("-", "$-$") if d else ""] if powered else []),
            *([f"{fmean(m.metrics):.4f}" if m.metrics else ""] if metric else []),
            *([steps(reaches(m.tuned, target)).replace("–", "--")] if target is not None else []),
            *(f"{x:.2f}" if math.isfinite(x) else "" for x in (m.time.whole, m.seconds)),
            _cell(", ".join(f"{name} {x:.3g}" for name, x in m.hyper.items())),
        ])  # fmt: skip
    first, *rest = [" & ".join(line) + r" \\" for line in lines]
    columns = "l" + "r" * (len(head) - 2) + "l"
    label = re.sub("[^A-Za-z0-9]+", "-", outcome.facts.task.name)
    return "\n".join([
        r"% \usepackage{booktabs}", r"\begin{table}", r"  \centering", rf"  \caption{{{_caption(outcome)}}}",
        rf"  \label{{tab:{label}}}", rf"  \begin{{tabular}}{{{columns}}}", r"    \toprule", f"    {first}",
        r"    \midrule", *(f"    {line}" for line in rest), r"    \bottomrule", r"  \end{tabular}", r"\end{table}", "",
    ])  # fmt: skip


def _caption(outcome: Outcome) -> str:
    said = [f"Optimizers on {outcome.facts.task.name}.", f"{meaning(outcome).capitalize()}."]
    if outcome.seen is not None:
        said.append("Behind: the difference from the best, with intervals that hold for all pairs at once in 95 % of "
                    "comparisons (Games and Howell); optimizers that share a letter cannot be told apart.")  # fmt: skip
    if (target := outcome.aim) is not None:
        said.append(f"Steps: the first at which the mean validation {outcome.quantity} is {target:.4g} or less, "
                    f"{easier(outcome)}; a dash is never.")  # fmt: skip
    said.append("Fit: seconds of training in one run, beside other runs.")
    return _cell(" ".join(said))


def _cell(text: str) -> str:
    """Text that LaTeX sets as it is written, in one line."""
    return "".join(SPECIAL.get(c, c) for c in " ".join(text.split()))
