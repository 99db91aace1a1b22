"""AlgoPerf's public logs: SUBMISSION/study_0/WORKLOAD_jax/trial_1/eval_measurements.csv.

Workloads, metrics and targets are those of the benchmark's versions 0.5 and 0.6.
https://github.com/mlcommons/submissions_algorithms
"""

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median

from ..protocol.score import FURTHEST
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
GATES = {  # of version 0.5: a variant, which a submission must reach too, and its target
    "criteo1tb": ("criteo1tb_embed_init", 0.129657),
    "fastmri": ("fastmri_tanh", 0.71784),
    "imagenet_resnet": ("imagenet_resnet_large_bn_init", 0.76526),
    "librispeech_conformer": ("librispeech_conformer_layernorm", 0.09731),
    "ogbg": ("ogbg_model_size", 0.269446),
    "wmt": ("wmt_glu_tanh", 29.5779),
}
MOST = {"accuracy": 1.0, "bleu": 100.0, "mean_average_precision": 1.0, "ssim": 1.0}  # of metrics where more is better


def runs(paths: Iterable[Path]) -> tuple[list[Run], list[str]]:
    """The runs in these files, and what is left out, a sentence each: variants of workloads that are no gates, and
    files that lie elsewhere. A study is a seed and a trial a setting, as a study is a whole search; `valid` is the
    metric of the target, or its distance from the most that it can be."""
    found, gates = list[Run](), list[Run]()
    variants, stray = set[str](), list[Path]()
    gated = {variant: (TARGETS[base][0], target) for base, (variant, target) in GATES.items()}
    targets = TARGETS | gated
    for path in paths:
        submission, study, workload, trial = ["", "", "", "", *path.absolute().parts][-5:-1]
        task = re.sub(r"_(jax|pytorch)$", "", workload)
        if not study.startswith("study") or not trial.startswith("trial"):
            stray.append(path)
        elif task not in targets:
            variants.add(name(task))
        elif run := _run(path, task, *targets[task], (name(submission), name(trial), name(study))):
            (gates if task in gated else found).append(run)
    where = "a log of AlgoPerf's lies in SUBMISSION/study_0/WORKLOAD_jax/trial_1"
    if stray and not found:
        raise wrong(stray[0], None, where)
    said = [f"Left out: {len(stray)} of the files, {stray[0]} first; {where}"] if stray else []
    variants |= {r.task for r in gates} - {GATES[base][0] for base in {r.task for r in found} & set(GATES)}
    if variants:
        said.append(f"Left out, since their targets are not the score's: {', '.join(sorted(variants))}")
    for base, (variant, _) in GATES.items():
        shut = _shut([r for r in found if r.task == base], [r for r in gates if r.task == variant])
        found = [replace(r, shut=True) if r.task == base and r.optimizer in shut else r for r in found]
        if shut:
            who = ", ".join(sorted(shut))
            said.append(f"Counted as misses on {base}, since {variant} is missed or has no runs: {who}")
    return found, said


def _shut(runs: Sequence[Run], gates: Sequence[Run]) -> set[str]:
    """Whose median study does not reach the target of the variant within FURTHEST times the fastest who reach both;
    nobody, where the variant has no runs."""
    if not gates:
        return set()
    base, variant = (
        {who: _reached([r for r in of if r.optimizer == who]) for who in {r.optimizer for r in runs}}
        for of in (runs, gates)
    )
    both = [at for who, at in variant.items() if max(at, base[who]) < math.inf]
    latest = FURTHEST * min(both, default=0.0)
    return {who for who, at in variant.items() if base[who] < math.inf and at > latest}


def _reached(runs: Sequence[Run]) -> float:
    """When the median study does: infinite where it does not."""
    studies: dict[str, float] = {}
    for r in runs:
        at = next((t for t, x in zip(r.seconds, r.valid, strict=True) if x <= (r.target or 0)), math.inf)
        studies[r.seed] = min(at, studies.get(r.seed, math.inf))
    return median(studies.values()) if studies else math.inf


def _run(path: Path, workload: str, metric: str, target: float, who: tuple[str, str, str]) -> Run | None:
    """Evaluations that gave the metric; None where there is none."""
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
