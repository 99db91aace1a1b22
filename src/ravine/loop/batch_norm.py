"""Running statistics of batch norm: computed anew for weights that were never trained on, or left alone for a while."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm, _NormBase

from ravine.compile.interpret import wide
from ravine.loop.feed import Forward, moved, run


@contextmanager
def frozen_batch_norm(model: nn.Module) -> Iterator[None]:
    """Within it, batch norm normalizes by the batch as ever but counts it in no running statistics.

        >>> import torch, ravine
        >>> model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4))
        >>> with ravine.strategies.frozen_batch_norm(model):
        ...     out = model(torch.randn(8, 3))
        >>> model[1].running_mean.tolist(), model[1].num_batches_tracked.item()
        ([0.0, 0.0, 0.0, 0.0], 0)

    For passes at weights that will not be evaluated: SAM's second one (`SAM(opt, model=model)` does this by itself), a
    line search, a look at the loss of other weights. Layers in eval mode stay as they are. SyncBatchNorm and
    InstanceNorm with running statistics are held, too.
    """
    held = [x for x in model.modules() if isinstance(x, _NormBase) and x.track_running_stats]
    for layer in held:
        layer.track_running_stats = False  # in training mode no statistics are then handed to the kernel, nor counted
    try:
        yield
    finally:
        for layer in held:
            layer.track_running_stats = True


@torch.no_grad()
def recompute_batch_norm(
    model: nn.Module, loader: Iterable[Any], opt: torch.optim.Optimizer | None = None, *, forward: Forward | None = None
) -> None:
    """Give batch norm the running statistics of the weights that the model holds now, by a pass over the data.

    Running statistics belong to the weights they were collected with. Averaged, slow or otherwise chosen weights (EMA,
    Averaging, Schedule-Free, Lookahead) need their own:

        >>> import torch, ravine
        >>> model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4), torch.nn.Linear(4, 1))
        >>> opt = ravine.SGD(model.parameters(), lr=0.1, mods=[ravine.mods.EMA(0.9)])
        >>> loader = torch.randn(5, 8, 3)
        >>> for x in loader:
        ...     model(x).square().mean().backward()
        ...     opt.step()
        >>> ravine.strategies.recompute_batch_norm(model, loader, opt)  # calls opt.eval(): the average is in the model
        >>> accuracy = model.eval()(torch.randn(2, 3))
        >>> _ = model.train(), opt.train()

    The mean and variance are those of all values together that reach a layer, as if the loader were one large batch:

        n ← Σ nᵢ,  μ ← Σ nᵢ μᵢ / n,  σ² ← Σ ((nᵢ − 1) sᵢ² + nᵢ (μᵢ − μ)²) / (n − 1)

    For layers with no other batch norm before them that is exact, whatever the sizes and the order of batches; behind
    others they depend on the batches as far as those were normalized by them: take batches as large as in training.
    `torch.optim.swa_utils.update_bn` gives each batch the same weight, a short last one too, leaves out that batches
    differ in their means, runs with dropout on, and after an exception leaves the model half changed. Here only batch
    norm is in training mode, since the statistics are for evaluation (Li et al. 2019: dropout moves the variance), and
    whatever is raised, momentum, modes and the old statistics come back.

    model: its modes and momenta are as before afterwards; `num_batches_tracked` counts the batches of this pass. Layers
        that the pass does not reach, or that keep no running statistics, are left as they are.
    loader: some hundred to thousand examples do; not necessarily all. Of a batch (x, …) the model is given x, of a
        mapping all items as keywords; tensors are moved to the model's device.
    opt: its `eval()` is called first, where it has one, and its weights stay in the model: `opt.train()` before going
        on. In training itself the new statistics are not used, and later batches replace them.
    forward: forward(model, batch), where the model wants to be called otherwise.

    Raises ValueError where the loader gives no batch. With SyncBatchNorm each process must be given as many batches as
    the others; with plain BatchNorm, under DDP, each process pools the data that it sees.

    Wu & Johnson 2021, section 3.1    https://arxiv.org/abs/2105.07576
    Izmailov et al. 2018, section 3.2    https://arxiv.org/abs/1803.05407
    Li, Chen, Hu & Yang 2019    https://arxiv.org/abs/1801.05134
    """
    layers = [x for x in model.modules() if isinstance(x, _BatchNorm) and x.running_mean is not None]
    getattr(opt, "eval", lambda: None)()
    if not layers:
        return
    modes = [(module, module.training) for module in model.modules()]
    before = [(layer, layer.momentum, [x.clone() for x in layer.buffers(recurse=False)]) for layer in layers]
    pools: dict[_BatchNorm, Pool] = {}

    def seen(layer: _BatchNorm, args: tuple[Tensor, ...], out: Tensor) -> None:
        n = args[0].numel() // args[0].shape[1]
        if isinstance(layer, nn.SyncBatchNorm) and torch.distributed.is_initialized():
            n *= torch.distributed.get_world_size(layer.process_group)
        pools.setdefault(layer, Pool()).add(layer, n)

    device = next(layers[0].buffers()).device
    hooks, done = [], False
    try:
        model.eval()
        for layer in layers:
            layer.train()
            layer.reset_running_stats()
            layer.momentum = 1.0  # the running statistics are then those of the last batch, of all processes
            hooks.append(layer.register_forward_hook(seen))
        batches = 0
        for batch in loader:
            run(model, moved(batch, device), forward=forward)
            batches += 1
        if not batches:
            raise ValueError("recompute_batch_norm: the loader gave no batch; has a generator been used up already?")
        done = True
    finally:
        for hook in hooks:
            hook.remove()
        for layer, momentum, buffers in before:
            layer.momentum = momentum
            if done and layer in pools:
                pools[layer].write(layer)
            else:
                for x, old in zip(layer.buffers(recurse=False), buffers, strict=True):
                    x.copy_(old)
        for module, training in modes:
            module.training = training


class Pool:
    """The mean and variance of all values that a layer has seen, put together from those of its batches."""

    def __init__(self):
        self.n: int = 0
        self.mean: Tensor | float = 0.0
        self.squares: Tensor | float = 0.0  # Σ (x − mean)²

    def add(self, layer: Any, n: int) -> None:
        """Take in the batch of n values whose statistics the layer holds."""
        mean, var = (x.to(wide(x.device)) for x in (layer.running_mean, layer.running_var))
        away, total = mean - self.mean, self.n + n
        self.squares = self.squares + var * (n - 1) + away.square() * (self.n * n / total)
        self.mean = self.mean + away * (n / total)
        self.n = total

    def write(self, layer: Any) -> None:
        """Make them the layer's running statistics."""
        layer.running_mean.copy_(self.mean)
        layer.running_var.copy_(self.squares / (self.n - 1))
