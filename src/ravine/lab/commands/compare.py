"""The arguments of `ravine compare`; every mistake in them is one line on stderr and exit status 2."""

import argparse
import shlex
from pathlib import Path
from typing import Any

from ravine.cli.answer import Parser, Whole
from ravine.cli.numbers import whole
from ravine.typed import listed

from ..errors import LabError
from ..protocol.curriculum import CURRICULA
from ..protocol.passes import PRECISIONS
from ..protocol.quantity import BY
from ..protocol.resume import found, settings_of
from ..protocol.search import DEFAULT
from ..protocol.settings import PRESETS, RANGES, Settings, examples
from ..protocol.study import TIERS
from ..report.export import FORMATS
from ..sweep.sweep import ENGINES
from ..tasks import TASKS
from ..trackers import TRACKERS
from . import NAMED, answer, logs, of_space
from .comparison import compare, rewrite


def main(argv: list[str]) -> int:
    """Runs the command in `argv` and returns its exit status."""
    return answer(lambda: _run(argv))


def tasks(text: str) -> tuple[str, ...]:
    """Names with commas; none at all is a mistake, and not the default."""
    if not (found := listed(text)):
        raise argparse.ArgumentTypeError(f"{text!r} names no task")
    return found


def _run(argv: list[str]) -> None:
    """A comparison, one that is gone on with, or the report of one."""
    parser = _parser()
    asked = vars(parser.parse_args(argv[1:]))
    resume, earlier, trust = asked.pop("resume"), asked.pop("report"), asked.pop("trust")
    foreign, families, every = asked.pop("logs"), asked.pop("parallel"), asked.pop("sync_every")
    serve = asked.pop("serve")
    now = {name: value for name, value in asked.items() if value != parser.get_default(name)}
    other = "parallel" if families else "report" if earlier is not None else "from" if foreign is not None else ""
    if serve is not None and other:
        raise LabError(f"--serve has no use with --{other}: it shows trials as they end")
    if trust and resume is None:
        raise LabError("--trust goes with --resume")
    if families:
        _parallel(families, every, now)
        return
    if every is not None:
        raise LabError("--sync-every goes with --parallel")
    if foreign is not None:
        for name in sorted(now.keys() - {"out"}):
            raise LabError(f"--from judges runs that were made already: leave out --{name.replace('_', '-')}")
        logs.compare(foreign, now.get("out"))
    elif resume is not None:
        _only(now, f"--resume {resume}", {"tasks", "optimizers", "data", "workers", "engine", *RESULTS})
        compare(*settings_of(resume, now, trust), serve)
    elif earlier is not None:
        _only(now, f"--report {earlier}", {"out", *RESULTS})
        rewrite(*found(earlier), now.pop("out", earlier), **now)
    else:
        compare(Settings(**asked), "ravine " + shlex.join(argv), serve)


def _sizes(text: str) -> tuple[str, ...]:
    """Batch sizes with commas; none at all is a mistake, and not the default."""
    if not (found := listed(text)):
        raise argparse.ArgumentTypeError(f"{text!r} names no size")
    return found


def _parallel(families: tuple[str, ...], every: int | None, now: dict[str, Any]) -> None:
    """The families of parallel training instead of optimizers."""
    from . import parallel

    may = {"tasks", "data", "optimizers", "epochs", "points", "seeds", "batch", "workers", "out"}
    for name in sorted(now.keys() - may):
        raise LabError(f"--parallel has no use for --{name.replace('_', '-')}; it takes "
                       f"{', '.join(f'--{x}' for x in sorted(may - {'tasks'} | {'task', 'sync-every'}))}")  # fmt: skip
    tasks, optimizers, batch, workers = (now.pop(k, None) for k in ("tasks", "optimizers", "batch", "workers"))
    if len(tasks or ()) > 1 or len(optimizers or ()) > 1:
        raise LabError("--parallel compares families on one --task with one of --optimizers")
    if batch is not None:
        now["batch"] = examples(batch)
    if workers is not None:
        now["workers"] = whole(workers)
    if every is not None:
        now["every"] = every
    now |= {"task": tasks[0]} if tasks else {}
    now |= {"optimizer": optimizers[0]} if optimizers else {}
    parallel.compare(parallel.Settings(families, **now))


RESULTS = ("png", "pdf", "export", "track")


def _only(now: dict[str, Any], option: str, may: set[str]) -> None:
    for name in sorted(now.keys() - may):
        said = "task" if name == "tasks" else name.replace("_", "-")
        raise LabError(f"{option} has the settings of that comparison: leave out --{said}")


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="ravine compare",
        description="Trains a task with each optimizer, searched with as many points for one as for another, runs the "
        "best with new seeds, and writes report.html. Stopped at any moment, the same command goes on where it was.",
    )
    add = parser.add_argument
    add(
        "--task",
        metavar="A,B",
        dest="tasks",
        type=tasks,
        default=(),
        help=f"{', '.join(TASKS)}, or your own as module:name; several make a performance profile, and scores "
        "(default digits)",
    )
    add("--data", metavar="DIR", type=Path, help="the folder of the task's files (default: downloaded)")
    add(
        "--optimizers",
        metavar="A,B",
        type=listed,
        help=f"{NAMED} (default {','.join(DEFAULT)})",
    )
    of_space(parser)
    add("--epochs", metavar="N", type=RANGES["epochs"], help="how long each trial is (default: the task's)")
    add("--points", metavar="N", type=RANGES["points"], help="settings that are tried of each optimizer (default 32)")
    add("--search-seed", metavar="N", type=RANGES["search_seed"], default=0, help="another one tries other settings")
    add(
        "--seeds",
        metavar="N",
        type=RANGES["seeds"],
        help="initial weights and batch orders the best is run with (default 5)",
    )
    add(
        "--tier",
        choices=TIERS,
        default="standard",
        help="smoke: a few seconds, to see that all works; full: for a paper",
    )
    add("--extend", action="store_true", help="search further where the best setting lies at the edge of the space")
    add("--batch", metavar="N", help="examples a step, or full: batch gradient descent (default: the task's)")
    add(
        "--batch-sweep",
        metavar="A,B",
        type=_sizes,
        default=(),
        help="the same at these sizes: steps to target for each",
    )
    add(
        "--preset",
        choices=PRESETS,
        help="classic: SGD, NAdam and RMSprop on fashion-mnist as in the literature; self-tuning: no search, methods "
        "that need no rate (Schedule-Free, Prodigy, D-Adaptation, DoG, MoMo) at their defaults, 1.5 times the epochs",
    )
    add(
        "--parallel",
        metavar="A,B",
        type=listed,
        help="families of parallel training instead, with one optimizer: serial, sync, local-sgd, diloco, downpour, "
        "easgd, async-diloco; loss against time, gradients and bytes",
    )
    add("--sync-every", metavar="H", type=Whole(), help="with --parallel: local steps of a round (default 16)")
    add("--carry-over", action="store_true", help="with classic: each fit goes on from the weights of the last one's")
    add(
        "--evaluations",
        metavar="N",
        type=RANGES["evaluations"],
        help="times that a trial looks at the validation data (default: the task's, else each epoch and at least 20)",
    )
    add(
        "--give-up",
        metavar="SHARE",
        type=float,
        help="end a trial of the search whose validation loss is not below its first after this share of the run",
    )
    add(
        "--schedule",
        metavar="NAME",
        help="what every learning rate is multiplied by over the run: constant, linear, one-cycle … (default cosine)",
    )
    add(
        "--curriculum", choices=CURRICULA, default="none", help="the order of the rows by difficulty, where a task says"
    )
    add(
        "--target",
        metavar="LOSS",
        type=float,
        help="count and test steps to this validation loss, or metric (default: a baseline's)",
    )
    add("--by", choices=BY, default="loss", help="what settings are chosen by and the verdict is about (default loss)")
    add("--out", metavar="DIR", type=Path, help="where records and report go (default runs/TASK)")
    add("--workers", metavar="N", help="processes, one thread each (default: one a core); or devices: cuda:0,cuda:1")
    add("--engine", choices=ENGINES, default="processes", help="ray: workers on a Ray cluster, or a local one")
    add("--precision", choices=PRECISIONS, default="float32", help="of the passes, by torch.autocast (default float32)")
    add("--compile", action="store_true", help="compile the model, by torch.compile")
    earlier = parser.add_mutually_exclusive_group().add_argument
    earlier("--resume", metavar="DIR", type=Path, help="go on with an earlier comparison, as it was asked for")
    earlier(
        "--report",
        metavar="DIR",
        type=Path,
        help="write the report of an earlier comparison again, from its records alone",
    )
    earlier(
        "--from",
        metavar="PATH",
        dest="logs",
        type=Path,
        help="judge runs that were made elsewhere: a CSV (docs/logs.md), AlgoPerf's or DeepOBS's logs; nothing is run; "
        "with --out there is a page of it",
    )
    add("--trust", action="store_true", help="with --resume: import the tasks and optimizers that its records name")
    add("--png", metavar="DIR", type=Path, help="the report's figures as pictures too, one each")
    add("--pdf", metavar="FILE", type=Path, help="the report's figures in one file too, a page each")
    add(
        "--serve",
        metavar="PORT",
        nargs="?",
        const=0,
        type=Whole(0, 65535),
        help="a live page at 127.0.0.1 while it runs, at this port or a free one; it ends with the comparison",
    )
    add("--track", metavar="A,B", type=listed, default=(), help=f"send each result to {', '.join(TRACKERS)} too")
    add(
        "--export",
        choices=FORMATS,
        help="write the verdict, all trials and their curves as tables beside the report, the verdict for LaTeX too",
    )
    return parser
