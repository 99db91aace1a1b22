"""AlgoPerf's public logs: SUBMISSION/study_0/WORKLOAD_jax/trial_1/eval_measurements.csv.

Workloads, metrics and targets are those of the benchmark's versions 0.5 and 0.6.
https://github.com/mlcommons/submissions_algorithms
"""

import math
import re
from collections.abc import Iterable
from pathlib import Path

from .run import Run, name, number, table, wrong

NAMES = ("eval_measurements.csv",)
TARGETS = {  # workload: the metric of its target, and the target
    "criteo1tb": ("loss", 0.123735),
    "fastmri": ("ssim", 0.723653),
    "finewebedu_lm": ("ppl", 22.2995),
    "imagenet_resnet": ("accuracy", 0.77431),
    "imagenet_vit": ("accuracy", 0.77309),
    "librispeech_conformer": ("wer", 0.085884),
    "librispeech_deepspeech": ("wer", 0.119936),
    "ogbg": ("mean_average_precision", 0.28098),
    "wmt": ("bleu", 30.8491),
}
MOST = {"accuracy": 1.0, "bleu": 100.0, "mean_average_precision": 1.0, "ssim": 1.0}  # of metrics where more is better


def runs(paths: Iterable[Path]) -> tuple[list[Run], list[str]]:
    """The runs in these files, and what is left out, a sentence each: variants of workloads, whose targets are none of
    the score's, and files that lie elsewhere. A study is a seed and a trial a setting, as a study is a whole search;
    `valid` is the metric of the target, or its distance from the most that it can be."""
    found: list[Run] = []
    variants, stray = set[str](), list[Path]()
    for path in paths:
        submission, study, workload, trial = ["", "", "", "", *path.absolute().parts][-5:-1]
        task = re.sub(r"_(jax|pytorch)$", "", workload)
        if not study.startswith("study") or not trial.startswith("trial"):
            stray.append(path)
        elif task not in TARGETS:
            variants.add(name(task))
        elif run := _run(path, task, (name(submission), name(trial), name(study))):
            found.append(run)
    where = "a log of AlgoPerf's lies in SUBMISSION/study_0/WORKLOAD_jax/trial_1"
    if stray and not found:
        raise wrong(stray[0], None, where)
    said = [f"Left out: {len(stray)} of the files, {stray[0]} first; {where}"] if stray else []
    if variants:
        said.append(f"Left out, since their targets are not the score's: {', '.join(sorted(variants))}")
    return found, said


def _run(path: Path, workload: str, who: tuple[str, str, str]) -> Run | None:
    """Evaluations that gave the metric; None where there is none."""
    metric, target = TARGETS[workload]
    rows: list[tuple[float, float, float, float | None]] = []
    column = f"validation/{metric}"
    for line, row in table(path, ("global_step", "accumulated_submission_time", column)):
        if not row[column].strip():
            continue
        step, seconds, value = (number(row[n], path, line, n)
                                for n in ("global_step", "accumulated_submission_time", column))  # fmt: skip
        for what, x in (("global_step", step), ("accumulated_submission_time", seconds)):
            if not 0 <= x < math.inf:
                raise wrong(path, line, f"{what} is {x:g}: it must be a number from 0")
        tested = row.get(f"test/{metric}", "").strip()
        test = _lower(number(tested, path, line, f"test/{metric}"), metric) if tested else None
        rows.append((step, seconds, _lower(value, metric), test))
    if not rows:
        return None
    step, seconds, valid, tests = zip(*sorted(rows, key=lambda x: x[:2]), strict=True)
    return Run(workload, *who, step, valid, seconds, tests[-1], _lower(target, metric))


def _lower(value: float, metric: str) -> float:
    """So that lower is better."""
    return 1 - value / MOST[metric] if metric in MOST else value
