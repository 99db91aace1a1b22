"""docs/performance.md from the records in benchmarks/results: a part of scripts/docs.

Each table stands with the machine, the date and the command of its record. A figure that is not what was aimed at
stands below it with the reason, from reasons.py.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from reasons import REASONS
from tables import Row, aim, crossed, figure, listed

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results"
sys.path.append(str(ROOT / "benchmarks"))  # they are scripts, not a package

import convergence  # noqa: E402
from bench import missed  # noqa: E402

Record = dict[str, Any]


@dataclass
class Table:
    """What it shows, which command measures it, and which rows of what that command leaves."""

    text: str
    command: str
    columns: Mapping[str, str] | str  # their titles and keys, or one ratio to cross with the models
    rows: str = "*"  # their questions
    but: str = ""  # not those with this ratio

    def takes(self, row: Row) -> bool:
        ratios = row.get("ratios", {})
        shown = not isinstance(self.columns, str) or self.columns in ratios
        return shown and self.but not in ratios and any(fnmatchcase(row["question"], q) for q in self.rows.split("; "))

    def write(self, rows: list[Row]) -> str:
        return crossed(self.columns, rows) if isinstance(self.columns, str) else listed(self.columns, rows)


LIMIT = {"bytes a number": "bytes", "they need": "bound", "ravine/bound": "ravine/bound"}
TWINS = "radam; nadam; adadelta; rmsprop; adamax"
SECTIONS = {
    "The end of a training loop": [
        Table(
            "Clip the norm of the gradients, step AdamW, average the weights: one call here, three in torch "
            "(`clip_grad_norm_`, fused AdamW, `_foreach_lerp_`).",
            "loop.py",
            {"shapes": "model", "ravine": "ravine", "torch": "torch", "torch/ravine": "torch/ravine", **LIMIT},
        )
    ],
    "States in 8 and 16 bits": [
        Table(
            "AdamW with its states in float32, bfloat16 and int8, beside torch's fused AdamW in float32.",
            "storage.py",
            {"": "question", "shapes": "model", "bytes of state": "state", "ravine": "ravine", "torch fused": "fused"}
            | {"fused/ravine": "fused/ravine", **LIMIT},
        )
    ],
    "One more number, one more tensor": [
        Table(
            "AdamW on one tensor of so many million numbers.",
            "scaling.py",
            {"numbers": "model", "ravine": "ravine", "torch fused": "fused", "ns a number": "nanoseconds a number"}
            | {"fused/ravine": "fused/ravine", "ravine/bound": "ravine/bound", "": "note"},
            rows="numbers",
        ),
        Table(
            "AdamW on so many tensors of 10 numbers, with gradients that stay where they are (kept) and with others "
            "before every step (new). A further tensor is what the larger number of tensors adds, divided by how many "
            "it adds; the bend is that, divided by the same of the line above.",
            "scaling.py",
            {"": "question", "tensors": "model", "ravine": "ravine", "torch fused": "fused"}
            | {"µs a tensor": "microseconds a tensor", "µs a further tensor": "microseconds a further tensor"}
            | {"bend": "bend", "fused/ravine": "fused/ravine"},
            rows="tensors, *",
        ),
    ],
    "Beside other libraries": [
        Table(
            "AdamW in turns in one process. To start is what a new process needs with empty caches, from importing the "
            "library to the end of its first step. The gap is the mean distance of the weights from those of torch's "
            "fused AdamW after three steps, lr = 1.",
            "peers.py",
            {"": "question", "shapes": "model", "version": "version", "step": "step", "step/ravine": "step/ravine"}
            | {"bytes of state": "state", "to start": "start", "gap": "gap", "what it is": "note"},
        )
    ],
    "A step": [
        Table("AdamW: time, torch's fused AdamW = 1.", "step.py", "ravine/fused", "adamw"),
        Table("Times faster than torch's foreach.", "step.py", "foreach/ravine", TWINS, but="compile/ravine"),
        Table("Times faster than `torch.compile(opt.step)`.", "step.py --only compile", "compile/ravine", TWINS),
        Table(
            "AdamW on small models.",
            "step.py --only mlp tiny",
            {"shapes": "model", "ravine": "ravine", "fused": "fused", "foreach": "foreach"}
            | {"fused/ravine": "fused/ravine", "foreach/ravine": "foreach/ravine", "µs a step": "microseconds"},
            "mlp; tiny",
        ),
        Table(
            "Every rule: time, what its bytes need = 1. Those without an aim are not elementwise.",
            "step.py --only bytes",
            "ravine/bound",
            "bytes *",
        ),
    ],
    "Methods for matrices": [
        Table(
            "Muon at Jordan's five steps on the matrices of six blocks of GPT-2 124M; ravine is precision=bf16, as "
            "torch is. The share is that of the machine's own product rate, with credit for all products of the "
            "plain iteration. The last two are how far the step is from that of the same iteration in float64: at "
            "random gradients, and at singular values from 1 down to 1/1,000, as momentum has.",
            "matrix.py",
            {"library": "model", "step": "step", "step/ravine": "step/ravine", "share": "share"}
            | {"from float64, random": "near random", "as momentum": "near momentum", "": "note"},
            "muon",
        ),
        Table(
            "The mean step over 10 on the matrices of one block of GPT-2, bases and roots every 10 steps. "
            "distributed_shampoo is Meta's; heavyball is compiled in the default mode.",
            "matrix.py",
            {"method": "question", "library": "model", "step": "step", "step/ravine": "step/ravine", "": "note"},
            "shampoo; soap",
        ),
        Table(
            "Kron on the same matrices, its factors in every step.",
            "matrix.py --only kron",
            {"library": "model", "step": "step", "step/ravine": "step/ravine", "": "note"},
            "kron",
        ),
        Table(
            "The longest step against the median one, with stagger=True.",
            "matrix.py",
            {"": "question", "matrices": "model", "median": "median", "longest": "longest"}
            | {"longest/median": "longest/median"},
            "spikes *",
        ),
        Table(
            "Twelve matrices 64 to 256 wide. By its products alone, at the rate of this machine, Newton–Schulz of them "
            "needs the last.",
            "matrix.py",
            {"": "model", "step": "step", "step/adamw": "step/adamw", "products alone": "products"},
            "small",
        ),
    ],
    "What compiling takes": [
        Table(
            "The first step in a new process, less a later one: tracing, and compiling or finding the code on disk.",
            "step.py --only start",
            {"": "question", "ms, first time on a machine": "cold", "ms, from the cache": "warm"},
            "start *",
        )
    ],
    "Looking at a run": [
        Table(
            "A training step, forward and backward and all, with `ravine.Monitor(model, opt)` at its every=10 and "
            "without it. Of torch's AdamW it copies the weights in sampled steps.",
            "monitor.py",
            {"": "question", "model": "model", "plain": "plain", "with the monitor": "monitor"}
            | {"monitor/plain": "monitor/plain"},
        )
    ],
    "Beside busy processes": [
        Table(
            "AdamW beside so many processes that count; load is the machine's at the end, with all that others run. A "
            "median and, where a step may stall, the mean; the ratio is of the means. A team of threads ends with its "
            "last thread, and on a busy machine that one waits for a core. Where a team took longer than all its "
            "threads worked, ravine's next steps go without it, ten times as long as it lost; `team` never does.",
            "busy.py",
            {"": "question", "load": "load", "shapes": "model", "ravine": "ravine", "ravine, mean": "ravine mean"}
            | {"team": "team", "team, mean": "team mean", "fused": "fused", "fused, mean": "fused mean"}
            | {"foreach, mean": "foreach mean", "team/ravine": "team/ravine", "fused/ravine": "fused/ravine"},
        )
    ],
    "The lab": [
        Table(
            "A trial of `ravine compare`, and the same loop written by hand with the same evaluations.",
            "lab.py",
            {"": "question", "lab": "lab", "by hand": "by hand", "lab/by hand": "lab/by hand"},
            "overhead",
        ),
        Table(
            "The same trials by one worker and by two.",
            "lab.py",
            {"": "question", "one": "one", "two": "two", "two/one": "two/one"},
            "two workers",
        ),
        Table(
            "The classic preset, whole, by two workers; Keras one after another.",
            "lab.py",
            {"": "question", "lab": "lab", "Keras": "Keras", "its time": "keras", "lab/Keras": "lab/Keras"},
            "classic",
        ),
        Table(
            "`ravine compare` as it is: the standard tier of eight optimizers on digits, two workers.",
            "lab.py",
            {"": "question", "lab": "lab", "lab/ten minutes": "lab/ten minutes"},
            "standard",
        ),
    ],
    "Rows of an embedding": [
        Table(
            "SparseAdam on an embedding 64 wide, of which so many rows have a gradient.",
            "embedding.py",
            {"rows": "model", "ravine": "ravine", "torch": "torch", "torch/ravine": "torch/ravine"},
        )
    ],
}


def records(folder: Path = RESULTS) -> list[Record]:
    """All records, oldest first; of one day those of a part (`--only`) after that of the whole."""
    found = [json.loads(x.read_text(encoding="utf-8")) | {"file": x.name} for x in sorted(folder.glob("*.json"))]
    return sorted((x for x in found if "rows" in x), key=lambda x: (x["date"], -len(x["rows"])))


def why(row: Row, ratio: str) -> str | None:
    """The reason why a ratio is not what was aimed at."""
    place = (row["question"], row["model"], ratio)
    return next((reason for key, reason in REASONS.items() if all(map(fnmatchcase, place, key))), None)


def unexplained(rows: Iterable[Row]) -> list[tuple[str, str, str]]:
    """What was missed and has no reason: question, model, ratio."""
    return [(row["question"], row["model"], k) for row in rows for k in missed(row) if why(row, k) is None]


def misses(rows: Iterable[Row]) -> str:
    """What was aimed at and missed, by reason."""
    found: dict[str, list[str]] = {}
    for row in rows:
        for ratio in missed(row):
            where = " on ".join(dict.fromkeys((row["question"], row["model"])))
            said = f"{where} ({ratio} {figure(row['ratios'][ratio])}, aim {aim(row, ratio)})"
            found.setdefault(why(row, ratio) or "Not explained yet.", []).append(said)
    lines = [f"- {'; '.join(which)}. {reason}" for reason, which in found.items()]
    return "\n".join(["Missed:", "", *lines]) if lines else ""


def caption(record: Record) -> str:
    """Where, when, how."""
    machine = record["machine"]
    many = "s" * (machine["threads"] != 1)
    on = machine["gpu"] or f"{machine['cpu']}, {machine['threads']} thread{many}"
    load = f", load {record['load']:g} before" if record.get("load") is not None else ""
    link = f"[{record['file']}](../benchmarks/results/{record['file']})"
    note = f" Note: {record['note']}." if "note" in record else ""
    return f"{record['date']}, {on}, torch {machine['torch']}{load}: `{record['command']}`, {link}.{note}"


def latest(table: Table, every: list[Record]) -> list[tuple[Record, list[Row]]]:
    """Of each machine the last record that has such rows, and these."""
    script, last = f"benchmarks/{table.command.split()[0]}", dict[str, tuple[Record, list[Row]]]()
    for record in every:
        if script in record["command"].split() and (rows := [row for row in record["rows"] if table.takes(row)]):
            last[record["machine"]["gpu"] or ""] = record, rows
    return list(last.values())


def shown(every: list[Record]) -> list[Row]:
    """All rows that stand on the page."""
    return [row for part in SECTIONS.values() for table in part for _, rows in latest(table, every) for row in rows]


def blocks(table: Table, every: list[Record]) -> list[str]:
    """The text, and for each machine the table, its caption and what was missed."""
    found = [[table.write(rows), caption(record), misses(rows)] for record, rows in latest(table, every)]
    absent = [f"Not measured yet: `python benchmarks/{table.command}`."]
    return [table.text, *([x for three in found for x in three if x] or absent)]


def quality(folder: Path) -> list[str]:
    """What benchmarks/convergence.py writes of its own record."""
    file = folder / "convergence.json"
    if not file.exists():
        return ["Not measured yet: `python benchmarks/convergence.py`."]
    record = json.loads(file.read_text(encoding="utf-8"))
    return [record["protocol"], convergence.table(record), caption(record | {"file": file.name})]


def page(folder: Path = RESULTS) -> str:
    """All of docs/performance.md."""
    every = records(folder)
    out = [
        "# Performance",
        "Made by `scripts/docs` from [the records](../benchmarks/results), which `benchmarks/*.py` leave. Contestants "
        "of one line took turns in one run, and the medians are compared. A busy machine still disturbs some more than "
        "others, so a record says how busy it was before. A bound is the time that the bytes of a step need at the "
        "speed of `x.mul_(c)`, measured in the same turns.",
    ]
    for title, tables in SECTIONS.items():
        out += [f"## {title}", *(x for table in tables for x in blocks(table, every))]
    return "\n\n".join([*out, "## Does a smaller state cost quality?", *quality(folder)]).rstrip() + "\n"
