"""`ravine simulate`: parallel training on a cluster that exists on paper, method beside method on one clock."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ravine.cli.answer import Mistake, Parser, Whole, answer, drawable, write
from ravine.parallel.simulate.cluster import Cluster, Failures, Network
from ravine.parallel.simulate.distributions import distribution
from ravine.parallel.simulate.families import FAMILIES, family
from ravine.parallel.simulate.problems import Problem, Quadratic, SparseLogistic, digits
from ravine.parallel.simulate.run import Run
from ravine.parallel.simulate.simulator import simulate
from ravine.parallel.simulate.trace import Trace
from ravine.typed import assigned, listed

METHODS = "sync,backup,local-sgd,asgd,ringmaster,easgd,async-diloco"
FIELDS = {  # of --failures: which are distributions
    **dict.fromkeys(("life", "back", "late", "shard_life"), distribution),
    **dict.fromkeys(("day", "swing", "nan", "lose", "resend", "duplicate", "shard_back"), float),
    "snapshot": int,
}
PROBLEMS = ("quadratic", "logistic", "digits")


def main(argv: list[str]) -> int:
    """Runs the command in `argv` and returns its exit status."""
    return answer(lambda: print(command(**vars(_parser().parse_args(argv[1:])))), ValueError, TypeError, OSError)


def _parser() -> argparse.ArgumentParser:
    """What it takes."""
    made = Parser(
        prog="ravine simulate",
        description="Trains in simulated time, with the shards and workers of ravine.parallel: a table, and with -o a "
        "picture of loss against time with workers as lanes.",
        epilog=f"Methods: {', '.join(FAMILIES)}; each may have a step size, asgd:lr=0.3. Times are seconds: a number, "
        "exponential:mean=1, shifted-exponential:shift=1,tail=0.5, pareto:least=1,shape=2, "
        "log-normal:median=1,sigma=0.5, uniform:low=0,high=1 or empirical:FILE:COLUMN.",
    )
    add = made.add_argument
    add("--workers", metavar="N", type=Whole(1, 100_000), default=16, help="how many (default 16)")
    add("--methods", metavar="NAMES", default=METHODS, help=f"with commas (default {METHODS})")
    add("--problem", choices=PROBLEMS, default="quadratic", help="what is trained (default quadratic)")
    add("--lr", metavar="LR", type=float, default=0.5, help="the step size of a mean gradient (default 0.5)")
    add("--compute", metavar="TIME", default="exponential:mean=1", help="of a gradient (default exponential:mean=1)")
    add("--network", metavar="TIME", default="0.1", help="of a message, one way (default 0.1)")
    add("--bandwidth", metavar="BYTES", help="bytes a second of a worker's line, drawn once for each; as TIME")
    add("--pace", metavar="TIMES", help="by what a worker's computing is multiplied, drawn once for each; as TIME")
    add("--failures", metavar="FIELD=VALUE", nargs="+", default=[], help=f"of {', '.join(FIELDS)}")
    add("--trace", metavar="FILE", help="recorded delays, .csv or .jsonl, in the place of --compute and --network")
    add(
        "--internet", action="store_true", help="volunteers' machines: log-normal paces and bandwidths, churn, 1 %% NaN"
    )
    add("--until", metavar="SECONDS", type=float, default=200.0, help="simulated (default 200)")
    add("--seed", metavar="N", type=Whole(0, 2**31), default=0, help="(default 0)")
    add("--seeds", metavar="N", type=Whole(1, 1000), default=1, help="runs of each, from --seed on (default 1)")
    add("--lanes", metavar="N", type=Whole(0, 200), default=8, help="workers in the picture (default 8)")
    add("-o", metavar="FILE", dest="out", type=Path, help="a picture: .svg, .png, .pdf; or .html, without lanes")
    add("--json", metavar="FILE", type=Path, help="all numbers")
    return made


def command(
    workers: int, methods: str, problem: str, lr: float, seed: int, seeds: int, until: float, lanes: int,
    out: Path | None, json: Path | None, **of_cluster: Any,
) -> str:  # fmt: skip
    """What `ravine simulate` prints."""
    if out is not None:
        drawable(out, (".svg", ".png", ".pdf", ".html"))
    cluster = described(workers, **of_cluster)
    named = [family(name, lr, cluster.workers) for name in listed(methods)]
    if not named:
        raise Mistake(f"--methods: name one at least, of {', '.join(FAMILIES)}")
    trained = problem_of(problem)
    runs = [
        [simulate(trained, method, cluster, seed + k, until=until, lanes=lanes) for k in range(seeds)]
        for method in named
    ]
    told = [table(runs)]
    first = [xs[0] for xs in runs]
    if out is not None:
        picture(first, out, f"{problem}, {cluster.workers} workers")
        told.append(f"written to {out}")
    if json is not None:
        write(json, as_json([run for xs in runs for run in xs]))
        told.append(f"written to {json}")
    return "\n\n".join(told)


def described(
    workers: int, compute: str, network: str, bandwidth: str | None, pace: str | None, failures: Sequence[str],
    trace: str | None, internet: bool,
) -> Cluster:  # fmt: skip
    """The cluster that the options describe."""
    if trace is not None:
        cluster = Cluster.from_trace(Trace.read(trace), workers)
    elif internet:
        cluster = Cluster.internet(workers)
    else:
        wires = Network(distribution(network), None if bandwidth is None else distribution(bandwidth))
        cluster = Cluster(workers, distribution(compute), wires)
    if pace is not None:
        cluster = cluster.but(pace=distribution(pace))
    if failures:
        fields = dict[str, Any]()
        for text in failures:
            name, value = assigned(text, "life=exponential:mean=100")
            name = name.replace("-", "_")
            if name not in FIELDS:
                raise Mistake(f"--failures {text}: it has no '{name}'; it has {', '.join(FIELDS)}")
            try:
                fields[name] = FIELDS[name](text.partition("=")[2]) if FIELDS[name] is distribution else value
            except ValueError as error:
                raise Mistake(f"--failures {text}: {error}") from None
        cluster = cluster.but(failures=Failures(**fields))
    return cluster


def problem_of(name: str) -> Problem:
    """What is trained."""
    return {"quadratic": lambda: Quadratic(100, noise=0.05), "logistic": SparseLogistic, "digits": digits}[name]()


def table(runs: Sequence[Sequence[Run]]) -> str:
    """A line for each method; losses as mean ± half of the range where there are several seeds."""
    heads = ("method", "loss", "updates", "gradients", "staleness", "computing", "refused", "lost", "deaths", "MB")
    rows: list[tuple[str, ...]] = [heads]
    for xs in runs:
        losses = [x.loss for x in xs]
        mean, half = sum(losses) / len(losses), (max(losses) - min(losses)) / 2
        n, first = len(xs), xs[0]
        each = [sum(getattr(x, k) for x in xs) / n for k in ("version", "events", "refused", "died", "deaths")]
        busy = first.share("computes") if first.lanes else float("nan")
        rows.append((
            first.name, f"{mean:.4g}" + (f" ± {half:.2g}" if n > 1 else ""), *(f"{x:,.0f}" for x in each[:2]),
            f"{sum(x.mean_staleness for x in xs) / n:.3g}", f"{busy:.0%}", *(f"{x:,.0f}" for x in each[2:]),
            f"{sum(x.sent + x.received for x in xs) / n / 1e6:.3g}",
        ))  # fmt: skip
    widths = [max(len(row[i]) for row in rows) for i in range(len(heads))]
    lines = ("  ".join(f"{x:{'<' if not i else '>'}{w}}" for i, (x, w) in enumerate(zip(row, widths, strict=True)))
             for row in rows)  # fmt: skip
    return "\n".join(line.rstrip() for line in lines)


def picture(runs: Sequence[Run], out: Path, title: str) -> None:
    """Write the picture."""
    try:
        from ravine.parallel.simulate.picture import chart, draw

        if out.suffix == ".html":
            from ravine.visuals import page

            write(out, page(chart(runs), title))
        else:
            draw(runs, out, title)
    except ModuleNotFoundError as error:
        missing = str(error.name).partition(".")[0]
        raise Mistake(f'{out} needs {missing}: pip install ".[lab]" in ravine\'s folder') from error


def as_json(runs: Sequence[Run]) -> str:
    """All numbers of all runs."""
    scalars = ("name", "workers", "seed", "seconds", "times", "versions", "losses", "divergence", "events", "accepted",
               "acknowledged", "refused", "duplicates", "fenced", "lost", "died", "deaths", "shard_deaths", "sent",
               "received", "lanes")  # fmt: skip
    made = [
        {k: getattr(run, k) for k in scalars}
        | {"staleness": {str(k): n for k, n in sorted(run.staleness.items())}, "reasons": dict(run.reasons)}
        for run in runs
    ]
    return json.dumps(finite(made), indent=1) + "\n"


def finite(x: Any) -> Any:
    """Numbers for JSON, which has no NaN and no infinity: null instead."""
    if isinstance(x, float):
        return x if abs(x) < float("inf") else None
    if isinstance(x, dict):
        return {k: finite(v) for k, v in x.items()}
    return [finite(v) for v in x] if isinstance(x, list | tuple) else x
