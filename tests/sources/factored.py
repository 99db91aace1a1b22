"""Small models whose Kronecker factors are recorded, of numbers that any program can make again."""

import math
from collections import OrderedDict

import torch
from torch import nn

LOSSES = {"cross_entropy": nn.CrossEntropyLoss, "mse": nn.MSELoss, "bce": nn.BCEWithLogitsLoss}
PROBLEMS = {  # name: (layers, shape of x, loss)
    "mlp": (lambda: [nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 3)], (5, 3), "cross_entropy"),
    "regression": (lambda: [nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2, bias=False)], (5, 3), "mse"),
    "bits": (lambda: [nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)], (5, 3), "bce"),
    "convolution": (
        lambda: [
            *(nn.Conv2d(2, 3, 3, stride=2, padding=1), nn.Tanh()),
            *(nn.Conv2d(3, 2, 2, dilation=2, bias=False), nn.Tanh()),
            *(nn.Flatten(), nn.Linear(8, 3)),
        ],
        (4, 2, 7, 7),
        "cross_entropy",
    ),
    "tokens": (lambda: [nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 3)], (4, 5, 3), "cross_entropy"),
}
SETTINGS = [
    *((name, fisher, form) for name in PROBLEMS for fisher in ("exact", "empirical") for form in ("expand", "reduce")),
]


def wave(shape, frequency, height=0.9):
    """Numbers between −height and height."""
    i = torch.arange(1, math.prod(shape) + 1, dtype=torch.float64)
    return (height * torch.sin(frequency * i)).reshape(shape)


def problem(name):
    """(model, x, y, loss) in float64; outputs are (…, classes)."""
    layers, shape, loss = PROBLEMS[name]
    model = nn.Sequential(OrderedDict((f"layer{i}", x) for i, x in enumerate(layers()))).double()
    with torch.no_grad():
        for i, p in enumerate(model.parameters()):
            p.copy_(wave(p.shape, 0.7 + 0.37 * i))
    x = wave(shape, 1.3)
    out = model(x)
    if loss == "cross_entropy":
        y = torch.arange(out[..., 0].numel()).reshape(out.shape[:-1]) % out.shape[-1]
    else:
        y = (wave(out.shape, 2.1) > 0).double() if loss == "bce" else wave(out.shape, 2.1)
    return model, x, y, loss


def theirs(name, fisher, form):
    """What curvlinops makes of it: {layer: (A, G, second moments in the eigenbasis, or None)}; a bias is in them."""
    from curvlinops import EKFACLinearOperator, KFACLinearOperator

    model, x, y, loss = problem(name)
    several = name == "tokens"
    net = nn.Sequential(model, Turned()) if several else model  # classes are the second dimension there
    made = {}
    for cls in (KFACLinearOperator,) if several else (KFACLinearOperator, EKFACLinearOperator):
        op = cls(
            net,
            LOSSES[loss](),
            list(model.parameters()),
            [(x, y)],
            fisher_type={"exact": "type-2", "empirical": "empirical"}[fisher],
            kfac_approx=form,
            separate_weight_and_bias=False,
            check_deterministic=False,
        )
        if cls is KFACLinearOperator:
            op.compute_kronecker_factors()
            for k, a in op._input_covariances.items():
                made[k.removeprefix("0.") if several else k] = [a, op._gradient_covariances[k], None]
        else:
            op @ torch.zeros(op.shape[1], dtype=torch.float64)
            for k, v in op._corrected_eigenvalues.items():
                made[k][2] = v if isinstance(v, torch.Tensor) else next(iter(v.values()))
    return made


class Turned(nn.Module):
    """(n, k, classes) as (n, classes, k)."""

    def forward(self, x):
        return x.mT
