"""docs/migrate.md: from AdamW to another method, by the best settings that benchmarks/advice.py found for both."""

import json
import math
from pathlib import Path
from statistics import median
from typing import Any

from tables import figure, table

from ravine.catalog.names import find
from ravine.optimizer import Optimizer
from ravine.rule.hyper import fields

RECORD = Path(__file__).parents[1] / "benchmarks" / "results" / "advice-cpu.json"
FROM = "adamw"
ABOUT = """# Coming from AdamW

Made by `scripts/docs` of what `python benchmarks/advice.py` found: on each task every method was searched alike, 32
points of its space at the standard tier ([compare.md](compare.md)), and what is told here is the best point of each.
One search of 32 points finds a rate to within a factor of two or three, so the middle of several tasks says more than
any one of them. The loss is that to be expected of a search of 8 points, on test data: below 1 the method was better
than AdamW, which was tuned as well. `rest_lr` is the rate of AdamW for what is no matrix inside a model:
`ravine.create("muon", model, lr=…, rest={"lr": …})`.
"""


def page(path: Path = RECORD) -> str:
    """The page; without a record it says how to make one."""
    if not path.exists():
        return f"{ABOUT}\nNot measured yet: `python benchmarks/advice.py`.\n"
    record = json.loads(path.read_text(encoding="utf-8"))
    best, losses = record["best"], record["losses"]
    tasks = [task for task in best if FROM in best[task]]
    methods = dict.fromkeys(name for task in tasks for name in best[task] if name != FROM)
    made = f"{record['date']}, {record['machine']['cpu']}: `{record['command']}`, " \
           f"[{path.name}](../benchmarks/results/{path.name})."  # fmt: skip
    own = table(("task", "its best"), [(task, setting(best[task][FROM])) for task in tasks])
    parts = [section(name, [task for task in tasks if name in best[task]], best, losses) for name in methods]
    return "\n\n".join([ABOUT.strip(), made, f"AdamW itself:\n\n{own}", *parts]) + "\n"


def section(name: str, tasks: list[str], best: dict[str, Any], losses: dict[str, dict[str, float]]) -> str:
    """One method: where to start, in a sentence, and what that is read from."""
    cls = find(name)[0].__name__
    times = [best[task][name]["lr"] / best[task][FROM]["lr"] for task in tasks]
    worse = [losses[task][name] / losses[task][FROM] for task in tasks]
    rows = [
        (task, setting(best[task][name]), figure(ratio), figure(loss) if math.isfinite(loss) else "diverged")
        for task, ratio, loss in zip(tasks, times, worse, strict=True)
    ]
    start = f"Start at {figure(rounded(median(times)))} times AdamW's rate: {figure(min(times))} to "
    start += f"{figure(max(times))} on {len(tasks)} task{'s' * (len(tasks) != 1)}."
    if decays := [best[task][name]["weight_decay"] / best[task][FROM]["weight_decay"] for task in tasks
                  if "weight_decay" in best[task][name]]:  # fmt: skip
        start += f" Its weight decay was {figure(rounded(median(decays)))} times AdamW's."
    else:
        start += f" Weight decay was not searched here: {decay_of(find(name)[0])}."
    return f"## {cls}\n\n{start}\n\n{table(('task', 'its best', 'lr / AdamW’s', 'loss / AdamW’s'), rows)}"


def decay_of(cls: type[Optimizer]) -> str:
    """How to have weight decay as AdamW's with a method."""
    takes = fields(cls)
    for flag in ("decoupled_weight_decay", "weight_decouple"):
        if flag in takes:
            return f"`weight_decay=…, {flag}=True` takes it off the weights, as AdamW does"
    own = "its `weight_decay` goes into the gradient, and " if "weight_decay" in takes else "it has none, and "
    return f"{own}`mods=[DecoupledDecay(…)]` takes it off the weights, as AdamW does"


def setting(hyper: dict[str, float]) -> str:
    """The numbers of a point, with digits enough to be typed in."""
    return ", ".join(
        f"{k[2:]} {below_one(x)}" if k.startswith("1-") else f"{'decay' if k == 'weight_decay' else k} {x:.3g}"
        for k, x in hyper.items()
        if "/" not in k  # a coordinate of the search, of which lr follows
    )


def below_one(x: float) -> str:
    """1 − x, with three digits of x: 0.99987, and not 1."""
    return f"{1 - x:.{max(3, 2 - math.floor(math.log10(x)))}f}".rstrip("0") if x < 1 else "0"


def rounded(x: float) -> float:
    """One digit: no more is known."""
    return float(f"{x:.0e}")
