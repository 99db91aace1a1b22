"""ASGD beside torch's own, which keeps η in the default type: float64 here while it steps."""

import torch
from trajectory import Case

HYPER = {"lr": 0.05, "lambd": 0.1, "alpha": 0.6, "t0": 7.0, "weight_decay": 0.1}
TORCH = f"torch {torch.__version__.split('+')[0]}"


class Theirs(torch.optim.ASGD):
    """With its average put into the model by eval(), which torch leaves to the user."""

    def eval(self):
        self.held = [p.detach().clone() for p in self.param_groups[0]["params"]]
        for p in self.param_groups[0]["params"]:
            p.data.copy_(self.state[p]["ax"])

    def train(self):
        for p, held in zip(self.param_groups[0]["params"], self.held, strict=True):
            p.data.copy_(held)


def wide(opt, _):
    torch.set_default_dtype(torch.float64)
    try:
        opt.step()
    finally:
        torch.set_default_dtype(torch.float32)


CASES = [Case("ASGD", TORCH, HYPER, lambda params: Theirs(params, **HYPER), step=wide, evaluate=True)]
