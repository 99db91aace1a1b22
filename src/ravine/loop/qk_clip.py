"""QK-clip."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized

from ravine.compile.geometry import placing
from ravine.loop.hook import Hook

Rotate = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
AT_ONCE = 2**24  # logits of one product: where there are more, some queries at a time
QUERIES, KEYS = 0, 1


@dataclass
class Watched:
    """An attention module, its layers of queries and keys, and the largest logit of each head since the last step."""

    name: str
    module: nn.Module
    layers: Sequence[Any]
    heads: int
    groups: int  # heads of keys
    layout: str  # "q", "k", of a layer for each; or of one for both
    most: Tensor = field(init=False)
    waiting: dict[int, Tensor] = field(default_factory=dict[int, Tensor])  # queries or keys of this pass
    seen: bool = False  # since the last step
    met: bool = False  # in this call

    def __post_init__(self):
        self.forget()

    def forget(self) -> None:
        """Begin anew."""
        device = self.layers[0].weight.device
        self.most, self.seen = torch.full((self.heads,), -torch.inf, device=device), False

    def parts(self, x: Tensor, at: int) -> dict[int, Tensor]:
        """Views (…, heads, d) of the queries and the keys in the features (…, n) of a layer."""
        if len(self.layers) == 2:
            return {at: x.unflatten(-1, (self.heads if at == QUERIES else self.groups, -1))}
        if self.layout == "heads":
            q, k, _ = x.unflatten(-1, (self.heads, 3, -1)).unbind(-2)
            return {QUERIES: q, KEYS: k}
        d = x.shape[-1] // (self.heads + 2 * self.groups)
        q, k, _ = x.split([self.heads * d, self.groups * d, self.groups * d], -1)
        return {QUERIES: q.unflatten(-1, (self.heads, d)), KEYS: k.unflatten(-1, (self.groups, d))}


class QKClip:
    """After each step, shrink the queries and keys of every attention head whose logits were too large.

        S = max q·k / √d                     of a head, over all batches since the last step
        γ = min(1, τ / S)
        W_q ← √γ W_q,  W_k ← √γ W_k          the head's rows, and its biases

    A head whose logits stay below τ is left as it is, bit for bit; of the others the largest logit is brought to τ.
    With Muon this is MuonClip; it goes with any optimizer.

        >>> import torch, ravine
        >>> class Attention(torch.nn.Module):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.num_heads = 2
        ...         self.q_proj, self.k_proj, self.v_proj = (torch.nn.Linear(8, 8) for _ in range(3))
        ...     def forward(self, x):
        ...         layers = self.q_proj, self.k_proj, self.v_proj
        ...         q, k, v = (f(x).unflatten(-1, (2, 4)).transpose(1, 2) for f in layers)
        ...         return torch.nn.functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        >>> model = Attention()
        >>> opt = ravine.create("muon", model, lr=0.02)
        >>> clip = ravine.loop.QKClip(opt, model, heads="num_heads", tau=0.01)
        >>> model(torch.randn(4, 5, 8)).square().mean().backward()
        >>> opt.step()
        >>> [most > 0.01 for most in clip.logits["Attention"]]
        [True, True]

    Fused attention returns no logits, so they are computed a second time, from what the layers of queries and keys
    return; every=k does it in each k-th step only. Passes without gradients do not count.

    heads: how many, or the name of the attention module's attribute that says it.
    q, k: the names of the two nn.Linear in each attention module; all modules that have both are watched.
    qkv: the name of one layer that returns queries, keys and values, for example "c_attn" of GPT-2; Conv1D of
        Hugging Face is known too.
    layout: how that layer's rows are ordered: "qkv", all queries, all keys, all values; "heads", those of a head beside
        each other, as in GPT-NeoX.
    kv_heads: how many heads keys have, where several heads of queries share them. Such keys stay as they are, and the
        queries take all of γ, so that no head moves another: the report's rule for what heads share.
    tau: the largest logit that is left alone; the report has 100.
    scale: what logits are multiplied with; None is 1/√d.
    causal: only pairs count whose key is not after the query. Other masks are not known, and count.
    rotate: rotate(q, k), of (…, heads, tokens, d), is what attention does with both before it multiplies them, for
        example rotary positions. It must be linear: where queries and keys are normalized, logits are bounded
        already, and there is nothing to clip.
    group: the processes that train one model: of a logit the largest of all counts. False: each process by itself.

    Tokens are the dimension before the last. Tensor parallelism, multi-head latent attention, nn.MultiheadAttention and
    layers of adapters are refused: their queries and keys cannot be seen, or are not the layers' alone.

    Use it for large language models whose logits grow without bound, as they do with Muon.

    Kimi Team 2025, Algorithm 1    https://arxiv.org/abs/2507.20534
    The report has the largest logit, and the blog post beside it the largest in magnitude; here it is the report's.
    """

    papers = ("kimi2025k2",)

    def __init__(
        self,
        opt: torch.optim.Optimizer,
        model: nn.Module,
        heads: int | str,
        *,
        q: str = "q_proj",
        k: str = "k_proj",
        qkv: str | None = None,
        layout: Literal["qkv", "heads"] = "qkv",
        kv_heads: int | str | None = None,
        tau: float = 100.0,
        scale: float | None = None,
        causal: bool = False,
        rotate: Rotate | None = None,
        every: int = 1,
        group: Any = None,
    ):
        if not tau > 0 or every < 1 or (scale is not None and not scale > 0):
            raise ValueError(f"QKClip: tau is {tau}, every {every} and scale {scale}; they must be positive")
        if layout not in ("qkv", "heads") or (layout == "heads" and kv_heads is not None):
            raise ValueError(
                f"QKClip: layout is {layout!r}; it is 'qkv', or 'heads' where each head has keys of its own"
            )
        self.tau, self.scale, self.causal, self.rotate = tau, scale, causal, rotate
        self.every, self.group, self.count = every, group, 0
        self.watched = list(found(opt, model, (q, k) if qkv is None else (qkv,), heads, kv_heads, layout))
        self._logits: list[Tensor] = []
        self.handles: list[Any] = []
        for x in self.watched:
            self.handles.append(x.module.register_forward_hook(Hook(self.called, x)))
            for at, layer in enumerate(x.layers):
                self.handles.append(layer.register_forward_hook(Hook(self.returned, x, at)))
        self.within = 0  # steps in each other: a subclass whose step() calls super().step() runs all hooks twice
        self.handles.append(opt.register_step_pre_hook(self.begin))
        self.handles.append(opt.register_step_post_hook(self.step))  # which keeps this alive

    @property
    def logits(self) -> dict[str, list[float]]:
        """The largest logit of each head, by module, before the last clip; minus infinity of what was not called."""
        return {x.name: most.tolist() for x, most in zip(self.watched, self._logits, strict=False)}

    @property
    def due(self) -> bool:
        """Whether the next step clips."""
        return self.count % self.every == 0

    @torch.no_grad()
    def returned(self, x: Watched, at: int, layer: Any, _: Any, y: Tensor) -> None:
        """A layer was called: where queries and keys are there, they meet."""
        if not (self.due and y.requires_grad):
            return
        if y.shape[-1] != features(layer):
            raise RuntimeError(
                f"QKClip: a layer of {x.name} has {features(layer)} features and returned {tuple(y.shape)}: its heads "
                "are on several processes, and QKClip does not know which"
            )
        x.waiting |= {side: part.transpose(-2, -3) for side, part in x.parts(y.detach(), at).items()}
        if len(x.waiting) == 2:
            most = self.largest(x.waiting.pop(QUERIES), x.waiting.pop(KEYS))
            x.most, x.seen, x.met = torch.maximum(x.most, most.to(x.most.device)), True, True

    def called(self, x: Watched, *_: Any) -> None:
        """A module is done: its queries and keys must have met."""
        met, x.met, self.within = x.met, False, 0
        if self.due and torch.is_grad_enabled() and not met:
            raise RuntimeError(unseen(x))

    def largest(self, q: Tensor, k: Tensor) -> Tensor:
        """The largest logit of each head, of queries (…, heads, tokens, d) and keys (…, groups, tokens, d)."""
        wide = torch.promote_types(q.dtype, torch.float32)
        q, k = q.to(wide), k.to(wide)
        if self.rotate is not None:
            q, k = self.rotate(q, k)
        q = q.reshape(-1, *q.shape[-3:])
        k = k.reshape(-1, *k.shape[-3:]).repeat_interleave(q.shape[1] // k.shape[-3], 1)
        most = q.new_full(q.shape[1:2], -torch.inf)
        if not q.numel() or not k.numel():
            return most
        some = max(1, AT_ONCE // (q.shape[0] * q.shape[1] * k.shape[2]))
        for first in range(0, q.shape[2], some):
            logits = q[:, :, first : first + some] @ k.mT
            if self.causal:
                later = torch.ones_like(logits[0, 0], dtype=torch.bool).triu(first + 1 + k.shape[2] - q.shape[2])
                logits = logits.masked_fill(later, -torch.inf)
            most = torch.maximum(most, logits.amax((0, 2, 3)))
        return most * (q.shape[-1] ** -0.5 if self.scale is None else self.scale)

    def begin(self, *_: Any) -> None:
        """The optimizer calls it before its step."""
        self.within += 1

    @torch.no_grad()
    def step(self, *_: Any) -> None:
        """Clip what the passes since the last step have seen; the optimizer calls it after its step."""
        self.within -= 1
        if self.within > 0:
            return
        due, self.count = self.due, self.count + 1
        if not due:
            return
        all_of = over_processes(torch.cat([x.most.float() for x in self.watched]), self.group)
        self._logits = list(all_of.split([x.heads for x in self.watched]))
        for x, most in zip(self.watched, self._logits, strict=True):
            if not x.seen and any(learns(layer) for layer in x.layers):
                raise RuntimeError(unseen(x))
            shrink(x, torch.where(most.isfinite() & (most > self.tau), self.tau / most, 1.0))
            x.forget()

    def remove(self) -> None:
        """Take the hooks away: nothing is clipped any more."""
        for handle in self.handles:
            handle.remove()
        self.handles.clear()


def found(
    opt: torch.optim.Optimizer,
    model: nn.Module,
    names: Sequence[str],
    heads: int | str,
    kv_heads: int | str | None,
    layout: str,
) -> Iterator[Watched]:
    """Each module of a model that has layers of these names; an error where one cannot be watched, or there is none."""
    said, taken = " and ".join(names), {id(p) for group in opt.param_groups for p in group["params"]}
    count, seen = 0, set[int]()
    for path, module in model.named_modules():
        name = path or type(module).__name__
        if isinstance(module, nn.MultiheadAttention):
            raise TypeError(
                f"QKClip: {name} is nn.MultiheadAttention, which makes queries and keys inside one function; use a "
                "module with a layer for them, or give QKClip the part of the model without it"
            )
        layers: list[Any] = [x for own in names if isinstance(x := getattr(module, own, None), nn.Module)]
        if len(layers) < len(names):
            continue
        n = number(name, module, "heads", heads)
        groups = n if kv_heads is None else number(name, module, "kv_heads", kv_heads)
        if n % groups:
            raise ValueError(f"QKClip: {name} has {n} heads of queries, which {groups} of keys cannot share equally")
        for layer, own in zip(layers, names, strict=True):
            check(layer, f"{own} of {name}", taken)
            if id(layer) in seen:
                raise ValueError(f"QKClip: {own} of {name} is another module's layer too, and would be clipped twice")
            seen.add(id(layer))
        sizes, parts = [features(x) or 0 for x in layers], [n, groups] if len(layers) == 2 else [n + 2 * groups]
        whole = [divmod(size, k) for size, k in zip(sizes, parts, strict=True)]
        if any(left for _, left in whole) or len(set(whole)) > 1:
            raise ValueError(
                f"QKClip: {said} of {name} have {' and '.join(map(str, sizes))} features, which are not {n} heads of "
                f"queries and {groups} of keys, all of one size; say heads= and kv_heads="
            )
        count += 1
        yield Watched(name, module, layers, n, groups, layout)
    if not count:
        raise ValueError(
            f"QKClip: no module of {type(model).__name__} has {said}; say which of its layers make queries and keys, "
            "by q= and k=, or by qkv= where one makes both"
        )


def check(layer: Any, what: str, taken: set[int]) -> None:
    """Raise where the queries or keys that a layer returns are not those of one weight of this optimizer."""
    if features(layer) is None or is_parametrized(layer) or not layer.weight.is_floating_point():
        kind = type(layer).__name__
        raise TypeError(f"QKClip: {what} is {kind}, whose features are not of one weight; it takes nn.Linear")
    if id(layer.weight) not in taken:
        raise ValueError(f"QKClip: the weight of {what} is no parameter of the optimizer; give the one that has it")


def number(name: str, module: nn.Module, what: str, given: int | str) -> int:
    """A number of heads, or what the module says it is."""
    n = getattr(module, given, None) if isinstance(given, str) else given
    if isinstance(n, bool) or not isinstance(n, int) or n < 1:
        raise ValueError(
            f"QKClip: {what}={given!r} is {n!r} for {name}; it is a whole number, or an attribute that is one"
        )
    return n


def features(layer: Any) -> int | None:
    """How many features a layer returns; None if it is no layer of one weight. Conv1D is that of Hugging Face."""
    if isinstance(layer, nn.Linear):
        return layer.out_features
    return layer.nf if type(layer).__name__ == "Conv1D" and isinstance(getattr(layer, "nf", None), int) else None


def learns(layer: Any) -> bool:
    """True where the last backward pass has reached a layer."""
    g = layer.weight.grad
    return g is not None and bool((g != 0).any())


def unseen(x: Watched) -> str:
    """What is said where a module has been used, and its queries and keys have not been seen."""
    return (
        f"QKClip: {x.name} was used, and its layers of queries and keys were not called: it multiplies by their "
        "weights itself, and its logits cannot be seen"
    )


def over_processes(x: Tensor, group: Any) -> Tensor:
    """The largest over the processes that train one model."""
    if group is False or not dist.is_available() or not dist.is_initialized() or dist.get_world_size() == 1:
        return x
    if group is None:
        raise RuntimeError(
            f"QKClip: {dist.get_world_size()} processes run, and each has seen its own batch; give "
            "QKClip(…, group=torch.distributed.group.WORLD) where they train one model, else group=False"
        )
    dist.all_reduce(x, dist.ReduceOp.MAX, group=group)
    return x


def shrink(x: Watched, by: Tensor) -> None:
    """Multiply the logits of each head with so much: queries and keys with its root, or queries alone where heads share
    keys."""
    shared = x.groups < x.heads
    for at, layer in enumerate(x.layers):
        rows = by.new_ones(features(layer) or 0)
        for side, part in x.parts(rows, at).items():
            if side == QUERIES:
                part.mul_((by if shared else by.sqrt())[:, None])
            elif not shared:
                part.mul_(by.sqrt()[:, None])
        multiply(layer.weight, rows[:, None] if isinstance(layer, nn.Linear) else rows)
        if layer.bias is not None:
            multiply(layer.bias, rows)


def multiply(p: Tensor, rows: Tensor) -> None:
    """p · rows in place, of a distributed p too."""
    mesh, placed = placing(p)
    if mesh is not None:
        from torch.distributed.tensor import DTensor, Replicate

        rows = DTensor.from_local(rows, mesh, [Replicate()] * len(placed), run_check=False)
    p.mul_(rows)
