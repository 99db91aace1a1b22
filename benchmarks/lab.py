"""Does the lab cost anything? Its trials against a loop written by hand, two workers against one, and against Keras.

    RAVINE_DATA=FOLDER python benchmarks/lab.py [--keras PYTHON]    eight minutes on 2 cores, and makes
                                                                    benchmarks/results/lab-cpu.json

FOLDER holds fashion-mnist/; without it the files are downloaded. All train the network of the classic preset,
784-300-100-10 on Fashion-MNIST at batch 32, one thread a process. The first two train an epoch of 30,000 images, in
which they evaluate 20 times on 1,000: as many as 2 times an epoch on 10,000, which is what 15 epochs have.

overhead     a trial, from the queue to the records, against the same steps and evaluations written by hand, which take
             turns; to start the worker takes as long as is told, and does not count. CPU seconds of all processes stand
             beside: they say more where other programs run
two workers  the same trials on two workers and on one, which take turns; starting does not count. CPU seconds say how
             much two disturb one another
classic      the whole command `ravine compare --preset classic`, SGD, NAdam and RMSprop of 15 epochs each with two
             workers, against 15 times the epochs of keras_classic.py, one after another: with --keras PYTHON, one that
             has Keras and TensorFlow, before it and after it; else as given (Keras 3.15, tensorflow-cpu 2.21, measured
             on this kind of machine and not in this run)
standard     the whole command `ravine compare`: the standard tier of eight optimizers on digits with two workers; aim:
             under ten minutes
"""

from __future__ import annotations

import json
import multiprocessing
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from bench import Record, arguments
from torch import nn

from ravine.lab.protocol.records import Records
from ravine.lab.protocol.search import optimizer_class
from ravine.lab.protocol.trial import Trial, evaluation_steps
from ravine.lab.sweep.sweep import sweep
from ravine.lab.sweep.worker import Job
from ravine.lab.tasks import Data, load_task

TASK = "fashion-mnist-classic"
KERAS = {"SGD": 5.2, "NAdam": 8.9, "RMSprop": 5.6}  # seconds per epoch
EPOCHS = 15


class Crew:
    """A sweep that goes on for as long as it is given trials, and writes them to records as the command does."""

    def __init__(self, data: Data, workers: int, folder: Path):
        self.queue: deque[Job] = deque()
        self.records = Records(folder)
        self.sweep: Iterator[Any] | None = None
        self.data, self.workers, self.seed = data, workers, 0

    def run(self, optimizer: str, n: int) -> float:
        """The seconds that `n` new trials of an epoch take."""
        start = time.perf_counter()
        for _ in range(n):
            self.seed += 1
            self.queue.append((Trial(TASK, optimizer, (("lr", 0.01),), self.seed, epochs=1, batch=32, content=""),))
        if self.sweep is None:
            self.sweep = sweep(self.queue, TASK, None, self.data, self.workers, self.records)
        done = 0
        while done < n:
            kind, trial, result = next(self.sweep)
            if kind == "failed":
                raise RuntimeError(f"{trial.optimizer}: {result}")
            if kind == "result":
                self.records.add(trial, result)
                done += 1
        return time.perf_counter() - start


def cpu_seconds() -> float:
    """Of this process and of its workers, as Linux counts them."""
    workers = multiprocessing.active_children()
    stats = [Path(f"/proc/{w.pid}/stat").read_text().rsplit(")", 1)[1].split() for w in workers]
    return time.process_time() + sum(int(s[11]) + int(s[12]) for s in stats) / os.sysconf("SC_CLK_TCK")


def by_hand(optimizer: type, data: Data, seed: int) -> float:
    """The seconds of the same epoch, with the same evaluations, as one would write it."""
    start = time.perf_counter()
    torch.manual_seed(seed)
    model = nn.Sequential(
        nn.Linear(784, 300), nn.ReLU(), nn.Linear(300, 100), nn.ReLU(), nn.Linear(100, 10)
    )  # fmt: skip
    opt = optimizer(model.parameters(), lr=0.01)
    loss_of = nn.functional.cross_entropy
    curve: list[tuple[float, float, float]] = []

    def evaluate(train: float) -> None:
        loss = right = 0.0
        with torch.no_grad():
            for x, y in zip(data.x_valid.split(1000), data.y_valid.split(1000), strict=True):
                output = model(x)
                loss += len(x) * loss_of(output, y).item()
                right += (output.argmax(1) == y).sum().item()
        curve.append((train, loss / len(data.x_valid), right / len(data.x_valid)))

    marks = evaluation_steps(1, -(-len(data.x) // 32))
    evaluate(0.0)
    total = 0.0
    for step, rows in enumerate(torch.randperm(len(data.x)).split(32), 1):
        loss = loss_of(model(data.x[rows]), data.y[rows])
        opt.zero_grad()
        loss.backward()
        opt.step()
        total += loss.item()
        if step in marks:
            evaluate(total / step)
    return time.perf_counter() - start


def overhead(record: Record, data: Data, rounds: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        crew = Crew(data, 1, Path(folder))
        first = crew.run("sgd", 1)
        turns = {
            "lab": lambda seed: crew.run("sgd", 1),
            "by hand": lambda seed: by_hand(optimizer_class("sgd"), data, seed),
            "by hand, torch.optim.SGD": lambda seed: by_hand(torch.optim.SGD, data, seed),
        }
        times = {name: [] for name in turns}
        cpu = dict.fromkeys(turns, 0.0)
        for seed in range(rounds):
            for name, turn in turns.items():
                before = cpu_seconds()
                times[name].append(turn(seed))
                cpu[name] += cpu_seconds() - before
    seconds = {name: statistics.median(t) for name, t in times.items()}
    ratios = {"lab/by hand": statistics.median(a / b for a, b in zip(times["lab"], times["by hand"], strict=True)),
              "CPU lab/by hand": cpu["lab"] / cpu["by hand"]}  # fmt: skip
    record.say("overhead", "mlp", seconds, ratios, dict.fromkeys(ratios, ("at most", 1.05)), rounds=rounds,
               start=round(first - seconds["lab"], 2), steps=-(-len(data.x) // 32))  # fmt: skip


def two_workers(record: Record, data: Data, rounds: int, trials: int = 4) -> None:
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as two:
        crews = {"one": Crew(data, 1, Path(one)), "two": Crew(data, 2, Path(two))}
        for crew in crews.values():
            crew.run("sgd", trials)  # all are there then
        times = {name: [] for name in crews}
        cpu = dict.fromkeys(crews, 0.0)
        for _ in range(rounds):
            for name, crew in crews.items():
                before = cpu_seconds()
                times[name].append(crew.run("sgd", trials))
                cpu[name] += cpu_seconds() - before
    seconds = {name: statistics.median(t) for name, t in times.items()}
    ratios = {"two/one": statistics.median(a / b for a, b in zip(times["two"], times["one"], strict=True)),
              "CPU two/one": cpu["two"] / cpu["one"]}  # fmt: skip
    record.say("two workers", "mlp", seconds, ratios, {"two/one": ("at most", 0.56)}, rounds=rounds, trials=trials)


def command(*arguments: str) -> float:
    """The seconds that `ravine compare` takes with two workers."""
    code = "import sys; from ravine.cli import main; sys.exit(main())"
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        subprocess.run([sys.executable, "-c", code, "compare", *arguments, "--workers", "2", "--out", folder],
                       check=True, stdout=subprocess.DEVNULL)  # fmt: skip
        return time.perf_counter() - start


def classic(record: Record, python: str | None) -> None:
    before = keras(python)
    whole = command("--preset", "classic", "--seeds", "1", "--epochs", str(EPOCHS))
    theirs = EPOCHS * (before + keras(python)) / 2
    record.say("classic", "mlp", {"lab": whole, "Keras": theirs}, {"lab/Keras": whole / theirs},
               {"lab/Keras": ("at most", 0.2)}, epochs=EPOCHS, keras="measured" if python else "as given")  # fmt: skip


def keras(python: str | None) -> float:
    """The seconds of an epoch of each of the three."""
    if python is None:
        return sum(KERAS.values())
    script = Path(__file__).with_name("keras_classic.py")
    free = {k: v for k, v in os.environ.items() if not k.endswith("_NUM_THREADS") and k != "PYTHONPATH"}
    done = subprocess.run([python, str(script)], check=True, capture_output=True, text=True, env=free)
    seconds = json.loads(done.stdout.splitlines()[-1])
    print("Keras, seconds per epoch:", seconds)
    return sum(seconds.values())


def standard(record: Record) -> None:
    seconds = {"lab": command(), "ten minutes": 600.0}
    record.say(
        "standard", "digits", seconds, {"lab/ten minutes": seconds["lab"] / 600}, {"lab/ten minutes": ("at most", 1)}
    )


def main() -> None:
    parser = arguments(__doc__, "lab-cpu.json", rounds=7)
    questions = ("overhead", "two", "classic", "standard")
    parser.add_argument("--only", nargs="+", choices=questions, default=questions)
    parser.add_argument("--keras", metavar="PYTHON", help="an interpreter that has Keras and TensorFlow")
    args = parser.parse_args()
    torch.set_num_threads(1)
    data = load_task(TASK).load()
    some = Data(
        data.x[:30_000].clone(), data.y[:30_000].clone(), data.x_valid[:1000].clone(), data.y_valid[:1000].clone()
    )
    record = Record()
    if "overhead" in args.only:
        overhead(record, some, args.rounds)
    if "two" in args.only:
        two_workers(record, some, args.rounds)
    if "classic" in args.only:
        classic(record, args.keras)
    if "standard" in args.only:
        standard(record)
    record.write(args.out)


if __name__ == "__main__":
    main()
