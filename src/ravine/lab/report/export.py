"""What a comparison found as tables: all trials of its folder, one row each, their curves in long form, the verdict."""

import csv
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from ravine.cli.answer import replacing
from ravine.optim import registry

from ..errors import LabError, extra
from ..protocol.outcome import Outcome
from ..protocol.spaces import default_lr
from ..protocol.study import SELECTION, Hyper
from ..protocol.trial import Result, Trial
from .verdict_table import latex, verdict

FORMATS = ("csv", "parquet")
Row = dict[str, Any]


def export(
    known: Iterable[tuple[Trial, Result]], metric: str | None, folder: Path, form: str, usual: Mapping[str, Any]
) -> tuple[Path, Path]:
    """Writes trials.csv and curves.csv, or .parquet, and returns where. `usual` is what each optimizer
    is built with when nothing is tuned, by its name."""
    pairs = list(known)
    tables = {
        "trials": [row(trial, result, metric, usual) for trial, result in pairs],
        "curves": [point for trial, result in pairs for point in curve(trial, result, metric)],
    }
    first, second = (_table(rows, folder / f"{name}.{form}") for name, rows in tables.items())
    return first, second


def export_verdict(outcome: Outcome, folder: Path, form: str) -> None:
    """Writes verdict.csv, or .parquet, and the same for a paper: verdict.tex."""
    _table(verdict(outcome), folder / f"verdict.{form}")
    _whole(folder / "verdict.tex", lambda part: part.write_text(latex(outcome), encoding="utf-8"))


def _table(rows: Sequence[Row], path: Path) -> Path:
    return _whole(path, partial(_csv if path.suffix == ".csv" else _parquet, rows))


def _whole(path: Path, write: Callable[[Path], object]) -> Path:
    try:
        with replacing(path) as part:
            write(part)
    except OSError as error:
        raise LabError(f"--export: {path} cannot be written: {error.strerror}") from error
    return path


def ready(form: str) -> None:
    """Raises LabError where the format needs a package that is missing: before any training."""
    if form == "parquet":
        with extra("parquet", "--export parquet"):
            import pyarrow.parquet  # noqa: F401


def row(trial: Trial, result: Result, metric: str | None, usual: Mapping[str, Any]) -> Row:
    """A trial: what it was, its hyperparameters, what came out. What diverged has no final loss."""
    done = result.diverged_at is None
    about = {name: x for name, x in asdict(trial).items() if name != "hyper"}
    return {
        "key": trial.key,
        **about,
        "stage": stage(trial, usual),
        **columns(trial.hyper),
        "final": result.valid[-1] if done else None,
        **({f"final_{metric}": result.metric[-1] if done else None} if metric else {}),
        "test": result.test,
        **({f"test_{metric}": result.test_metric} if metric else {}),
        "diverged_at": result.diverged_at,
        "seconds": result.seconds,
    }


def curve(trial: Trial, result: Result, metric: str | None) -> list[Row]:
    """The evaluations of a trial. Training loss is the mean of the batches since the one before."""
    return [
        {"key": trial.key, "step": step, "train": train, "valid": valid, **({metric: value} if metric else {})}
        for step, train, valid, value in zip(result.step, result.train, result.valid, result.metric, strict=True)
    ]


def stage(trial: Trial, usual: Mapping[str, Any]) -> str:
    """Of a comparison: search, when settings are chosen; defaults; confirm, with the seeds that are reported. What a
    trial names is not imported to find out."""
    if trial.seed >= SELECTION:
        return "search"
    ours = registry().get(trial.optimizer)
    there = usual.get(trial.optimizer) or (ours and (("lr", default_lr(ours)),))
    return "defaults" if trial.hyper == there else "confirm"


def columns(hyper: Hyper) -> dict[str, Any]:
    """Hyperparameters, a column each: betas are beta1 and beta2."""
    out: dict[str, Any] = {}
    for name, x in hyper:
        if isinstance(x, tuple | list):
            out |= {f"{name.removesuffix('s')}{i + 1}": part for i, part in enumerate(x)}
        else:
            out[name] = x
    return out


def _named(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Every column, hyperparameters that only some have beside the others."""
    out: list[str] = []
    for one in rows:
        place = 0
        for name in one:
            if name not in out:
                out.insert(place, name)
            place = out.index(name) + 1
    return out


def _csv(rows: Sequence[Row], path: Path) -> None:
    """Numbers as Python writes them, which is exact; nothing where there is none."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, _named(rows))
        writer.writeheader()
        writer.writerows(rows)


def _parquet(rows: Sequence[Row], path: Path) -> None:
    import pyarrow
    import pyarrow.parquet

    table = {name: [one.get(name) for one in rows] for name in _named(rows)}
    pyarrow.parquet.write_table(pyarrow.table(table), path)
