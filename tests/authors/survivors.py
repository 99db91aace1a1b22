"""Why a mutant of a rule may live: what it changes makes no difference that a test could see."""

ZERO = "equivalent: the state begins at 0, so its factor does not count at first"
FIRST = "equivalent: β₂ is 0 at the first step, which forgets how it began"
SCALE = "equivalent: only its ratio to its own mean counts, which no factor and no sign changes"
GUARD = "equivalent: what the guard replaces is multiplied by 0"
ABOVE = "equivalent: what is asked of it is whether it is below 1"
SIGN = "equivalent: m is seen by its sign alone"
MEAN = "equivalent: with μ = 1 the average is the new point either way"
RATIO = "equivalent: d is made of r / ‖s‖, which no factor of s changes"
COUNT = "equivalent: it counts, and no whole number lies between"
TINY = "below what a walk in float64 can see"
SQUARE = "equivalent: the matrix is square"

EXPLAINED: dict[tuple[str, str, str], str] = {  # (file, line of code, change), or "" for every change of the line
    ("adafactor", "s.R, s.C = per_row(0.0, positive=True), per_col(0.0, positive=True)", "0.0 → 0.01"): FIRST,
    ("adafactor", "s.R, s.C = per_row(0.0, positive=True), per_col(0.0, positive=True)", "0.0 → 0.01, place 2"): FIRST,
    ("adafactor", "eps1 = 1e-30 if paper else precision(p)", "1e-30 → 1.01e-30"): TINY,
    ("adamp", "by_row = total(where(row_cos < delta / sqrt(cols(p)), 0, 1)) <= 0", "0 → 0.01, place 2"): COUNT,
    ("adamp", "by_row = total(where(row_cos < delta / sqrt(cols(p)), 0, 1)) <= 0", "1 → 1.01"): COUNT,
    ("ademamix", "x = minimum(t / self.beta3_warmup, 1)", "1 → 1.01"): "equivalent: x counts only where t < T",
    (
        "simplified_ademamix",
        "x = minimum(t / self.beta1_warmup, 1)",
        "1 → 1.01",
    ): "equivalent: x counts only where t < T",
    ("adamuon", "s.v = b2 * s.v + (1 - b2) * o**2", "1 → 1.01"): SCALE,
    ("adamuon", "s.v = b2 * s.v + (1 - b2) * o**2", "− → + before `b2`"): SCALE,
    ("apollo", "return sqrt(lengths(d**2)) / (sqrt(lengths(h**2)) + 1e-8)", "1e-08 → 1.0100000000000001e-08"): TINY,
    ("asgd", "s.eta, s.mu, s.ax = number(self.lr), number(1.0), zeros(p)", "1.0 → 1.01"): ABOVE,
    ("full_adagrad", "if not a.shape[-1]:", "−1 → +"): SQUARE,
    (
        "full_adagrad",
        "w = torch.maximum(w, a.shape[-1] * torch.finfo(a.dtype).eps * w[..., -1:])",
        "−1 → +",
    ): SQUARE,
    ("full_adagrad", "return q @ torch.where(w[..., None] == 0, 0.0, (q.mT @ g) / below)", "0 → 0.01"): GUARD,
    ("full_adagrad", "return q @ torch.where(w[..., None] == 0, 0.0, (q.mT @ g) / below)", "0.0 → 0.01"): GUARD,
    (
        "kl_shampoo",
        "return q * (max(10.0, min(float(q.shape[-1]), most)) / lengths(q)).clamp(max=1.0) if most else q",
        "−1 → +",
    ): SQUARE,
    ("kl_shampoo", "u = u / (1e-30 + sqrt(norm(u) ** 2 / numel(u)))", "1e-30 → 1.01e-30"): TINY,
    ("kron", "s.m, s.since = zeros(p), number(0.0)", "0.0 → 0.01"): COUNT,
    ("kron", "s.since = where(due, 0.0, since)", "0.0 → 0.01"): COUNT,
    (
        "kron",
        "u = u * minimum(1.0, self.clip / (norm(u) / sqrt(numel(u)) + 1e-12))",
        "1e-12 → 1.01e-12",
    ): TINY,
    (
        "kron",
        "probability = minimum(first, maximum(last, first * exp(-self.probability_decay * (t - 1 - self.flat_start))))",
        "1 → 1.01",
    ): COUNT,
    ("kron", "s.begun = where(size > 0, 1.0, s.begun)", "1.0 → 1.01"): COUNT,
    (
        "kron",
        "first = where(s.begun > 0, 1.0, where(size > 0, 1 / (sqrt(size) * flat), 1.0))",
        "0 → 0.01",
    ): COUNT,
    (
        "kron",
        "u = u * minimum(1.0, self.clip / (norm(u) / sqrt(numel(u)) + 1e-12))",
        "+ → − before `1e-12`",
    ): TINY,
    ("nag", "s.v, s.ahead = zeros(p), number(0.0)", "0.0 → 0.01"): ZERO,
    ("normuon", "s.v = self.beta2 * s.v + (1 - self.beta2) * row_total(o**2) / cols(p)", "1 → 1.01"): SCALE,
    (
        "normuon",
        "s.v = self.beta2 * s.v + (1 - self.beta2) * row_total(o**2) / cols(p)",
        "− → + before `self.beta2`",
    ): SCALE,
    ("schedule_free", "s.d, s.ahead = zeros(p), number(0.0)", "0.0 → 0.01"): ZERO,
    ("schedule_free", "c = weight / where(s.weights > 0, s.weights, 1)", "1 → 1.01"): GUARD,
    ("shampoo", "return p - self.lr * where(norm(u) > 0, norm(other) / norm(u), 0) * u", "0 → 0.01, place 2"): GUARD,
    (
        "schedule_free_plus",
        "s.m, s.v, s.d, s.ahead = zeros(p), zeros(p, positive=True), zeros(p), number(0.0)",
        "0.0 → 0.01",
    ): ZERO,
    (
        "schedule_free_plus",
        "power = s.largest**self.weight_lr_power if self.weight_lr_power else 1",
        "1 → 1.01",
    ): "equivalent: only the ratios of the weights count",
    ("schedule_free_plus", "all = where(s.weights > 0, s.weights, 1)", "1 → 1.01"): GUARD,
    ("signum", "s.m = self.momentum * s.m + (1 - self.momentum) * g", "1 → 1.01"): SIGN,
    ("signum", "s.m = self.momentum * s.m + (1 - self.momentum) * g", "− → + before `self.momentum`"): SIGN,
    ("splus", "since = where(t > 1, t - self.interval * floor(t / self.interval), 0)", "0 → 0.01"): COUNT,
    ("soap", "u = u / (1e-30 + sqrt(norm(u) ** 2 / numel(u)))", "1e-30 → 1.01e-30"): TINY,
}
EXPLAINED |= {
    (
        "momo",
        "average(self, s, p, g, loss, 1 - self.beta if self.bias_correction else where(s.k > 0, 1 - self.beta, 1))",
        "0 → 0.01",
    ): COUNT,
    (
        "sophia",
        "return b1 * s.m + (1 - b1) * g, where(fresh > 0, b2 * s.c + (1 - b2) * h, s.c)",
        "0 → 0.01",
    ): COUNT,
    ("asgd", "s.ax = where(s.mu < 1, lerp(s.ax, new, s.mu), new)", "1 → 2"): MEAN,
    ("d_adapt", "s.s = b3 * s.s + (1 - b3) * w * g", "1 → 1.01"): RATIO,
    ("d_adapt", "s.s = b3 * s.s + (1 - b3) * w * g", "− → + before `b3`"): RATIO,
    (
        "dowg",
        "return p - where(s.v <= 0, 0, self.lr * s.r**2 / (sqrt(s.v) + self.eps)) * g",
        "0 → 0.01, place 2",
    ): GUARD,
}
EXPLAINED |= {
    ("came", f"s.{R} = {b} * s.{R} + (1 - {b}) * row_total({x}) / cols(g)", change): SCALE
    for R, b, x in (("R", "b2", "square"), ("R_res", "b3", "apart"))
    for change in ("1 → 1.01", f"− → + before `{b}`", f"+ → − before `(1 - {b}) * row_total({x}) / cols(g)`")
}
EXPLAINED |= {
    (
        "prodigy",
        "s.s = b3 * s.s + (d**2 / self.d0 if self.safeguard_warmup else w) * g",
        "+ → − before `(d ** 2 / self.d0 if self.safeguard_warmup else w) * g`",
    ): "equivalent: only |s| counts",
    (
        "ademamix",
        "b3 = where(t < self.beta3_warmup, exp(1 / ((1 - x) / log(b1 + 1e-8) + x / log(b3 + 1e-8))), b3)",
        "1e-08 → 1.0100000000000001e-08",
    ): TINY,
}


def why(stem: str, survivor: dict[str, str]) -> str:
    """The reason for a survivor of mutation.json; "" where there is none yet."""
    return EXPLAINED.get((stem, survivor["code"], survivor["change"]), "")
