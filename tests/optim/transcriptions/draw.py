"""Hyperparameters to draw: in a SPACE a list is walked through, a function is drawn from."""


def log(low, high):
    return lambda rng: low * (high / low) ** rng.random()


def uniform(low, high):
    return lambda rng: low + (high - low) * rng.random()


def choice(*values):
    return lambda rng: rng.choice(values)


def pair(*parts):
    return lambda rng: tuple(part(rng) for part in parts)


RATE, EPS, DECAY = log(1e-3, 1e-1), log(1e-4, 1e-2), log(1e-2, 1.0)
BETAS = pair(uniform(0.5, 0.97), uniform(0.9, 0.999))
EITHER = [False, True]
ADAM = {"lr": RATE, "betas": BETAS, "eps": EPS, "weight_decay": DECAY}
