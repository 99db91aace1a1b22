"""What do sums in float64 cost? The passes that sum, of this source against those of another checkout, in turns.

    python benchmarks/sums.py --old ../before/src       the folder of the package `ravine` before

Each source runs in a process of its own, which waits for its turn; a round is one turn of each, and the medians of
the rounds are compared. The old source runs twice: how far `again` is from `before` is what the measurement cannot
tell. The processes are started anew for each of three passes, in another order: where the memory of a process lies
counts too. It is the time of the processor on one thread that is measured, which others on the machine disturb least.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
from pathlib import Path

SRC = Path(__file__).parents[1] / "src"
MODELS = {"gpt2-124m": 1, "mlp": 50, "tiny": 200}  # and how many steps a turn has
CASES = {
    "clip + adamw, measured": "ravine.AdamW(params, mods=[ClipNorm(1.0)], measured=True)",
    "clip + adamw": "ravine.AdamW(params, mods=[ClipNorm(1.0)])",
    "lamb": "ravine.LAMB(params, weight_decay=0.01)",
    "lars": "ravine.LARS(params, weight_decay=1e-4)",
    "adafactor": "ravine.Adafactor(params)",
    "agc + sgd": "ravine.SGD(params, momentum=0.9, mods=[AGC()])",
    "adamw int8, measured": 'ravine.AdamW(params, storage="int8", measured=True)',
}
# What each process does: a step of the case for every line that it is sent, and the seconds that it took.
CHILD = """
import sys, time, torch
sys.path.insert(0, {here!r})
import ravine
from ravine.mods import AGC, ClipNorm
from bench import Bench
assert ravine.__file__.startswith({src!r}), ravine.__file__
params = Bench({model!r}).params
opt = {case}
for _ in range(3):
    opt.step()
print("ready", flush=True)
for _ in sys.stdin:
    start = time.process_time()
    for _ in range({inner}):
        opt.step()
    print((time.process_time() - start) / {inner}, flush=True)
"""


def passes(sources: dict[str, Path], model: str, case: str, rounds: int) -> dict[str, list[float]]:
    """Seconds of a step by each source, in as many passes as there are sources."""
    times: dict[str, list[float]] = {name: [] for name in sources}
    for i in range(len(sources)):
        order = [*list(sources)[i:], *list(sources)[:i]]
        for name, found in turns({name: sources[name] for name in order}, model, case, rounds).items():
            times[name] += found
    return times


def turns(sources: dict[str, Path], model: str, case: str, rounds: int) -> dict[str, list[float]]:
    """The same in one pass, round after round."""
    here = str(Path(__file__).parent)
    children: dict[str, subprocess.Popen[str]] = {}
    for name, src in sources.items():
        code = CHILD.format(here=here, src=str(src), model=model, case=CASES[case], inner=MODELS[model])
        env = os.environ | {"PYTHONPATH": str(src), "OMP_NUM_THREADS": "1"}
        child = subprocess.Popen(
            [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env
        )
        children[name] = child
        answer(child)
    times: dict[str, list[float]] = {name: [] for name in sources}
    for i in range(rounds):
        for name in list(children)[:: -1 if i % 2 else 1]:
            print("go", file=children[name].stdin, flush=True)
            times[name].append(float(answer(children[name])))
    for child in children.values():
        child.communicate()
    return times


def answer(child: subprocess.Popen[str]) -> str:
    """The next line that a process writes."""
    assert child.stdout is not None
    return child.stdout.readline()


def main() -> None:
    from bench import RESULTS, Record, arguments

    parser = arguments(__doc__, "", rounds=7)
    parser.add_argument("--old", type=Path, required=True)
    parser.add_argument("--only", nargs="+", choices=CASES, default=list(CASES))
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.set_defaults(out=RESULTS / "sums-cpu.json")
    args = parser.parse_args()
    record = Record()
    for model in args.models:
        for case in args.only:
            old = args.old.resolve()
            times = passes({"before": old, "now": SRC.resolve(), "again": old}, model, case, args.rounds)
            s = {name: statistics.median(t) for name, t in times.items()}
            ratios = {f"{name}/before": s[name] / s["before"] for name in ("now", "again")}
            record.say(case, model, s, ratios, "told, without an aim")
    record.write(args.out)


if __name__ == "__main__":
    main()
