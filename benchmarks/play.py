"""How long does the playground think when the start is dragged? 8 optimizers x 300 steps, from question to answer.

    python benchmarks/play.py                    a table, and benchmarks/results/play-cpu.json

The time is the server's: the question as bytes of JSON is read, checked, run and packed as it would be for the page, on
one thread. Each question has another start, as a drag has. The aim is 100 ms, at which a hand feels no delay.
"""

from __future__ import annotations

import json
import random

import torch
from bench import Record, arguments, take_turns

from ravine.surfaces import find
from ravine.surfaces.play.server import race

EIGHT = ("sgd", "momentum", "nag", "adagrad", "adadelta", "rmsprop", "adam", "radam")
AIM = 0.1
NAMES = ("beale", "ravine", "rosenbrock", "rastrigin", "ackley", "noisy-quadratic", "own")
OWN = "(x**2 + y - 3)**2 + 2*sin(3*x)"


def question(name: str, chance: random.Random) -> bytes:
    """What the page would send for a start near that of the surface."""
    surface = {"formula": OWN} if name == "own" else {"name": name}
    start = (-3.0, 2.0) if name == "own" else find(name).start
    runs = [{"name": x, "set": {"lr": 0.01}} for x in EIGHT]
    near = [x + chance.uniform(-0.1, 0.1) for x in start]
    return json.dumps({"surface": surface, "start": near, "steps": 300, "seed": 0, "runs": runs}).encode()


def main() -> None:
    args = arguments(__doc__, "play-cpu.json", rounds=21).parse_args()
    torch.set_num_threads(1)
    chance, record = random.Random(0), Record()
    answers = {name: lambda name=name: race(json.loads(question(name, chance))) for name in NAMES}
    for name, seconds in take_turns(answers, args.rounds).items():
        s = {"answer": seconds}
        record.say("drag, 8 x 300", name, s, {"answer/100 ms": seconds / AIM}, {"answer/100 ms": ("at most", 1.0)})
    record.write(args.out)


if __name__ == "__main__":
    main()
