"""Every parameter goes into exactly one group, by its name or shape, and optimizers take the groups as they are."""

import re

import pytest
import torch
from torch import nn

import ravine
from ravine.groups import by_module, by_name, layer_decay, lora_plus, matrices, no_decay, split


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm = nn.LayerNorm((2, 4))  # whose weight has two sizes
        self.mlp = nn.Sequential(nn.Linear(4, 8), nn.GELU(), nn.Linear(8, 4))


class Transformer(nn.Module):
    """As GPT: two embeddings, blocks, a norm, and a head whose weight is the embedding's."""

    def __init__(self):
        super().__init__()
        self.wte, self.wpe = nn.Embedding(10, 4), nn.Embedding(6, 4)
        self.blocks = nn.ModuleList([Block(), Block()])
        self.norm = nn.LayerNorm(4)
        self.lm_head = nn.Linear(4, 10, bias=False)
        self.lm_head.weight = self.wte.weight


def names(group):
    return [name for name, _ in group["params"]]


def all_names(model):
    return [name for name, _ in model.named_parameters()]


MAKERS = {
    "no_decay": lambda m, **k: no_decay(m, 0.1, **k),
    "layer_decay": lambda m, **k: layer_decay(m, 0.1, 0.5, **k),
    "layer_decay with weight decay": lambda m, **k: layer_decay(m, 0.1, 0.5, weight_decay=0.1, **k),
    "lora_plus": lambda m, **k: lora_plus(m, 0.1, b=r"mlp[.]2", **{"frozen": True} | k),
    "lora_plus with weight decay": lambda m, **k: lora_plus(m, 0.1, b="mlp", weight_decay=0.1, **{"frozen": True} | k),
    "by_name": lambda m, **k: by_name(m, {"bias": {"lr": 0.1}, "norm": {}}, default={"lr": 0.2}, **k),
    "split": lambda m, **k: [{"params": part} for part in split(m, **k)],
}
every = pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS.keys())


@every
def test_each_parameter_is_in_one_group_and_a_tied_one_too(make):
    model = Transformer()
    found = [x for group in make(model) for x in group["params"]]
    assert sorted(name for name, _ in found) == sorted(all_names(model))
    assert {id(p) for _, p in found} == {id(p) for p in model.parameters()}
    assert all(group["params"] for group in make(model))


@every
@pytest.mark.parametrize("optimizer", [ravine.Adam, torch.optim.AdamW])
def test_optimizers_take_them_and_know_the_names(make, optimizer):
    model = Transformer()
    groups = make(model)
    opt = optimizer([dict(group) for group in groups], lr=0.5)  # torch takes the dicts themselves, and changes them
    assert [group["param_names"] for group in opt.param_groups] == [names(group) for group in groups]
    for group, given in zip(opt.param_groups, groups, strict=True):
        assert all(group[k] == x for k, x in given.items() if k != "params")
        assert group["lr"] == given.get("lr", 0.5)  # nothing comes from another group
    before = [p.detach().clone() for p in model.parameters()]
    for p in model.parameters():
        p.grad = torch.ones_like(p)
    opt.step()
    assert not any(torch.equal(p, q) for p, q in zip(model.parameters(), before, strict=True))


@every
def test_frozen_parameters_are_kept_as_torch_keeps_them_or_left_out(make):
    model = Transformer()
    model.wte.weight.requires_grad_(False)
    assert "wte.weight" in [name for group in make(model) for name in names(group)]
    left = [name for group in make(model, frozen=False) for name in names(group)]
    assert sorted(left) == sorted(set(all_names(model)) - {"wte.weight"})


@every
def test_what_is_no_model_is_refused(make):
    with pytest.raises(TypeError, match=r"the nn\.Module itself, not generator"):
        make(nn.Linear(2, 2).parameters())
    with pytest.raises(ValueError, match="ReLU has no parameters"):
        make(nn.ReLU())


def test_no_decay_spares_norms_biases_and_what_is_named():
    decays, spared = no_decay(Transformer(), 0.1, also="^wpe")
    assert (decays["weight_decay"], spared["weight_decay"]) == (0.1, 0.0)
    mlp = ["mlp.0.weight", "mlp.2.weight"]
    assert names(decays) == ["wte.weight", *(f"blocks.{i}.{name}" for i in (0, 1) for name in mlp)]
    assert "blocks.0.norm.weight" in names(spared) and "wpe.weight" in names(spared)
    convolutions = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.InstanceNorm2d(2, affine=True))
    assert names(no_decay(convolutions, 0.1)[0]) == ["0.weight"]


def test_a_tied_weight_is_found_by_any_of_its_names():
    decays, spared = no_decay(Transformer(), 0.1, also="lm_head")
    assert "wte.weight" in names(spared) and "wte.weight" not in names(decays)
    head, _ = by_name(Transformer(), {"^lm_head": {}}, default={})
    assert names(head) == ["wte.weight"]


def test_layer_decay_goes_from_the_input_up():
    groups = layer_decay(Transformer(), lr=1.0, decay=0.5)
    assert [group["lr"] for group in groups] == [0.25, 0.5, 1.0]
    assert names(groups[0]) == ["wte.weight", "wpe.weight"]  # embeddings that follow each other are one layer
    assert all(name.startswith("blocks.0") for name in names(groups[1]))
    assert names(groups[2])[-2:] == ["norm.weight", "norm.bias"]  # and a norm goes with what it follows


class Patches(nn.Module):
    """As timm's PatchEmbed."""

    def __init__(self, norm=False):
        super().__init__()
        self.proj = nn.Conv2d(3, 4, 2, 2)
        self.norm = nn.LayerNorm(4) if norm else nn.Identity()


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm1, self.attn, self.mlp = nn.LayerNorm(4), nn.Linear(4, 4), nn.Linear(4, 4)


class Vision(nn.Module):
    """The names and the order of timm's VisionTransformer."""

    def __init__(self, norm=False):
        super().__init__()
        self.cls_token = nn.Parameter(torch.zeros(1, 1, 4))
        self.pos_embed = nn.Parameter(torch.zeros(1, 5, 4))
        self.patch_embed = Patches(norm)
        self.blocks = nn.Sequential(Attention(), Attention())
        self.norm, self.head = nn.LayerNorm(4), nn.Linear(4, 2)


class Encoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.pos_embedding = nn.Parameter(torch.zeros(1, 5, 4))
        self.layers = nn.Sequential(Attention(), Attention())
        self.ln = nn.LayerNorm(4)


class Torchvision(nn.Module):
    """Those of torchvision's, whose tokens, patches and positions stand apart."""

    def __init__(self):
        super().__init__()
        self.conv_proj = nn.Conv2d(3, 4, 2, 2)
        self.class_token = nn.Parameter(torch.zeros(1, 1, 4))
        self.encoder = Encoder()
        self.heads = nn.Sequential(nn.Linear(4, 2))


@pytest.mark.parametrize("norm", [False, True])
def test_the_input_of_a_vision_transformer_is_one_layer(norm):
    """timm numbers tokens, positions and patches 0, block i i + 1, and its norm goes with the last of them."""
    groups = layer_decay(Vision(norm), lr=1.0, decay=0.5)
    assert [group["lr"] for group in groups] == [0.125, 0.25, 0.5, 1.0]
    begins = [{name.split(".")[0] if "blocks" not in name else name[:8] for name in names(group)} for group in groups]
    assert begins == [{"cls_token", "pos_embed", "patch_embed"}, {"blocks.0"}, {"blocks.1", "norm"}, {"head"}]


def test_so_it_is_where_positions_belong_to_the_encoder():
    groups = layer_decay(Torchvision(), lr=1.0, decay=0.5)
    assert [group["lr"] for group in groups] == [0.125, 0.25, 0.5, 1.0]
    assert {name.split(".")[-1] for name in names(groups[0])} == {"class_token", "weight", "bias", "pos_embedding"}


def test_convolutions_that_cut_patches_are_layers_of_their_own_elsewhere():
    model = nn.Sequential(nn.Conv2d(3, 4, 2, 2), nn.ReLU(), nn.Conv2d(4, 4, 2, 2), nn.ReLU(), nn.Conv2d(4, 2, 2, 2))
    assert [group["lr"] for group in layer_decay(model, lr=1.0, decay=0.5)] == [0.25, 0.5, 1.0]


def test_layer_decay_by_expressions():
    layers = ["^w[tp]e", r"blocks\.0", r"blocks\.1", "^norm"]
    groups = layer_decay(Transformer(), 1.0, 0.1, layers=layers)
    assert [group["lr"] for group in groups] == pytest.approx([1e-3, 1e-2, 1e-1, 1.0])
    with pytest.raises(ValueError, match=r"found in norm\.weight, norm\.bias; add one"):
        layer_decay(Transformer(), 1.0, 0.1, layers=layers[:3])


def test_layer_decay_beside_weight_decay():
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1))
    groups = layer_decay(model, 1.0, 0.5, weight_decay=0.1)
    assert [(names(group), group["lr"], group["weight_decay"]) for group in groups] == [
        (["0.weight"], 0.5, 0.1),
        (["0.bias"], 0.5, 0.0),
        (["1.weight"], 1.0, 0.1),
        (["1.bias"], 1.0, 0.0),
    ]


def test_layers_of_a_network_of_stages():
    def stage():
        return nn.Sequential(nn.Sequential(nn.Conv2d(2, 2, 1), nn.BatchNorm2d(2)), nn.Conv2d(2, 2, 1))

    model = nn.ModuleDict({"stem": nn.Conv2d(1, 2, 1), "bn": nn.BatchNorm2d(2), "one": stage(), "two": stage()})
    groups = layer_decay(model, 1.0, 0.5)
    assert [sorted({name.rpartition(".")[0] for name in names(group)}) for group in groups] == [
        ["bn", "stem"],
        ["one.0.0", "one.0.1"],
        ["one.1"],
        ["two.0.0", "two.0.1"],
        ["two.1"],
    ]
    lone = nn.Linear(2, 2)
    assert [(names(group), group["lr"]) for group in layer_decay(lone, 1.0, 0.5)] == [(["weight", "bias"], 1.0)]


@pytest.mark.parametrize("decay", [0.0, -0.5, float("nan")])
def test_layer_decay_needs_a_factor(decay):
    with pytest.raises(ValueError, match=r"decay is .*; it must be above 0"):
        layer_decay(Transformer(), 1.0, decay)


class Adapted(nn.Module):
    """A layer with factors called as in PEFT, torchtune or kohya's scripts, and a norm that is trained beside them."""

    def __init__(self, a, b):
        super().__init__()
        self.base, self.norm = nn.Linear(4, 4), nn.LayerNorm(4)
        self.base.requires_grad_(False)
        if a.startswith("lora_embedding"):
            for name in (a, b):
                self.register_module(name, nn.ParameterDict({"default": torch.zeros(2, 4)}))
        else:
            for name in (a, b):
                self.add_module(name, nn.ModuleDict({"default": nn.Linear(2, 2, bias=False)}))


KINDS = [("lora_A", "lora_B"), ("lora_a", "lora_b"), ("lora_down", "lora_up")]
KINDS += [("lora_embedding_A", "lora_embedding_B")]


@pytest.mark.parametrize(("a", "b"), KINDS, ids=[b for _, b in KINDS])
def test_b_learns_faster_than_a(a, b):
    model = nn.Sequential(Adapted(a, b), Adapted(a, b))
    slow, fast = lora_plus(model, lr=1e-3)
    assert (slow["lr"], fast["lr"]) == (1e-3, 16e-3)
    assert all(f".{a}." in name for name in names(slow)) and len(names(slow)) == 2
    assert sum(f".{b}." in name for name in names(fast)) == 2 and sum(".norm." in name for name in names(fast)) == 4
    assert len(names(fast)) == 6  # what is adapted is frozen, and in none
    four = lora_plus(model, 1e-3, 4.0, weight_decay=0.1, frozen=True)
    rates = [(group["lr"], group["weight_decay"]) for group in four]
    assert rates == [(1e-3, 0.1), (4e-3, 0.1), (4e-3, 0.0)]
    assert sorted(x for group in four for x in names(group)) == sorted(all_names(model))
    assert names(four[1]) == [name for name in all_names(model) if f".{b}." in name]


def test_lora_plus_says_what_is_wrong():
    with pytest.raises(
        ValueError, match=r"lora_plus: .* is found in no name of Transformer, whose names are wte.weight"
    ):
        lora_plus(Transformer(), 1e-3)
    for ratio in (0.0, -1.0):
        with pytest.raises(ValueError, match=f"lora_plus: ratio is {ratio}; it must be above 0"):
            lora_plus(Transformer(), 1e-3, ratio, b="mlp")


def test_the_first_expression_that_is_found_has_the_name():
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1))
    first, second = by_name(model, {"bias": {"weight_decay": 0.0}, "^[01]": {"lr": 0.1}})
    assert (names(first), names(second)) == (["0.bias", "1.bias"], ["0.weight", "1.weight"])
    assert "lr" not in first and "weight_decay" not in second  # no group takes anything from another


def test_what_no_expression_finds_is_an_error_that_lists_it():
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1))
    with pytest.raises(ValueError, match=r"no expression is found in 0\.weight, 1\.weight; add one for them, or a def"):
        by_name(model, {"bias": {}})
    with pytest.raises(ValueError, match=r"'biass' takes no parameter of Sequential: .* Names are 0\.weight, 0\.bias"):
        by_name(model, {"biass": {}}, default={})
    with pytest.raises(ValueError, match="or an expression above it has them"):
        by_name(model, {"": {}, "bias": {}})
    with pytest.raises(ValueError, match=r"'\(' is not a regular expression"):
        by_name(model, {"(": {}})
    many = nn.Sequential(*(nn.Linear(1, 1) for _ in range(30)))
    with pytest.raises(ValueError, match="and 10 more; add one"):
        by_name(many, {"bias": {}})


def test_split_keeps_embeddings_heads_and_vectors_apart():
    model = Transformer()
    inner = [f"blocks.{i}.mlp.{k}.weight" for i in (0, 1) for k in (0, 2)]
    found, rest = split(model)
    assert [name for name, _ in found] == inner
    assert {"wte.weight", "wpe.weight"} <= {name for name, _ in rest}
    assert {id(p) for _, p in matrices(model)} == {id(p) for _, p in found}
    with_embeddings = [name for name, _ in matrices(model, embeddings=None, heads=None)]
    assert {"wte.weight", "wpe.weight"} <= set(with_embeddings)
    assert "wte.weight" not in [name for name, _ in matrices(model, embeddings=None)]  # tied to the head


def test_split_says_why_a_parameter_is_where_it_is():
    model = Transformer()
    model.scale = nn.Parameter(torch.ones(1, 1))
    model.steps = nn.Parameter(torch.ones(1, 4))
    model.bias = nn.Parameter(torch.ones(3, 4))  # as of attention, by head
    found, rest = split(model)
    assert found.why == {f"blocks.{i}.mlp.{k}.weight": "matrix" for i in (0, 1) for k in (0, 2)}
    said = {
        **{"wte.weight": "embedding", "wpe.weight": "embedding", "norm.weight": "norm", "norm.bias": "norm"},
        **{"blocks.0.norm.weight": "norm", "blocks.0.mlp.0.bias": "bias"},
        **{"scale": "scalar", "steps": "vector", "bias": "bias"},
    }
    assert {k: rest.why[k] for k in said} == said
    assert [*rest.why] == [name for name, _ in rest]
    assert split(nn.ModuleDict({"head": nn.Linear(2, 3)}))[1].why == {"head.weight": "head", "head.bias": "head"}


def test_kernels_of_convolutions_are_matrices_unless_told():
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ConvTranspose1d(2, 2, 3), nn.Linear(2, 2))
    every = {"0.weight": "convolution", "1.weight": "convolution", "2.weight": "matrix"}
    assert matrices(model, heads=None).why == every
    found, rest = split(model, convolutions=False, heads=None)
    assert found.why == {"2.weight": "matrix"} and rest.why["0.weight"] == "convolution"


@pytest.mark.parametrize("prefix", ["module", "_orig_mod"])
def test_a_wrapped_model_splits_as_the_model_itself(prefix):
    class Wrapped(nn.Module):
        """As DistributedDataParallel and torch.compile name what they hold."""

        def __init__(self, model):
            super().__init__()
            setattr(self, prefix, model)

    for inner, outer in zip(split(Transformer()), split(Wrapped(Transformer())), strict=True):
        assert {f"{prefix}.{name}": word for name, word in inner.why.items()} == outer.why


def test_a_matrix_has_two_sizes_above_one():
    model = nn.ModuleDict({"one": nn.Linear(5, 1), "conv": nn.Conv2d(1, 2, 3), "square": nn.Linear(2, 2)})
    assert [name for name, _ in matrices(model, heads=None)] == ["conv.weight", "square.weight"]


def test_the_last_layer_is_the_head_where_no_name_says_which_is():
    def words(model, **options):
        found, rest = split(model, **options)
        return {name: word for name, word in {**found.why, **rest.why}.items() if "bias" not in name}

    plain = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2), nn.Softmax(1))
    assert words(plain) == {"0.weight": "matrix", "2.weight": "matrix", "4.weight": "last layer"}
    assert split(plain)[1].why["4.bias"] == "last layer"
    assert words(plain, heads=None)["4.weight"] == words(plain, heads=r"^0[.]")["4.weight"] == "matrix"
    assert words(nn.Sequential(nn.Linear(3, 4), nn.ReLU()))["0.weight"] == "matrix"  # the only one
    normed = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 4), nn.LayerNorm(4))  # another weight comes after
    assert words(normed)["1.weight"] == "matrix"
    named = nn.ModuleDict({"head": nn.Linear(4, 2), "body": nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))})
    assert words(named) == {"head.weight": "head", "body.0.weight": "matrix", "body.1.weight": "matrix"}
    kernels = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Conv2d(2, 2, 3))
    assert words(kernels) == {"0.weight": "convolution", "1.weight": "convolution"}
    tied = nn.Sequential(nn.Embedding(5, 4), nn.Linear(4, 4), nn.Linear(4, 5, bias=False))
    tied[2].weight = tied[0].weight
    assert words(tied) == {"0.weight": "embedding", "1.weight": "matrix"}


# layers by their names, as Hugging Face's Trainer chooses them


def chosen(model, modules, **more):
    return [name for name, _ in by_module(model, modules, **more)[0]]


def trainers(model, modules):
    """What transformers 5.24 chooses, written from its documentation of optim_target_modules."""
    found = []
    for name, module in model.named_modules():
        if isinstance(modules, str):
            fits = modules == "all-linear" or re.fullmatch(modules, name)
        else:
            fits = any(x in name or re.fullmatch(x, name) for x in modules)
        if isinstance(module, nn.Linear) and fits:
            found.append(f"{name}.weight")
    return [name for name in all_names(model) if name in found]


@pytest.mark.parametrize(
    ("modules", "expected"),
    [
        (["mlp"], 4),
        (["blocks.0.mlp.0", "blocks.1"], 3),
        ([r"blocks\.\d\.mlp\.2"], 2),
        (r".*mlp\.0", 2),
        ("mlp", 0),
        ("all-linear", 4),
        ("all_linear", 4),
    ],
    ids=str,
)
def test_layers_are_those_that_trainer_chooses(modules, expected):
    model = Transformer()
    if not expected:  # one text is an expression of all of the name, and Trainer has an error too
        with pytest.raises(ValueError, match="'mlp' names no linear layer of Transformer"):
            chosen(model, modules)
        assert not trainers(model, modules)
        return
    assert chosen(model, modules) == trainers(model, "all-linear" if modules == "all_linear" else modules)
    assert len(chosen(model, modules)) == expected


def test_layers_by_name_leave_nothing_out_and_say_why():
    model = Transformer()
    inside, rest = by_module(model, ["blocks.0", "mlp"])
    assert sorted(name for name, _ in [*inside, *rest]) == sorted(all_names(model))
    assert inside.why == {
        "blocks.0.mlp.0.weight": "'blocks.0'",
        "blocks.0.mlp.2.weight": "'blocks.0'",
        "blocks.1.mlp.0.weight": "'mlp'",
        "blocks.1.mlp.2.weight": "'mlp'",
    }
    assert rest.why["wte.weight"] == "embedding" and rest.why["blocks.0.mlp.0.bias"] == "bias"
    model.blocks[0].mlp[0].weight.requires_grad_(False)
    assert len(chosen(model, ["mlp"], frozen=False)) == 3 and len(chosen(model, ["mlp"])) == 4


def test_other_kinds_of_layers_may_be_linear_ones():
    model = nn.Sequential(nn.Conv1d(2, 3, 1), nn.Linear(3, 2))
    assert chosen(model, "all-linear", layers=(nn.Linear, nn.Conv1d)) == ["0.weight", "1.weight"]
    assert chosen(nn.Linear(3, 2), "all-linear") == ["weight"]


@pytest.mark.parametrize(
    ("modules", "said"),
    [
        (["mlp", "attn"], r"'attn' names no linear layer of Transformer\. Its linear layers are blocks\.0\.mlp\.0, "),
        (["norm"], r"it names blocks\.0\.norm, .*, which are no linear layers: say layers="),
        (["(mlp"], r"'\(mlp' is no part of a name and not a regular expression"),
        ([], r"modules is \[\]; it must be 'all-linear', an expression, or a list of texts"),
        ("", "modules is ''; it must be"),
        ([3], r"modules is \[3\]; it must be"),
    ],
    ids=str,
)
def test_what_names_no_layer_is_one_error(modules, said):
    with pytest.raises(ValueError, match=said):
        chosen(Transformer(), modules)


def test_galore_on_named_layers_beside_adamw():
    model = Transformer()
    inside, rest = by_module(model, ["mlp"])
    opt = ravine.Routed({ravine.GaLore: {"params": inside, "rank": 2}, ravine.AdamW: rest}, lr=0.1)
    for p in model.parameters():
        p.grad = torch.ones_like(p)
    opt.step()
    assert opt.state[model.blocks[0].mlp[0].weight]["m"].shape == (8, 2)
    assert opt.state[model.wte.weight]["exp_avg"].shape == (10, 4)
    assert "'mlp'" in str(opt.routes())
