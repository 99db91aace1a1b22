"""Weights to begin with: He's and Glorot's, each layer with the gain of the activation that feeds it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import prod, sqrt
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd
from torch.nn.utils.parametrize import is_parametrized
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.weak import WeakTensorKeyDictionary

from ravine.instruments.columns import columns
from ravine.loop.feed import Forward, plain, run

Activation = str | Callable[[Tensor], Tensor]
TORCHS = ("linear", "sigmoid", "tanh", "relu", "leaky_relu")  # as torch.nn.init.calculate_gain has them
NORMS = (_NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)
HELD = (nn.MultiheadAttention, nn.RNNBase, nn.RNNCellBase)  # which begin in their own way
FUNCTIONS = (  # what a forward may call, by the name in aten
    *("relu", "leaky_relu", "elu", "gelu", "silu", "mish", "tanh", "sigmoid", "softplus", "hardtanh", "hardswish"),
    *("hardsigmoid", "clamp_min"),
)
PASSING = (  # what leaves the size of numbers as it is, or nearly
    *("view", "_unsafe_view", "reshape", "permute", "transpose", "t", "expand", "slice", "select", "split", "alias"),
    *("unsqueeze", "squeeze", "clone", "detach", "_to_copy", "cat", "constant_pad_nd", "native_dropout"),
    *("max_pool1d", "max_pool2d_with_indices", "max_pool3d_with_indices", "avg_pool2d", "avg_pool3d"),
    *("_adaptive_avg_pool2d", "_adaptive_avg_pool3d", "adaptive_max_pool2d", "mean", "mkldnn_max_pool2d"),
)
MODULES = (
    *(nn.ReLU, nn.LeakyReLU, nn.PReLU, nn.ELU, nn.SELU, nn.CELU, nn.GELU, nn.SiLU, nn.Mish, nn.Tanh, nn.Sigmoid),
    *(nn.Softplus, nn.Hardswish, nn.Hardsigmoid, nn.Hardtanh, nn.ReLU6, nn.Softsign, nn.LogSigmoid),
    *(nn.Tanhshrink, nn.Hardshrink, nn.Softshrink, nn.Threshold),
)


@dataclass(frozen=True)
class Initialized:
    """One layer as `initialize` made it."""

    layer: str
    fed_by: str
    gain: float
    std: float


class Initialization(tuple[Initialized, ...]):
    """The layers, in order; as a string a table."""

    def __str__(self) -> str:
        rows = [(x.layer or "the model itself", x.fed_by, f"{x.gain:.4g}", f"{x.std:.4g}") for x in self]
        return columns([("layer", "fed by", "gain", "std"), *rows])


def gain(activation: Activation, param: float | None = None) -> float:
    """How much larger weights must be after an activation, for the next layer to have the scale of this one.

        gain = 1 / √E[f(z)²],   z ~ N(0, 1)

        >>> from ravine.instruments import gain
        >>> gain("relu"), round(gain("gelu"), 4), round(gain("silu"), 4)
        (1.4142135623730951, 1.5335, 1.6765)

    linear, sigmoid, tanh, relu and leaky_relu are as `torch.nn.init.calculate_gain` has them (1 for sigmoid and 5/3 for
    tanh are custom, the equation gives 1.8462 and 1.5925). For all others the integral is taken numerically; selu is
    then 1, as self-normalizing networks want it and torch advises, and not its 3/4.

    activation: a name of torch.nn.functional, or any function or module that works element by element.
    param: the negative slope of leaky_relu.
    """
    if isinstance(activation, nn.LeakyReLU):
        activation, param = "leaky_relu", activation.negative_slope
    elif isinstance(activation, nn.Module) and type(activation) in MODULES and type(activation) is not nn.PReLU:
        name = type(activation).__name__.lower()
        activation = name if name in TORCHS else activation
    if isinstance(activation, str):
        if activation in TORCHS:
            return float(nn.init.calculate_gain(activation, param))  # pyright: ignore[reportArgumentType]
        function = getattr(nn.functional, activation, None)
        if function is None:
            raise ValueError(
                f"gain: torch.nn.functional has no {activation!r}; give the name of an activation there, such as "
                "'relu' or 'gelu', or the function itself"
            )
        return _integrated(function)
    if isinstance(activation, nn.PReLU):
        return sqrt(2 / (1 + activation.weight.detach().square().mean().item()))  # He et al., eq. 15
    return _integrated(activation)


@torch.no_grad()
def _integrated(f: Callable[[Tensor], Tensor]) -> float:
    z = torch.linspace(-12, 12, 12001, dtype=torch.float64, device="cpu")
    density = torch.exp(-z * z / 2) / sqrt(2 * torch.pi)
    return 1 / sqrt(torch.trapezoid(f(z).double().square() * density, z).item())


@torch.no_grad()
def initialize(
    model: nn.Module,
    method: Literal["he", "glorot"] = "he",
    activation: Activation | None = None,
    *,
    batch: Any = None,
    forward: Forward | None = None,
    mode: Literal["fan_in", "fan_out"] = "fan_in",
    distribution: Literal["normal", "uniform"] = "normal",
    generator: torch.Generator | None = None,
) -> Initialization:
    """Draw the weights of linear layers and convolutions so that signals keep their scale; biases become zero.

        he          Var[w] = gain² / n_in                    or gain² / n_out with mode="fan_out"
        glorot      Var[w] = gain² · 2 / (n_in + n_out)
        uniform     w ~ U[−√3 σ, √3 σ]

        >>> import torch, ravine
        >>> from torch import nn
        >>> model = nn.Sequential(nn.Linear(100, 50), nn.ReLU(), nn.Linear(50, 50), nn.GELU(), nn.Linear(50, 10))
        >>> print(ravine.instruments.initialize(model, "he"))
        layer  fed by  gain   std
        0      linear  1      0.1
        2      relu    1.414  0.2
        4      gelu    1.534  0.2169

    The gain of a layer is that of the activation it is *fed by*: where z has variance 1 before the activation, n_in
    Var[w] E[f(z)²] = 1 gives the next z variance 1 again (He et al. 2015, eq. 8 to 10), whatever f; and in backward it
    is this f whose slope the gradient meets. The first layer, and one behind a norm or a sum, has gain 1. (Taking the
    activation that follows, as is often done, is the same but for the first and last layer, where all are alike.)

    method: "he" keeps the scale forward (fan_in), or backward (fan_out, eq. 14); "glorot" halfway between the two (eq.
        12; uniform it is eq. 16).
    activation: what feeds every layer, where you know: a name as "relu", a function or a module. None finds out.
    batch: to find out, an example: the model runs once on it, in eval mode and without gradients, and the input of each
        layer is followed back to the activation, module or function, that made it, through pooling and reshaping.
        Without a batch the order of an nn.Sequential is taken; other models need a batch or an activation. An
        activation that is put together from others (x · sigmoid(x)) is not seen: give it as `activation`.
    forward: forward(model, batch), where the model wants to be called otherwise than `model(x)`.
    distribution: of the weights.
    generator: to draw from.

    n_in counts what is added up for one output, n_out the outputs that one input reaches: kernel sizes times channels
    of a group, divided by the stride for n_out (for n_in in transposed convolutions); torch's counts leave out
    strides and, of transposed convolutions, mean the other way round. Embeddings, weights tied to one, norms,
    recurrent layers, attention's own projections and everything else are left as they are. Layers that the batch does
    not reach keep their weights.

    Returns what was done to each layer; printed it is a table.

    Glorot & Bengio 2010    https://proceedings.mlr.press/v9/glorot10a.html
    He, Zhang, Ren & Sun 2015, section 2.2    https://arxiv.org/abs/1502.01852
    """
    for name, x, known in (
        ("method", method, ("he", "glorot")),
        ("mode", mode, ("fan_in", "fan_out")),
        ("distribution", distribution, ("normal", "uniform")),
    ):
        if x not in known:
            raise ValueError(f"initialize: {name} is {x!r}; it must be one of {known}")
    if activation is not None:
        feeds: dict[nn.Module, Activation] = {x: activation for x in model.modules() if isinstance(x, LAYERS)}
    elif batch is not None:
        feeds = _traced(model, batch, forward)
    else:
        feeds = _ordered(model)
    held = {x for outer in model.modules() if isinstance(outer, HELD) for x in outer.modules()}
    tied = {id(p) for x in model.modules() if isinstance(x, nn.Embedding | nn.EmbeddingBag) for p in x.parameters()}
    done: list[Initialized] = []
    layers: list[tuple[str, Any]] = [*model.named_modules()]
    for name, layer in layers:
        if layer not in feeds or layer in held or id(layer.weight) in tied:
            continue
        g, (fan_in, fan_out) = gain(feeds[layer]), fans(layer)
        if method == "glorot":
            std = g * sqrt(2 / (fan_in + fan_out))
        else:
            std = g / sqrt(fan_in if mode == "fan_in" else fan_out)
        w = torch.empty_like(layer.weight)
        if distribution == "normal":
            nn.init.normal_(w, 0.0, std, generator=generator)
        else:
            nn.init.uniform_(w, -sqrt(3) * std, sqrt(3) * std, generator=generator)
        if is_parametrized(layer, "weight"):
            layer.weight = w  # weight norm and the like find their own tensors for it
        else:
            layer.weight.copy_(w)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
        done.append(Initialized(name, _name(feeds[layer]), g, std))
    return Initialization(done)


LAYERS = (nn.Linear, _ConvNd)


def fans(layer: Any) -> tuple[float, float]:
    """For each output how many products are added up, and for each input how many outputs it reaches, on average."""
    if isinstance(layer, nn.Linear):
        return layer.in_features, layer.out_features
    size, stride = prod(layer.kernel_size), prod(layer.stride)
    ins, outs = layer.in_channels // layer.groups * size, layer.out_channels // layer.groups * size
    return (ins / stride, outs) if isinstance(layer, _ConvTransposeNd) else (ins, outs / stride)


def _ordered(model: nn.Module) -> dict[nn.Module, Activation]:
    """What feeds each layer, in the order of Sequentials."""
    feeds: dict[nn.Module, Activation] = {}
    last: Activation = "linear"
    for x in model.modules():
        if isinstance(x, LAYERS):
            feeds[x], last = last, "linear"
        elif isinstance(x, MODULES):
            last = x
        elif isinstance(x, NORMS):
            last = "linear"
        elif not isinstance(x, nn.Sequential) and any(isinstance(y, LAYERS) for y in x.modules()):
            raise ValueError(
                f"initialize: the order of layers in {type(x).__name__} is known when it runs: give batch=an example, "
                "or activation='relu' or whatever feeds the layers"
            )
    return feeds


class _Watch(TorchDispatchMode):
    """Keeps for each tensor which activation made it."""

    def __init__(self):
        super().__init__()
        self.made: WeakTensorKeyDictionary = WeakTensorKeyDictionary()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        name = func.overloadpacket.__name__.rstrip("_")
        if name in FUNCTIONS:
            self.note(out, name if name in TORCHS and len(args) == 1 else _called(name, func, args[1:], kwargs or {}))
        elif name in PASSING and (first := [x for x in tree_leaves(args) if isinstance(x, Tensor)]):
            self.note(out, self.made.get(first[0]))
        return out

    def note(self, out: Any, activation: Activation | None) -> None:
        for x in tree_leaves(out):
            if isinstance(x, Tensor) and activation is not None:
                self.made[x] = activation


def _called(name: str, func: Any, args: Any, kwargs: Any) -> Callable[[Tensor], Tensor]:
    """An operation of aten as a function of its first argument, into which it may write."""

    def f(z: Tensor) -> Tensor:
        return func(z.clone(), *args, **kwargs)

    f.__name__ = name
    return f


def _traced(model: nn.Module, batch: Any, forward: Forward | None) -> dict[nn.Module, Activation]:
    """What feeds each layer, as a run on a batch tells; a layer that is called twice counts the first time."""
    feeds: dict[nn.Module, Activation] = {}
    modes = [(x, x.training) for x in model.modules()]
    hooks = []
    watch = _Watch()

    def before(x: nn.Module, args: tuple[Any, ...]) -> None:
        feeds.setdefault(x, watch.made.get(args[0]) or "linear")

    def after(x: nn.Module, _: Any, out: Any) -> None:
        watch.note(out, x)

    try:
        model.eval()
        for x in model.modules():
            if isinstance(x, LAYERS):
                hooks.append(x.register_forward_pre_hook(before))
            elif isinstance(x, MODULES):
                hooks.append(x.register_forward_hook(after))
        with watch:
            run(model, plain(batch), forward=forward)
    finally:
        for hook in hooks:
            hook.remove()
        for x, training in modes:
            x.training = training
    return feeds


def _name(activation: Activation) -> str:
    """As it is shown."""
    if isinstance(activation, str):
        return activation
    if isinstance(activation, nn.Module):
        return type(activation).__name__.lower()
    return getattr(activation, "__name__", repr(activation))
