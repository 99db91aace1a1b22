"""Parameter groups from a model: which weights decay, how fast each layer learns, which go to which rule.

Each function here returns lists of dicts, or of (name, tensor) pairs, that any optimizer of ravine or torch takes.
A group holds what it was given and nothing else; the rest comes from the optimizer's own arguments.

A weight that stands at two places of the model (tied) appears once, where it is first; a pattern finds it by any of
its names. Frozen parameters (`requires_grad=False`) are kept, as torch's optimizers keep them: they do not move, and
may be thawed later. `frozen=False` leaves them out.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd

Pair = tuple[str, Tensor]
Group = dict[str, Any]


class Selected(list[Pair]):
    """A list of (name, tensor) pairs that knows why each is in it: `why` is {name: a word}."""

    def __init__(self, pairs: Iterable[Pair] = (), why: Mapping[str, str] | None = None):
        super().__init__(pairs)
        self.why = dict(why or {})


NORMS = (_NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)
EMBEDDINGS = r"(^|\.)(\w*emb(ed|eds|edding|eddings)?|wte|wpe)(\.|$)"
HEADS = r"(^|\.)(lm_head|heads?|classifier|output_projection)(\.|$)"
LORA_B = r"(^|\.|_)lora_(embedding_)?([Bb]|up)(\.|$)"  # in PEFT, torchtune and kohya's scripts


def no_decay(model: nn.Module, weight_decay: float, *, also: str | None = None, frozen: bool = True) -> list[Group]:
    """Two groups: weights that decay, and norms, biases and all other vectors, which do not.

    Decay shrinks what multiplies the input; a bias or the scale of a norm is not such a weight.

        >>> import ravine
        >>> from torch import nn
        >>> model = nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4), nn.Linear(4, 1))
        >>> groups = ravine.groups.no_decay(model, weight_decay=0.1)
        >>> [(group["weight_decay"], [name for name, p in group["params"]]) for group in groups]
        [(0.1, ['0.weight', '2.weight']), (0.0, ['0.bias', '1.weight', '1.bias', '2.bias'])]
        >>> opt = ravine.AdamW(groups, lr=1e-3)

    model: any module. Spared are parameters of fewer than two sizes, of norm layers, and those named `bias`.
    weight_decay: of the first group.
    also: a regular expression; names in which it is found do not decay either, such as r"embed|cls_token".
    frozen: keep parameters with requires_grad=False.
    """
    named, pairs = _named(model), _pairs(model, frozen)
    normed = {id(p) for module in model.modules() if isinstance(module, NORMS) for p in module.parameters(False)}
    spared = {id(p) for names, p in named if p.ndim < 2 or id(p) in normed or _is_bias(names)}
    if also is not None:
        spared |= {id(p) for names, p in named if _found(also, names)}
    decaying, plain = [x for x in pairs if id(x[1]) not in spared], [x for x in pairs if id(x[1]) in spared]
    return _filled({"params": decaying, "weight_decay": float(weight_decay)}, {"params": plain, "weight_decay": 0.0})


def layer_decay(
    model: nn.Module,
    lr: float,
    decay: float,
    *,
    layers: Sequence[str] | None = None,
    weight_decay: float | None = None,
    frozen: bool = True,
) -> list[Group]:
    """A group for each layer, from the input up: the last learns with lr, each below with `decay` times the one above.

    For fine-tuning: the layers near the input are general already and move least.

        >>> import ravine
        >>> from torch import nn
        >>> model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 1))
        >>> groups = ravine.groups.layer_decay(model, lr=0.1, decay=0.5)
        >>> [(group["lr"], [name for name, p in group["params"]]) for group in groups]
        [(0.025, ['0.weight', '0.bias']), (0.05, ['2.weight', '2.bias']), (0.1, ['4.weight', '4.bias'])]
        >>> opt = ravine.AdamW(groups)

    lr: of the last layer.
    decay: above 0; 1 gives every layer the same rate.
    layers: regular expressions from the input up, one a layer, the first that is found in a name has it. None takes
        the model's children in their order, and the items of a ModuleList or Sequential one by one; embeddings that
        follow each other are one layer, the tokens, positions and patches of a vision transformer too (as in timm),
        and a norm goes with the layer before it.
    weight_decay: if given, each layer is two groups, as `no_decay` makes them.
    frozen: keep parameters with requires_grad=False.
    """
    if not decay > 0:
        raise ValueError(f"layer_decay: decay is {decay!r}; it must be above 0, and 1 gives every layer the same rate")
    if layers is None:
        level = {id(p): i for i, layer in enumerate(_layers(model)) for p in layer}
        count = 1 + max(level.values(), default=0)
    else:
        level = {id(p): i for i, (_, ps) in enumerate(_matched(model, layers, None)) for _, p in ps}
        count = len(layers)
    whole: list[Group] = [{"params": _pairs(model, frozen)}]
    if weight_decay is not None:
        whole = no_decay(model, weight_decay, frozen=frozen)
    made: list[Group] = []
    for i in range(count):
        rate = float(lr) * float(decay) ** (count - 1 - i)
        for group in whole:
            here = [(name, p) for name, p in group["params"] if level[id(p)] == i]
            made.append(group | {"params": here, "lr": rate})
    return _filled(*made)


def lora_plus(
    model: nn.Module,
    lr: float,
    ratio: float = 16.0,
    *,
    b: str = LORA_B,
    weight_decay: float | None = None,
    frozen: bool = False,
) -> list[Group]:
    """LoRA+: of the two factors of an adapter, B learns `ratio` times as fast as A.

    An adapter adds B A x to what a layer gives, and B begins as zeros. In a wide network A and B need rates of other
    orders to learn equally; one rate for both, as in LoRA, leaves A to do the work that B should.

        >>> import ravine, torch
        >>> from torch import nn
        >>> class Adapted(nn.Linear):
        ...     def __init__(self):
        ...         super().__init__(8, 8)
        ...         self.lora_A, self.lora_B = nn.Linear(8, 2, bias=False), nn.Linear(2, 8, bias=False)
        >>> model = nn.Sequential(Adapted(), Adapted())
        >>> for name, p in model.named_parameters():
        ...     p = p.requires_grad_("lora" in name)
        >>> groups = ravine.groups.lora_plus(model, lr=1e-4)
        >>> [(group["lr"], [name for name, p in group["params"]]) for group in groups]
        [(0.0001, ['0.lora_A.weight', '1.lora_A.weight']), (0.0016, ['0.lora_B.weight', '1.lora_B.weight'])]
        >>> opt = ravine.AdamW(groups)

    lr: of A, and of other matrices that are trained.
    ratio: the paper's η_B / η_A; it advises about 2⁴, and finds that it matters most for tasks that are hard for the
        model. 1 is LoRA.
    b: a regular expression that is found in the names of B, and in no other; it is an error if none has it. It knows
        those of PEFT (lora_B), torchtune (lora_b) and kohya's scripts (lora_up).
    weight_decay: if given, each group is two, as `no_decay` makes them.
    frozen: keep parameters with requires_grad=False, such as the weights that are adapted.

    Biases and norms that are trained beside the adapters learn as B does, as in the authors' code and PEFT. Those give
    adapters of embeddings a rate of their own, 1e-6; here they learn as the others do.

    Hayou, Ghosh & Yu 2024    https://arxiv.org/abs/2402.12354
    """
    if not ratio > 0:
        raise ValueError(f"lora_plus: ratio is {ratio!r}; it must be above 0, and 1 gives A and B the same rate")
    named = _named(model)
    found = {id(p) for names, p in named if _found(b, names)}
    if not found:
        raise ValueError(
            f"lora_plus: {b!r} is found in no name of {type(model).__name__}, whose names are "
            f"{_some([names[0] for names, _ in named])}; give b= an expression for the factors that begin as zeros"
        )
    fast = found | {id(p) for _, p in named if p.ndim < 2}
    whole: list[Group] = [{"params": _pairs(model, frozen)}]
    if weight_decay is not None:
        whole = no_decay(model, weight_decay, frozen=frozen)
    made: list[Group] = []
    for is_fast, rate in ((False, float(lr)), (True, float(lr) * float(ratio))):
        for group in whole:
            here = [(name, p) for name, p in group["params"] if (id(p) in fast) == is_fast]
            made.append(group | {"params": here, "lr": rate})
    return _filled(*made)


def by_name(
    model: nn.Module,
    rules: Mapping[str, Mapping[str, Any]],
    *,
    default: Mapping[str, Any] | None = None,
    frozen: bool = True,
) -> list[Group]:
    """A group for each regular expression, with the hyperparameters beside it; the first that is found has the name.

    No group takes anything from another: what it does not say comes from the optimizer's arguments.

        >>> import ravine
        >>> from torch import nn
        >>> model = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 1))
        >>> groups = ravine.groups.by_name(model, {"bias": {"weight_decay": 0.0}, r"^1[.]": {"lr": 0.1}}, default={})
        >>> [[name for name, p in group["params"]] for group in groups]
        [['0.bias', '1.bias'], ['1.weight'], ['0.weight']]
        >>> opt = ravine.AdamW(groups, lr=0.01)

    rules: {regular expression: hyperparameters}, searched in names such as "layers.0.weight"; ^ and $ are its ends.
    default: the hyperparameters of names that no expression is found in. Without it such names are an error.
    frozen: keep parameters with requires_grad=False.

    An expression that takes no parameter is an error too: it is misspelled, or one above it has taken them all.
    """
    groups: list[Group] = []
    for pattern, pairs in _matched(model, list(rules), default):
        kept = [(name, p) for name, p in pairs if frozen or p.requires_grad]
        groups.append({**((default or {}) if pattern is None else rules[pattern]), "params": kept})
    return _filled(*groups)


def split(
    model: nn.Module,
    *,
    embeddings: str | None = EMBEDDINGS,
    heads: str | None = HEADS,
    convolutions: bool = True,
    frozen: bool = True,
) -> tuple[Selected, Selected]:
    """Two lists of (name, tensor): the matrices inside the network, for one rule, and the rest, for another.

    Methods that see a weight as a matrix are made for hidden layers; vectors, embeddings and heads go elsewhere.

        >>> import ravine
        >>> from torch import nn
        >>> model = nn.ModuleDict({"embed": nn.Embedding(9, 4), "hidden": nn.Linear(4, 4), "head": nn.Linear(4, 9)})
        >>> matrices, rest = ravine.groups.split(model)
        >>> [name for name, p in matrices], [name for name, p in rest]
        (['hidden.weight'], ['embed.weight', 'hidden.bias', 'head.weight', 'head.bias'])
        >>> rest.why["embed.weight"], rest.why["hidden.bias"], rest.why["head.weight"]
        ('embedding', 'bias', 'head')
        >>> opt = ravine.Routed({ravine.Lion: matrices, ravine.AdamW: rest}, lr=1e-3)

    A matrix has at least two sizes above 1, and is no bias and no weight of a norm. A tied weight is what any of its
    names says: an embedding that is the head too is of the rest. Where no name says which layer is the head, it is the
    model's last module with parameters, if that is an nn.Linear and not the only matrix: after it no other weight is
    met, as in an nn.Sequential. `why` has a word for each name: matrix or convolution; embedding, head, last layer,
    norm, bias, scalar, vector. `opt.routes()` of `ravine.Routed` prints it.
    embeddings: names in which it is found are of the rest, and so is the weight of every nn.Embedding; None: neither.
    heads: the same for the layers that make the output; None keeps them, and the last layer, among the matrices.
    convolutions: kernels of convolutions are matrices too; False: they are of the rest.
    frozen: keep parameters with requires_grad=False.
    """
    words = _words(model, embeddings, heads)
    inside = {"matrix", "convolution"} if convolutions else {"matrix"}
    if heads is not None and "head" not in words.values():
        last = [module for module in model.modules() if [*module.parameters(False)]][-1]
        mine = {id(p) for p in last.parameters(False)} if isinstance(last, nn.Linear) else set[int]()
        there = [names[0] for names, p in _named(model) if id(p) in mine]
        if any(word in inside for name, word in words.items() if name not in there):
            words |= {name: "last layer" for name in there if words[name] != "embedding"}
    chosen, rest = Selected(), Selected()
    for name, p in _pairs(model, frozen):
        into = chosen if words[name] in inside else rest
        into.append((name, p))
        into.why[name] = words[name]
    return chosen, rest


def matrices(
    model: nn.Module,
    *,
    embeddings: str | None = EMBEDDINGS,
    heads: str | None = HEADS,
    convolutions: bool = True,
    frozen: bool = True,
) -> Selected:
    """The first list of `split`: the matrices inside the network, without embeddings and heads.

    >>> import ravine
    >>> from torch import nn
    >>> model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(8, 4))
    >>> [name for name, p in ravine.groups.matrices(model, heads=r"^2[.]")]
    ['0.weight']
    """
    return split(model, embeddings=embeddings, heads=heads, convolutions=convolutions, frozen=frozen)[0]


def factored(
    model: nn.Module, *, embeddings: bool = False, largest: int = 8192, frozen: bool = True
) -> tuple[Selected, Selected]:
    """Two lists of (name, tensor): weights and biases of layers that K-FAC has Kronecker factors of, and the rest.

    These are nn.Linear and nn.Conv2d, heads too, and with embeddings=True nn.Embedding.

        >>> import ravine
        >>> from torch import nn
        >>> model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(8, 4))
        >>> layers, rest = ravine.groups.factored(model)
        >>> [name for name, p in layers], [name for name, p in rest]
        (['0.weight', '0.bias', '3.weight', '3.bias'], ['1.weight', '1.bias'])
        >>> rest.why["1.weight"]
        'BatchNorm2d'

    `why` has the layer of each, and why one of these kinds is of the rest: its weight is tied to another's, frozen
    while its bias is not, or has a factor of more than `largest` rows; an embedding that renorms or has sparse
    gradients. The projections of nn.MultiheadAttention are of the rest: its weights are used without calling a layer.
    frozen: keep parameters with requires_grad=False.
    """
    layers = {id(p) for x in factored_layers(model, largest).values() for p in x.parameters(False)
              if embeddings or not isinstance(x, nn.Embedding)}  # fmt: skip
    words = dict[int, str]()
    for x in model.modules():
        for p in x.parameters(False):
            no = _unfactored(model, x, largest)
            words.setdefault(id(p), f"{type(x).__name__}{no and ', '}{no}")
    chosen, rest = Selected(), Selected()
    for name, p in _pairs(model, frozen):
        into = chosen if id(p) in layers else rest
        into.append((name, p))
        into.why[name] = words[id(p)]
    return chosen, rest


def factored_layers(model: nn.Module, largest: int = 8192) -> dict[str, nn.Module]:
    """The layers that K-FAC has factors of, by their names."""
    return {
        name: x
        for name, x in model.named_modules()
        if type(x) in (nn.Linear, nn.Conv2d, nn.Embedding) and not _unfactored(model, x, largest)
    }


def _unfactored(model: nn.Module, layer: nn.Module, largest: int) -> str:
    """Why a layer has no factors; empty for one that has, and for other kinds of layers."""
    if type(layer) not in (nn.Linear, nn.Conv2d, nn.Embedding):
        return ""
    assert isinstance(layer, nn.Linear | nn.Conv2d | nn.Embedding)
    own = list(layer.parameters(False))
    holders = [x for x in model.modules() for p in x.parameters(False) if any(p is q for q in own)]
    weight = layer.weight
    columns = 0 if isinstance(layer, nn.Embedding) else weight[0].numel() + (len(own) > 1)
    rows = weight.shape[1] if isinstance(layer, nn.Embedding) else len(weight)
    rows //= layer.groups if isinstance(layer, nn.Conv2d) else 1
    if len(holders) > len(own):
        return "tied"
    if not weight.requires_grad and len(own) > 1 and own[1].requires_grad:
        return "frozen but for its bias"
    if max(rows, columns) > largest:
        return f"a factor of {max(rows, columns)} rows"
    if isinstance(layer, nn.Embedding) and (layer.sparse or layer.scale_grad_by_freq or layer.max_norm is not None):
        return "sparse, scaled or renormed"
    return ""


def by_module(
    model: nn.Module,
    modules: str | Sequence[str],
    *,
    layers: type[nn.Module] | tuple[type[nn.Module], ...] = nn.Linear,
    frozen: bool = True,
) -> tuple[Selected, Selected]:
    """Two lists of (name, tensor): the weights of the linear layers that are named, for one rule, and all the rest.

    As `optim_target_modules` of Hugging Face's Trainer chooses what GaLore and APOLLO work on.

        >>> import ravine
        >>> from torch import nn
        >>> block = nn.ModuleDict({"attn": nn.Linear(8, 8), "mlp": nn.Linear(8, 8), "norm": nn.LayerNorm(8)})
        >>> model = nn.ModuleDict({"h": nn.ModuleList([block]), "head": nn.Linear(8, 2)})
        >>> inside, rest = ravine.groups.by_module(model, ["attn", "mlp"])
        >>> [name for name, p in inside]
        ['h.0.attn.weight', 'h.0.mlp.weight']
        >>> [name for name, p in ravine.groups.by_module(model, "all-linear")[0]]
        ['h.0.attn.weight', 'h.0.mlp.weight', 'head.weight']
        >>> inside.why["h.0.attn.weight"], rest.why["h.0.norm.weight"]
        ("'attn'", 'norm')
        >>> opt = ravine.Routed({ravine.GaLore: {"params": inside, "rank": 2}, ravine.AdamW: rest}, lr=1e-3)

    modules: a list of texts, of which one is a part of the layer's name, such as "h.0.attn", or a regular expression
        that all of the name matches; one text is a regular expression; "all-linear" is every linear layer, heads too.
    layers: what a linear layer is. GPT-2 of transformers has others: `layers=(nn.Linear, Conv1D)`.
    frozen: keep parameters with requires_grad=False.

    A weight that stands at two places goes by the first: an embedding that is the head too is no linear layer. A text
    that names no linear layer is an error, which says what their names are.
    """
    every = modules if isinstance(modules, str) else list(modules)
    every = "all-linear" if every == "all_linear" else every
    if not every or not all(isinstance(x, str) and x for x in every):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ValueError(
            f"by_module: modules is {modules!r}; it must be 'all-linear', an expression, or a list of texts"
        )
    first = {id(p): names[0] for names, p in _named(model)}
    named = {
        name: weight
        for name, module in model.named_modules()
        if isinstance(module, layers) and isinstance(weight := getattr(module, "weight", None), Tensor)
        if first[id(weight)] == f"{name}.weight".removeprefix(".")
    }
    found: dict[int, str] = {}
    for text in [every] if isinstance(every, str) else every:
        part = not isinstance(every, str)
        taken = [x for name, x in named.items() if text == "all-linear" or _fits(text, name, part)]
        if not taken:
            other = [x for x, _ in model.named_modules() if x and _fits(text, x, part)]
            also = f"; it names {_some(other)}, which are no linear layers: say layers=" if other else ""
            raise ValueError(
                f"by_module: {text!r} names no linear layer of {type(model).__name__}{also}. "
                f"Its linear layers are {_some([*named]) or 'none'}"
            )
        found = {id(x): text if text == "all-linear" else repr(text) for x in taken} | found
    words = _words(model, EMBEDDINGS, HEADS)
    chosen, rest = Selected(), Selected()
    for name, p in _pairs(model, frozen):
        into = chosen if id(p) in found else rest
        into.append((name, p))
        into.why[name] = found.get(id(p), words[name])
    return chosen, rest


def _fits(text: str, name: str, part: bool) -> bool:
    """Whether a text is a part of a name, where that will do, or an expression of all of it."""
    try:
        return (part and text in name) or re.fullmatch(text, name) is not None
    except re.error as error:
        raise ValueError(f"by_module: {text!r} is no part of a name and not a regular expression: {error}") from error


def _words(model: nn.Module, embeddings: str | None, heads: str | None) -> dict[str, str]:
    """What each parameter is: matrix or convolution; embedding, head, norm, bias, scalar, vector."""
    kinds = {id(p): kind for module in model.modules() for kind, p in _by_layer(module)} if _named(model) else {}
    words: dict[str, str] = {}
    for names, p in _named(model):
        kind = kinds.get(id(p), "")
        if embeddings is not None and (kind == "embedding" or _found(embeddings, names)):
            word = "embedding"
        elif heads is not None and _found(heads, names):
            word = "head"
        elif kind == "norm" or _is_bias(names):
            word = "norm" if kind == "norm" else "bias"
        elif sum(n > 1 for n in p.shape) < 2:
            word = "scalar" if p.numel() == 1 else "vector"
        else:
            word = "convolution" if kind == "convolution" else "matrix"
        words[names[0]] = word
    return words


def _by_layer(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """(kind, parameter) of the layer's own parameters, where it is of a kind that says what they are."""
    for types, kind in (
        (NORMS, "norm"),
        ((nn.Embedding, nn.EmbeddingBag), "embedding"),
        ((_ConvNd,), "convolution"),
    ):
        if isinstance(module, types):
            yield from ((kind, p) for p in module.parameters(False))


def _named(model: nn.Module) -> list[tuple[list[str], Tensor]]:
    """Each tensor once, with all names that it has in the model."""
    if not isinstance(model, nn.Module):
        kind = type(model).__name__
        raise TypeError(f"groups are made from the names in a model: give the nn.Module itself, not {kind}")
    found: dict[int, tuple[list[str], Tensor]] = {}
    for name, p in model.named_parameters(remove_duplicate=False):
        found.setdefault(id(p), ([], p))[0].append(name)
    if not found:
        raise ValueError(f"{type(model).__name__} has no parameters to group")
    return list(found.values())


def _pairs(model: nn.Module, frozen: bool) -> list[Pair]:
    return [(names[0], p) for names, p in _named(model) if frozen or p.requires_grad]


def _filled(*groups: Group) -> list[Group]:
    """Those that hold a parameter: torch refuses to make an optimizer of nothing, and an empty group has no effect."""
    return [group for group in groups if group["params"]]


def _is_bias(names: list[str]) -> bool:
    return any(name.rpartition(".")[2] == "bias" for name in names)


def _found(pattern: str, names: list[str]) -> bool:
    try:
        return any(re.search(pattern, name) for name in names)
    except re.error as error:
        raise ValueError(f"{pattern!r} is not a regular expression: {error}") from error


def _matched(
    model: nn.Module, patterns: Sequence[str], default: Mapping[str, Any] | None
) -> Iterator[tuple[str | None, list[Pair]]]:
    """(pattern, its parameters) in order, and (None, the others) last where there is a default."""
    taken: dict[str, list[Pair]] = {pattern: [] for pattern in patterns}
    left: list[Pair] = []
    for names, p in _named(model):
        first = next((pattern for pattern in patterns if _found(pattern, names)), None)
        (left if first is None else taken[first]).append((names[0], p))
    if unused := [pattern for pattern, pairs in taken.items() if not pairs]:
        raise ValueError(
            f"{unused[0]!r} takes no parameter of {type(model).__name__}: it is found in no name, or an expression "
            f"above it has them. Names are {_some([names[0] for names, _ in _named(model)])}"
        )
    if left and default is None:
        raise ValueError(
            f"no expression is found in {_some([name for name, _ in left], 20)}; add one for them, or a default"
        )
    yield from taken.items()
    if default is not None:
        yield None, left


def _some(names: list[str], most: int = 6) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def _layers(model: nn.Module) -> list[list[Tensor]]:
    """The model's parameters by layer, from the input up."""
    found: list[tuple[str, list[Tensor]]] = []
    seen: set[int] = set()

    def put(kind: str, params: Iterable[Tensor]) -> None:
        new = [p for p in params if id(p) not in seen]
        seen.update(id(p) for p in new)
        if new and found and (kind == "norm" or {kind, found[-1][0]} in ({"embedding"}, {"embedding", "patches"})):
            found[-1] = ("embedding" if kind != "norm" else found[-1][0], [*found[-1][1], *new])
        elif new:
            found.append((kind, new))

    def visit(module: nn.Module, top: bool = False, inside: bool = False) -> None:
        listing, children = isinstance(module, nn.ModuleList | nn.Sequential), list(module.children())
        if not listing and (inside or not children or not (top or _holds_list(module))):
            put(_kind(module), module.parameters())
            return
        put("embedding", module.parameters(False))  # its own, such as a position embedding
        for child in children:
            visit(child, inside=inside or listing)

    _named(model)  # says what is wrong with a model that has none
    visit(model, top=True)
    return [params for _, params in found]


def _holds_list(module: nn.Module) -> bool:
    """A trunk is somewhere within: its items are layers, and what stands around it."""
    return any(isinstance(x, nn.ModuleList | nn.Sequential) for x in module.modules())


def _cuts_patches(module: nn.Module) -> bool:
    """A convolution that sees each input once: its kernel is as wide as its stride."""
    if not isinstance(module, nn.Conv1d | nn.Conv2d | nn.Conv3d):
        return False
    return module.kernel_size == module.stride and max(module.stride) > 1


def _kind(module: nn.Module) -> str:
    holders = [x for x in module.modules() if next(x.parameters(False), None) is not None]
    if holders and all(isinstance(x, nn.Embedding | nn.EmbeddingBag) for x in holders):
        return "embedding"
    if holders and _cuts_patches(holders[0]) and all(isinstance(x, NORMS) for x in holders[1:]):
        return "patches"  # of an image, where embeddings stand beside it; else a layer as any other
    return "norm" if all(p.ndim < 2 for p in module.parameters()) else "layer"
