"""What does ravine.Monitor cost?

    python benchmarks/monitor.py                 a table, and benchmarks/results/monitor-cpu.json

Whole training steps, with forward and backward, on random data: with the monitor at its every=10 and without it, two
equal models in turns in one run. A turn is fifty steps, five of which are samples and one of these with histograms;
times are of one step. With AdamW of ravine the norms come from its own pass; with torch's they are computed apart. The
models are small, since what the monitor costs is mostly Python, and the same for large ones.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from bench import Record, arguments, take_turns
from torch import Tensor, nn

import ravine

STEPS = 50
Data = tuple[Tensor, Tensor]


class Block(nn.Module):
    """Of a transformer before whose parts stands a norm."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.before_look, self.before_think = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query_key_value, self.together = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.think = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.query_key_value(self.before_look(x)).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        seen = nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.together(seen.transpose(1, 2).flatten(2))
        return x + self.think(self.before_think(x))


class Classes(nn.Module):
    """Classes in the second dimension, where cross_entropy has them."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mT


def mlp(batch: int) -> tuple[nn.Module, Data]:
    """The network of ravine compare's fashion-mnist."""
    net = nn.Sequential(nn.Linear(784, 300), nn.ReLU(), nn.Linear(300, 100), nn.ReLU(), nn.Linear(100, 10))
    return net, (torch.rand(batch, 784), torch.randint(10, (batch,)))


def cnn() -> tuple[nn.Module, Data]:
    """Six convolutions with batch norms, 8 images."""
    layers: list[nn.Module] = []
    for a, b, stride in [(3, 16, 1), (16, 32, 2), (32, 32, 1), (32, 64, 2), (64, 64, 1), (64, 128, 2)]:
        layers += [nn.Conv2d(a, b, 3, stride, 1, bias=False), nn.BatchNorm2d(b), nn.ReLU()]
    net = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(128, 10))
    return net, (torch.rand(8, 3, 32, 32), torch.randint(10, (8,)))


def gpt(width: int = 128, blocks: int = 4, vocabulary: int = 2048) -> tuple[nn.Module, Data]:
    """A transformer of 1.3M weights in 53 tensors, 4 rows of 64 tokens."""
    layers = [Block(width, 4) for _ in range(blocks)]
    net = nn.Sequential(
        nn.Embedding(vocabulary, width), *layers, nn.LayerNorm(width), nn.Linear(width, vocabulary), Classes()
    )
    return net, (torch.randint(vocabulary, (4, 64)), torch.randint(vocabulary, (4, 64)))


MODELS: dict[str, Callable[[], tuple[nn.Module, Data]]] = {
    "mlp, batch 32": lambda: mlp(32),
    "mlp, batch 128": lambda: mlp(128),
    "cnn": cnn,
    "transformer": gpt,
}
OPTIMIZERS = {"ravine": ravine.AdamW, "torch": torch.optim.AdamW}


def trainer(model: str, optimizer: str, watched: bool) -> Callable[[], None]:
    """The steps of a turn."""
    torch.manual_seed(0)
    net, (x, y) = MODELS[model]()
    opt = OPTIMIZERS[optimizer](net.parameters(), lr=1e-4)
    monitor = ravine.Monitor(net, opt) if watched else None

    def run() -> None:
        for _ in range(STEPS):
            loss = nn.functional.cross_entropy(net(x), y)
            opt.zero_grad()
            loss.backward()
            opt.step()
            if monitor is not None:
                monitor.step(loss)

    return run


def main() -> None:
    parser = arguments(__doc__, "monitor-cpu.json", rounds=5)
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    args = parser.parse_args()
    record = Record()
    for model in args.models:
        for optimizer in OPTIMIZERS:
            turns = {name: trainer(model, optimizer, name == "monitor") for name in ("plain", "monitor")}
            s = {k: x / STEPS for k, x in take_turns(turns, args.rounds, warm=1).items()}
            aims = {"monitor/plain": ("at most", 1.03)} if optimizer == "ravine" else "told, without an aim"
            record.say(f"AdamW of {optimizer}", model, s, {"monitor/plain": s["monitor"] / s["plain"]}, aims)
    record.write(args.out)


if __name__ == "__main__":
    main()
