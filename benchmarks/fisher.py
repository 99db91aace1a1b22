"""How far is Adam's v from the diagonal of the Fisher matrix, and one estimate of it from the truth?

    python benchmarks/fisher.py                  a table, on the digits, after 100 to 3,000 steps of Adam

On a network that is small enough for the whole matrix. v̂ is the average square of gradients of batches of B rows, and
B v̂ what it says of one row: the Fisher matrix with the data's targets, and the square of the mean gradient beside it.
`off` is the median of the factors between an estimate and the truth, and `mostly` is what 90 % of them stay below, once
the median ratio is taken out, since lr makes up for that.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

import ravine
from ravine.instruments import exact_fisher
from ravine.lab.tasks import load_task
from ravine.sources import GaussNewtonBartlett

ROWS, SEEN = 64, (100, 1000, 3000)


def apart(found: Tensor, truth: Tensor) -> str:
    """How they differ, weight by weight."""
    keep = (truth > 1e-9 * truth.max()) & (found > 0)
    logs = (found[keep] / truth[keep]).log()
    off = (logs - logs.median()).abs()
    both = torch.stack([found[keep].log(), truth[keep].log()])
    numbers = (logs.median().exp(), off.median().exp(), off.quantile(0.9).exp(), torch.corrcoef(both)[0, 1])
    return "{:8.2f} {:8.2f} {:8.1f} {:8.2f}".format(*(x.item() for x in numbers))


def main() -> None:
    data = load_task("digits").load()
    x, y = data.x.double(), data.y
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 12), nn.Tanh(), nn.Linear(12, 10)).double()
    params, source = list(model.parameters()), GaussNewtonBartlett(every=1)
    opt = ravine.Adam(params, lr=3e-3)
    _owner = ravine.SophiaG(params, lr=0.0, sources=[source])  # whose parameters the source looks at

    def measured() -> Tensor:
        rows = torch.randint(len(x), (ROWS,))
        source.seed += 1
        source.backward(model(x[rows]))
        found = source.give({"h": params})["h"]
        return torch.cat([found[p].flatten() for p in params])

    print(f"{'steps':>6}  {'':14} {'ratio':>8} {'off':>8} {'mostly':>8} {'corr':>8}")
    for t in range(1, max(SEEN) + 1):
        rows = torch.randint(len(x), (ROWS,))
        opt.zero_grad()
        cross_entropy(model(x[rows]), y[rows]).backward()
        opt.step()
        if t in SEEN:
            truth = exact_fisher(model(x[torch.randperm(len(x))[:400]]), params).diagonal()
            v = torch.cat([opt.state[p]["exp_avg_sq"].flatten() for p in params]) / (1 - 0.999**t)
            each = torch.stack([measured() for _ in range(100)])
            for name, found in {"B v": ROWS * v, "one estimate": each[0], "mean of 100": each.mean(0)}.items():
                print(f"{t:6}  {name:14} {apart(found, truth)}")


if __name__ == "__main__":
    main()
