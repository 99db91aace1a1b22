"""Laws of methods with factors that need no second implementation, and the traps of others."""

import pytest
import torch
from torch import nn

import ravine
from ravine.blocks import Flat, Partition

D = torch.float64


def noise(shape, steps, seed=1):
    made = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, dtype=D, generator=made) for _ in range(steps)]


def walk(opt, gradients):
    """Steps of the one parameter of an optimizer, which begins where it is; the parameter."""
    (p,) = opt.param_groups[0]["params"]
    for g in gradients:
        p.grad = g.to(p.dtype)
        opt.step()
    return p.detach().clone()


def begin(cls, shape, dtype=D, **hyper):
    return cls([nn.Parameter(torch.ones(shape, dtype=dtype))], **hyper)


def near(a, b, tolerance=1e-9):
    torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance)


# Shampoo


@pytest.mark.parametrize("average", [False, True])
@pytest.mark.parametrize("shape", [(4, 4), (3, 5), (6, 2)], ids=str)
def test_a_shampoo_that_forgets_at_once_orthogonalises_as_muon_without_momentum(shape, average):
    (g,) = noise(shape, 1)
    p = walk(begin(ravine.Shampoo, shape, lr=1.0, betas=(0.0, 0.0), average=average, eps=1e-30), [g])
    u, _, v = torch.linalg.svd(g, full_matrices=False)
    near(1 - p, u @ v, 1e-7)


@pytest.mark.parametrize("polynomials, far", [("given", 0.35), ("polar_express", 0.13), ("deepseek", 1e-3)])
@pytest.mark.parametrize("shape", [(4, 4), (3, 5), (6, 2)], ids=str)
def test_muon_without_momentum_is_shampoo_that_forgets_at_once(shape, polynomials, far):
    """Up to how near its polynomials bring singular values to 1; the scale of tall matrices is Muon's own."""
    (g,) = noise(shape, 1)
    shampoo = 1 - walk(begin(ravine.Shampoo, shape, lr=1.0, betas=(0.0, 0.0), eps=1e-30), [g])
    muon = begin(ravine.Muon, shape, lr=1.0, momentum=0.0, weight_decay=0.0, polynomials=polynomials)
    apart = (1 - walk(muon, [g])) / max(1, shape[0] / shape[1]) ** 0.5 - shampoo
    assert torch.linalg.matrix_norm(apart, 2) < far


def test_the_exponent_is_seen_where_singular_values_are_not_one():
    """Of the same gradient n times the step is UVᵀ / √n in all directions; with −1/2 it would be U S⁻¹ Vᵀ / n."""
    g = torch.diag(torch.tensor([4.0, 0.25], dtype=D))
    p = walk(begin(ravine.Shampoo, (2, 2), lr=1.0, eps=0.0), [g, g])
    near(p, torch.ones(2, 2, dtype=D) - (1 + 0.5**0.5) * torch.eye(2, dtype=D))
    p = walk(begin(ravine.Shampoo, (2, 2), lr=1.0, eps=0.0, exponent=0.5), [g])
    near(p, torch.ones(2, 2, dtype=D) - torch.diag(torch.tensor([0.25, 4.0], dtype=D)))


@pytest.mark.parametrize("sides", ["left", "right"])
def test_one_side_of_shampoo_is_the_square_root_of_one_factor(sides):
    (g,) = noise((3, 3), 1)
    p = walk(begin(ravine.Shampoo, (3, 3), lr=1.0, eps=0.0, sides=sides), [g])
    u, _, v = torch.linalg.svd(g)
    near(1 - p, u @ v)


@pytest.mark.parametrize("graft", ["sgd", "adagrad", "rmsprop", "adam"])
def test_a_grafted_step_has_the_direction_of_shampoo_and_the_length_of_the_other(graft):
    (g,) = noise((3, 4), 1)
    hyper = {"lr": 1.0, "betas": (0.0, 0.9), "eps": 1e-3}
    plain = 1 - walk(begin(ravine.Shampoo, (3, 4), **hyper), [g])
    grafted = 1 - walk(begin(ravine.Shampoo, (3, 4), graft=graft, **hyper), [g])
    length = {"sgd": g.norm(), "adagrad": 12**0.5, "adam": 12**0.5, "rmsprop": 120**0.5}[graft]
    near(grafted.norm(), torch.as_tensor(length, dtype=D), 1e-6)
    near(grafted / grafted.norm(), plain / plain.norm())


def test_a_short_direction_is_grafted_too_and_one_of_zeros_stays():
    (g,) = noise((3, 4), 1)
    opt = begin(ravine.Shampoo, (3, 4), lr=1.0, eps=1.0, graft="sgd")
    near(1 - walk(opt, [1e-4 * g]), 1e-4 * g, 1e-7)
    before = opt.param_groups[0]["params"][0].detach().clone()
    assert torch.equal(walk(opt, [0 * g]), before)


@pytest.mark.parametrize("cls", [ravine.Shampoo, ravine.SOAP])
def test_blocks_are_matrices_of_their_own(cls):
    """7 × 5 in blocks of at most 4: four of 4 × 3, three of which zeros fill up."""
    gradients = noise((7, 5), 6)
    hyper = {"lr": 0.1, "eps": 1e-3, "interval": 2}
    whole = walk(begin(cls, (7, 5), blocks=Partition(4), **hyper), gradients)
    for rows in (slice(0, 4), slice(4, 7)):
        for cols in (slice(0, 3), slice(3, 5)):
            own = [g[rows, cols] for g in gradients]
            near(whole[rows, cols], walk(begin(cls, own[0].shape, **hyper), own))


# SOAP


def halfway(**hyper):
    opt = begin(ravine.SOAP, (4, 6), lr=0.1, interval=2, eps=1e-4, **hyper)
    walk(opt, noise((4, 6), 4))
    return opt


@pytest.mark.parametrize("after", [1, 6])
def test_columns_of_the_basis_in_another_order_with_all_that_is_kept_for_them_change_nothing(after):
    opt, other = halfway(), halfway()
    (q,) = other.param_groups[0]["params"]
    state, rows, cols = other.state[q], [2, 0, 3, 1], [5, 3, 0, 1, 4, 2]
    state["QL"], state["QR"] = state["QL"][:, rows].clone(), state["QR"][:, cols].clone()
    for k in ("m", "v"):
        state[k] = state[k][rows][:, cols].clone()
    near(walk(opt, noise((4, 6), after, seed=5)), walk(other, noise((4, 6), after, seed=5)))


def test_a_basis_in_another_order_without_its_second_moments_is_seen():
    opt, other = halfway(), halfway()
    (q,) = other.param_groups[0]["params"]
    other.state[q]["QL"] = other.state[q]["QL"][:, [2, 0, 3, 1]].clone()
    gap = walk(opt, noise((4, 6), 1, seed=5)) - walk(other, noise((4, 6), 1, seed=5))
    assert gap.abs().max() > 1e-3


def test_the_momentum_is_the_same_matrix_before_and_after_the_basis_turns():
    """Its turn is at step 3: the basis moves, and m read in it is the average of gradients still."""
    gradients = noise((4, 6), 3)
    opt = begin(ravine.SOAP, (4, 6), betas=(0.9, 0.9), interval=2)
    (p,) = opt.param_groups[0]["params"]
    bases = []
    for g in gradients:
        walk(opt, [g])
        bases.append(opt.state[p]["QL"].clone())
    assert torch.equal(bases[0], bases[1]) and (bases[1] - bases[2]).abs().max() > 1e-3
    s = opt.state[p]
    near(s["QL"] @ s["m"] @ s["QR"].mT, 0.9 * 0.1 * gradients[1] + 0.1 * gradients[2])


def test_eps_of_a_vector_is_under_the_root():
    near(walk(begin(ravine.Shampoo, (1,), lr=1.0, eps=7.0), [torch.tensor([3.0])]), torch.tensor([0.25], dtype=D))


def test_the_first_step_of_soap_moves_nothing_not_even_by_decay():
    opt = begin(ravine.SOAP, (4, 6), weight_decay=0.5)
    assert (walk(opt, noise((4, 6), 1)) == 1).all()
    (p,) = opt.param_groups[0]["params"]
    assert not opt.state[p]["m"].any() and not opt.state[p]["v"].any() and opt.state[p]["L"].any()


def test_soap_on_a_vector_is_adam_with_eps_hat_a_step_later():
    gradients = noise((5,), 6)
    soap = walk(begin(ravine.SOAP, (5,), lr=0.1, betas=(0.9, 0.8), eps=1e-2, weight_decay=0.0), gradients)
    near(soap, walk(begin(ravine.AdamEps, (5,), lr=0.1, betas=(0.9, 0.8), eps=1e-2), gradients[1:]))


def test_a_first_step_that_is_not_skipped_is_adams():
    gradients = noise((4, 6), 2)
    opt = begin(ravine.SOAP, (4, 6), lr=0.1, betas=(0.9, 0.9), weight_decay=0.0, skip_first=False)
    near(walk(opt, gradients[:1]), walk(begin(ravine.Adam, (4, 6), lr=0.1), gradients[:1]), 1e-6)
    (s,) = opt.state.values()
    near(s["QL"] @ s["m"] @ s["QR"].mT, 0.1 * gradients[0])


def test_soap_without_a_first_gradient_is_adam_in_the_coordinates_themselves():
    gradients = [torch.zeros(3, 3, dtype=D), *noise((3, 3), 6)]
    soap = walk(begin(ravine.SOAP, (3, 3), lr=0.1, eps=1e-2, weight_decay=0.0, interval=100), gradients)
    near(soap, walk(begin(ravine.AdamEps, (3, 3), lr=0.1, betas=(0.95, 0.95), eps=1e-2), gradients[1:]))


def test_the_factors_forget_as_v_does_unless_they_are_told_otherwise():
    first, second = noise((3, 3), 2)
    for hyper, beta in (({}, 0.8), ({"shampoo_beta": 0.3}, 0.3)):
        opt = begin(ravine.SOAP, (3, 3), betas=(0.9, 0.8), **hyper)
        walk(opt, [first, second])
        (state,) = opt.state.values()
        near(state["L"], (1 - beta) * (beta * first @ first.T + second @ second.T))
        near(state["R"], (1 - beta) * (beta * first.T @ first + second.T @ second))


# SPlus


def test_a_step_of_splus_has_one_length_in_all_directions_of_its_basis():
    opt = begin(ravine.SPlus, (3, 5), lr=0.4, weight_decay=0.0)
    walk(opt, noise((3, 5), 3))
    (p,), (state,) = (opt.param_groups[0]["params"], opt.state.values())
    before, left, right = p.detach().clone(), state["QL"].clone(), state["QR"].clone()
    step = left.mT @ (walk(opt, noise((3, 5), 1, seed=3)) - before) @ right
    near(step.abs(), torch.full((3, 5), 0.1, dtype=D))
    near(step.sign(), -(left.mT @ state["m"] @ right).sign())


def test_the_averages_of_splus_are_what_they_say():
    first, second = noise((3, 3), 2)
    opt = begin(ravine.SPlus, (3, 3), betas=(0.7, 0.8))
    walk(opt, [first, second])
    (state,) = opt.state.values()
    near(state["m"], 0.3 * (0.7 * first + second))
    near(state["L"], 0.2 * (0.8 * first @ first.T + second @ second.T))
    near(state["R"], 0.2 * (0.8 * first.T @ first + second.T @ second))


def test_the_bases_of_splus_are_made_at_the_first_step_and_at_multiples():
    opt, made, last = begin(ravine.SPlus, (3, 4), interval=3), [], torch.eye(3, dtype=D)
    for t, g in enumerate(noise((3, 4), 9), 1):
        walk(opt, [g])
        (state,) = opt.state.values()
        if not torch.equal(state["QL"], last):
            made.append(t)
        last = state["QL"].clone()
    assert made == [1, 3, 6, 9]


def test_splus_is_evaluated_at_an_average_of_what_it_was_before_decay():
    opt = begin(ravine.SPlus, (3, 4), lr=0.1, ema_rate=0.5, weight_decay=0.0, nonfinite="skip")
    walk(opt, [torch.full((3, 4), torch.nan)])
    opt.eval()
    (p,) = opt.param_groups[0]["params"]
    assert (p == 1).all()
    opt.train()
    first, second = (walk(opt, [g]) for g in noise((3, 4), 2))
    opt.eval()
    near(p.detach(), first / 3 + 2 * second / 3)


# Kron


@pytest.mark.parametrize("probe", [False, True])
def test_kron_comes_to_whiten_gradients_of_a_known_covariance(probe):
    """Of gradients Cₗ X Cᵣᵀ, X ~ N(0, 1), the step Pₗ g Pᵣ, P = Qᵀ Q, comes to have independent numbers of size 1."""
    made = torch.Generator().manual_seed(3)
    left, right = (torch.randn(n, n, dtype=D, generator=made) + 2 * torch.eye(n, dtype=D) for n in (4, 3))
    hyper = {"momentum": 0.0, "update_probability": (1.0, 1.0), "probe": probe, "damping": 0.0}
    opt = begin(ravine.Kron, (4, 3), lr=0.0, precond_lr=0.2, **hyper)
    gradients = [left @ x @ right.mT for x in noise((4, 3), 500)]
    walk(opt, gradients[:200])
    opt.param_groups[0]["precond_lr"] = 0.02
    walk(opt, gradients[200:])
    (s,) = opt.state.values()
    a, b = (q.mT @ q @ c for q, c in ((s["QL"], left), (s["QR"], right)))
    whole = torch.kron(a @ a.mT, b @ b.mT)
    near(whole, torch.eye(12, dtype=D), 0.25)
    near(s["QL"], torch.triu(s["QL"]), 0)
    near(s["QR"], torch.triu(s["QR"]), 0)


def test_without_a_probe_factors_move_by_the_mean_over_many_probes():
    (g,) = noise((3, 4), 1)
    hyper = {"momentum": 0.0, "precond_lr": 1e-4, "damping": 0.3}

    def factor(**more):
        opt = begin(ravine.Kron, (3, 4), **hyper, **more)
        walk(opt, [g])
        (state,) = opt.state.values()
        q = state["QL"] - torch.eye(3, dtype=D) * state["QL"][0, 0]
        return q / q.norm()

    drawn = sum(factor(probe=True, seed=i) for i in range(100))
    near(drawn / drawn.norm(), factor(), 0.15)


@pytest.mark.parametrize("scale", [1.0, 0.0])
@pytest.mark.parametrize("shape", [(4, 6), (5,)], ids=str)
def test_a_first_gradient_of_zeros_breaks_nothing_and_moves_no_factor(shape, scale):
    """HeavyBall's issue 55: there its factors began at 1 / 0."""
    opt = begin(ravine.Kron, shape, torch.float32, precond_init_scale=scale)
    before = walk(opt, [torch.zeros(shape)] * 3)
    (state,) = opt.state.values()
    assert (before == 1).all() and all((state[k] == state[k].clamp(0, 1)).all() for k in ("QL", "QR") if k in state)
    walk(opt, [torch.zeros(shape)] * 20)
    assert all(state[k].max() == 1 for k in ("QL", "QR") if k in state)
    gradients = noise(shape, 3)
    fresh = begin(ravine.Kron, shape, torch.float32, precond_init_scale=scale, momentum=0.0)
    other = begin(ravine.Kron, shape, torch.float32, precond_init_scale=scale, momentum=0.0)
    walk(other, [torch.zeros(shape)])
    near(walk(fresh, gradients), walk(other, gradients), 0)


def test_a_first_scale_is_that_of_the_first_gradient():
    """Of g everywhere it is |g|^(−1/2), and with it the first direction is 1 before the factors move."""
    for shape, each in (((4, 6), 0.5), ((5,), 1.0)):
        opt = begin(ravine.Kron, shape, lr=1.0, precond_init_scale=0.0, precond_lr=0.0, clip=0.0)
        p = walk(opt, [torch.full(shape, -1e-6)])
        near(p, torch.full(shape, 2.0, dtype=D), 1e-6)
        (state,) = opt.state.values()
        near(state["QL"].max(), torch.tensor(1e3**each, dtype=D), 1e-3)
        near(walk(opt, [torch.full(shape, -1e-6)]), torch.full(shape, 3.0, dtype=D), 1e-6)


def test_the_factors_of_kron_move_at_the_turns_that_a_probability_says():
    opt, made = begin(ravine.Kron, (3, 4), update_probability=(0.5, 0.25), flat_start=4.0, probability_decay=10.0), []
    last = torch.eye(3, dtype=D)
    for t, g in enumerate(noise((3, 4), 14), 1):
        walk(opt, [g])
        (state,) = opt.state.values()
        if not torch.equal(state["QL"], last):
            made.append(t)
        last = state["QL"].clone()
    assert made == [2, 4, 8, 12]


def test_a_side_that_is_too_large_has_a_diagonal():
    def shapes(shape, **hyper):
        opt = begin(ravine.Kron, shape, **hyper)
        walk(opt, noise(shape, 2))
        (state,) = opt.state.values()
        return [state[k].numel() for k in ("QL", "QR") if k in state]

    assert shapes((3, 9)) == [9, 81] and shapes((9, 3), max_size_triangular=8) == [9, 9]
    assert shapes((3, 9), max_size_triangular=9) == [9, 81] and shapes((3, 9), max_size_triangular=2) == [3, 9]
    for save, wanted in {
        "one_diag": ([9, 9], [9, 9], [16, 4]),
        "smart_one_diag": ([9, 9], [9, 9], [16, 16]),
        "all_diag": ([3, 9], [9, 3], [4, 4]),
    }.items():
        assert tuple(shapes(x, memory_save_mode=save) for x in ((3, 9), (9, 3), (4, 4))) == wanted
    assert shapes((3, 9), sides="right") == [81] and shapes((3, 9), sides="left") == [9]


def test_an_embedding_of_a_large_vocabulary_costs_kron_a_diagonal():
    opt = begin(ravine.Kron, (9000, 2), torch.float32)
    walk(opt, noise((9000, 2), 1))
    (state,) = opt.state.values()
    assert sum(x.numel() for k, x in state.items() if k.startswith("Q")) == 9000 + 4


def test_the_step_of_kron_is_clipped_at_its_rms():
    (g,) = noise((4, 6), 1)
    for clip, size in ((1.1, 1.1), (0.25, 0.25)):
        p = walk(begin(ravine.Kron, (4, 6), lr=1.0, precond_init_scale=100.0, clip=clip), [g])
        near((1 - p).square().mean().sqrt(), torch.tensor(size, dtype=D))
    assert (1 - walk(begin(ravine.Kron, (4, 6), lr=1.0, precond_init_scale=100.0, clip=0.0), [g])).norm() > 100


def test_a_probability_that_rises_is_refused():
    with pytest.raises(ValueError, match=r"Kron: update_probability falls from 0\.1 to 0\.5"):
        begin(ravine.Kron, (2, 2), update_probability=(0.1, 0.5))
    with pytest.raises(ValueError, match="must lie in"):
        begin(ravine.Kron, (2, 2), update_probability=(1.0, 0.0))


# KL-Shampoo and KL-SOAP


@pytest.mark.parametrize("cls", [ravine.KLShampoo, ravine.KLSOAP])
def test_the_factors_of_kl_come_to_the_covariance_of_gradients(cls):
    """Of gradients Cₗ X Cᵣᵀ, X ~ N(0, 1), L ⊗ R comes to Cₗ Cₗᵀ ⊗ Cᵣ Cᵣᵀ: each factor knows the size of the other, as
    Shampoo's L, which is tr(Cᵣ Cᵣᵀ) times as large, does not."""
    made = torch.Generator().manual_seed(3)
    left, right = (torch.randn(n, n, dtype=D, generator=made) + 2 * torch.eye(n, dtype=D) for n in (4, 3))
    opt = begin(cls, (4, 3), lr=0.0, betas=(0.9, 0.9), interval=1, max_root=0.0)
    gradients = [left @ x @ right.mT for x in noise((4, 3), 500)]
    walk(opt, gradients[:100])
    opt.param_groups[0]["betas"] = (0.9, 0.995)
    walk(opt, gradients[100:])
    (s,) = opt.state.values()
    true = torch.kron(left @ left.mT, right @ right.mT)
    assert (torch.kron(s["L"], s["R"]) - true).norm() < 0.2 * true.norm()
    for factor, scaled in ((s["L"], s["QL"]), (s["R"], s["QR"])):
        inverse = scaled @ scaled.mT  # of the basis and its own eigenvalues
        assert (inverse @ factor - torch.eye(len(factor), dtype=D)).norm() < 0.3


def test_klshampoo_divides_by_the_root_of_both_factors():
    """After one gradient Λ is `initial`, so the step of the next is its own over that, and ε beside it."""
    first, second = noise((4, 4), 2)
    p = walk(begin(ravine.KLShampoo, (4, 4), lr=1.0, betas=(0.0, 0.9), eps=0.5, weight_decay=0.0), [first, second])
    near(1 - p, second / (0.1 + 0.5))
    for sides in ("left", "right"):
        one = begin(ravine.KLShampoo, (4, 4), lr=1.0, betas=(0.0, 0.9), sides=sides, weight_decay=0.0)
        near(1 - walk(one, [first, second]), second / 0.1**0.5, 1e-6)


def test_an_inverse_root_of_kl_is_cut_where_gradients_vanish():
    """At β₂ = 0.5 a gradient of zeros halves the eigenvalues; 1 / √Λ stops at 10 for few rows, and at their count."""
    for most, longest in ((4000.0, 10.0), (0.0, (0.1 * 0.5**20) ** -0.5)):
        opt = begin(ravine.KLShampoo, (4, 3), betas=(0.0, 0.5), max_root=most)
        walk(opt, [*noise((4, 3), 1), *[torch.zeros(4, 3)] * 20])
        (s,) = opt.state.values()
        near(s["QL"].norm(dim=0), torch.full((4,), longest, dtype=D))
    opt = begin(ravine.KLShampoo, (16, 16), betas=(0.0, 0.5), max_root=12.0)
    walk(opt, [*noise((16, 16), 1), *[torch.zeros(16, 16)] * 20])
    near(next(iter(opt.state.values()))["QR"].norm(dim=0), torch.full((16,), 12.0, dtype=D))


@pytest.mark.parametrize("cls", [ravine.KLShampoo, ravine.KLSOAP])
def test_columns_of_a_kl_basis_in_another_order_with_all_that_is_kept_change_nothing_until_its_turn(cls):
    opt, other = (begin(cls, (4, 6), lr=0.1, interval=100, eps=1e-4) for _ in range(2))
    for x in (opt, other):
        walk(x, noise((4, 6), 4))
    (q,) = other.param_groups[0]["params"]
    state, rows, cols = other.state[q], [2, 0, 3, 1], [5, 3, 0, 1, 4, 2]
    state["QL"], state["QR"] = state["QL"][:, rows].clone(), state["QR"][:, cols].clone()
    if cls is ravine.KLSOAP:
        for k in ("m", "v"):
            state[k] = state[k][rows][:, cols].clone()
    near(walk(opt, noise((4, 6), 6, seed=5)), walk(other, noise((4, 6), 6, seed=5)))


def test_the_momentum_of_klsoap_is_the_same_matrix_before_and_after_the_basis_turns():
    gradients = noise((4, 6), 3)
    opt = begin(ravine.KLSOAP, (4, 6), betas=(0.9, 0.9), interval=2)
    walk(opt, gradients)
    (s,) = opt.state.values()
    left, right = (s[k] / s[k].norm(dim=0) for k in ("QL", "QR"))
    near(left @ s["m"] @ right.mT, 0.9 * 0.1 * gradients[1] + 0.1 * gradients[2])


# the full matrix of AdaGrad


def test_turned_gradients_of_full_adagrad_make_a_turned_path():
    gradients, q = noise((6,), 9), torch.linalg.qr(noise((6, 6), 1)[0]).Q
    one, other = (walk(begin(ravine.FullAdagrad, (6,), lr=0.1), x) - 1 for x in (gradients, [q @ g for g in gradients]))
    near(q @ one, other, 1e-6)
    one, other = (walk(begin(ravine.Adagrad, (6,), lr=0.1), x) - 1 for x in (gradients, [q @ g for g in gradients]))
    assert (q @ one - other).abs().max() > 0.01


def test_full_adagrad_is_adagrad_where_weights_have_their_gradients_in_turn():
    gradients = [
        x * row for x, row in zip(noise((3, 2), 12), 2 * [*torch.eye(6, dtype=D).reshape(6, 3, 2)], strict=True)
    ]
    full = walk(begin(ravine.FullAdagrad, (3, 2), lr=0.1), gradients)
    near(full, walk(begin(ravine.Adagrad, (3, 2), lr=0.1), gradients))


def test_its_eps_is_beside_the_root_or_in_it():
    g = torch.tensor([3.0, 4.0], dtype=D)
    for inside, below in ((False, 5 + 11.0), (True, 6.0)):
        near(1 - walk(begin(ravine.FullAdagrad, (2,), lr=1.0, eps=11.0, eps_inside=inside), [g]), g / below)


def test_rounding_in_the_null_space_is_divided_by_nothing_small():
    """One gradient says one direction: the step is g / ‖g‖. An eigenvalue below 0 would make it as long as 1e3."""
    (g,) = noise((90,), 1)
    for scale in (1e-6, 1.0, 1e6):
        p = walk(begin(ravine.FullAdagrad, (90,), torch.float32, lr=1.0), [scale * g])
        near(1 - p, (g / g.norm()).float(), 1e-3)


def test_flat_columns_have_a_matrix_of_their_own():
    gradients = noise((3, 5), 4)
    whole = walk(begin(ravine.FullAdagrad, (3, 5), lr=0.1, blocks=Flat(6)), gradients).flatten()
    for cut in (slice(0, 5), slice(5, 10), slice(10, 15)):
        own = walk(begin(ravine.FullAdagrad, (5,), lr=0.1), [g.flatten()[cut] for g in gradients])
        near(whole[cut], own)
    gradients = noise((5,), 4)
    cut = walk(begin(ravine.FullAdagrad, (5,), lr=0.1, blocks=Flat(3)), gradients)
    near(cut[:3], walk(begin(ravine.FullAdagrad, (3,), lr=0.1), [g[:3] for g in gradients]))
    gradients = noise((7, 2), 4)  # 14 numbers in columns of 5, the last of 4 and a zero
    whole = walk(begin(ravine.FullAdagrad, (7, 2), lr=0.1, blocks=Flat(5)), gradients).flatten()
    near(whole[10:], walk(begin(ravine.FullAdagrad, (4,), lr=0.1), [g.flatten()[10:] for g in gradients]))


def test_full_adagrad_takes_flat_blocks_only():
    with pytest.raises(TypeError, match="must be a Flat"):
        begin(ravine.FullAdagrad, (4, 4), blocks=Partition(2))
    with pytest.raises(ValueError, match="Flat: n is 0"):
        Flat(0)


# all


def often(cls):
    """Every second step."""
    return {"update_probability": (0.5, 0.5)} if cls is ravine.Kron else {"interval": 2}


BOTH = pytest.mark.parametrize("cls", [ravine.Shampoo, ravine.SOAP])
EVERY = pytest.mark.parametrize(
    "cls", [ravine.Shampoo, ravine.SOAP, ravine.SPlus, ravine.Kron, ravine.KLShampoo, ravine.KLSOAP]
)


@BOTH
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_factors_of_low_weights_are_float32(cls, dtype):
    opt = begin(cls, (4, 6), dtype, interval=2, eps=1e-2)
    p = walk(opt, noise((4, 6), 5))
    (state,) = opt.state.values()
    factors = [state[k] for k in ("L", "R", "PL", "PR", "QL", "QR") if k in state]
    assert len(factors) == 4 and all(x.dtype == torch.float32 for x in factors)
    exact = walk(begin(cls, (4, 6), D, interval=2, eps=1e-2), [g.to(dtype) for g in noise((4, 6), 5)])
    near(p.double(), exact, 0.02)


@EVERY
def test_a_gradient_that_is_not_finite_is_skipped_before_any_eigenvalue(cls):
    good = noise((4, 6), 4)
    bad = good[0].clone()
    bad[1, 2] = torch.nan
    a, b = (begin(cls, (4, 6), nonfinite="skip", **often(cls)) for _ in range(2))
    near(walk(a, [*good[:2], bad, *good[2:]]), walk(b, good), 0)
    assert a.skipped == 1


@EVERY
def test_zeros_and_nan_break_nothing(cls):
    opt = begin(cls, (4, 6), **often(cls))
    assert walk(opt, [torch.zeros(4, 6)] * 3).isfinite().all()
    assert walk(opt, [torch.full((4, 6), torch.nan)] * 2).isnan().all()


@BOTH
@pytest.mark.parametrize("scale", [1e-12, 1e12])
def test_gradients_of_any_size_make_the_same_steps_in_float32(cls, scale):
    gradients = noise((5, 5), 4)
    hyper = {"lr": 0.1, "eps": 0.0, "interval": 2}
    one = walk(begin(cls, (5, 5), torch.float32, **hyper), gradients)
    other = walk(begin(cls, (5, 5), torch.float32, **hyper), [scale * g for g in gradients])
    near(one, other, 1e-3)


@BOTH
def test_turns_may_be_staggered_and_released(cls):
    def walked(release):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 2))
        opt = cls(model.parameters(), interval=3, stagger=True)
        if release:
            ravine.release(model, opt)
        for x in noise((8, 4), 7):
            model(x.float()).square().sum().backward()
            if not release:
                opt.step()
                opt.zero_grad()
        return [p.detach() for p in model.parameters()]

    torch.testing.assert_close(walked(False), walked(True), rtol=0, atol=0)
