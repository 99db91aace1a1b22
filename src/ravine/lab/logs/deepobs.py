"""DeepOBS's JSON, one file a run: also the results of Descending through a Crowded Valley.

Schmidt et al. 2021    https://arxiv.org/abs/2007.01547    https://github.com/SirRob1997/Crowded-Valley---Results
"""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ..protocol.evaluation import bounded
from .run import Run, contents, name, wrong


def runs(paths: Iterable[Path], root: Path) -> list[Run]:
    """The runs in these files, evaluated once an epoch. A task is a test problem, with the folders above it (budget and
    schedule in Crowded Valley); of runs that are alike in all but their date the last stays."""
    found = [_run(path, root) for path in paths]
    return list({(r.task, r.optimizer, r.setting, r.seed): r for r in found}.values())


def _run(path: Path, root: Path) -> Run:
    try:
        read: Any = json.loads(contents(path), parse_int=lambda digits: (int if len(digits) < 20 else float)(digits))
    except (ValueError, RecursionError) as error:
        raise wrong(path, getattr(error, "lineno", None), f"this is no JSON: {error}") from error
    for field, kind, said in (("testproblem", str, "text"), ("optimizer_name", str, "text"),
                             ("optimizer_hyperparams", dict, "an object"), ("random_seed", int, "a number"),
                             ("valid_losses", list, "a list of numbers")):  # fmt: skip
        if not isinstance(read, dict) or not isinstance(read.get(field), kind):  # pyright: ignore[reportUnknownMemberType]
            raise wrong(path, None, f"a run of DeepOBS has {field}, {said}")
    fields: dict[str, Any] = read
    valid, tested = _losses(fields["valid_losses"], path), _losses(fields.get("test_losses") or [], path)
    if not valid:
        raise wrong(path, None, "valid_losses is empty")
    above = path.relative_to(root).parts
    problem = fields["testproblem"]
    task = "/".join((*above[: above.index(problem)], problem)) if problem in above else problem
    setting = json.dumps(fields["optimizer_hyperparams"], sort_keys=True)
    steps = tuple(float(epoch) for epoch in range(len(valid)))
    return Run(name(task), name(fields["optimizer_name"]), setting, str(fields["random_seed"]), steps, tuple(valid),
               test=tested[-1] if tested else None)  # fmt: skip


def _losses(values: Any, path: Path) -> list[float]:
    numbers: list[Any] = values if isinstance(values, list) else [None]
    if not all(isinstance(x, int | float) and not isinstance(x, bool) for x in numbers):
        raise wrong(path, None, "valid_losses and test_losses must be lists of numbers")
    return [bounded(float(x)) for x in numbers]
