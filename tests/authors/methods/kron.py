"""Kron beside kron_torch."""

from trajectory import Case

SOURCE = "evanatyourservice/kron_torch@884427c32bc45e8293e20c26c85e4ccc4f68c9d1 kron_torch/kron.py"
NOTE = "recorded with the noise that ravine draws, without it in the momentum of the step, and with their roundings to \
float32 left out; tensors of more dimensions are cut elsewhere there, and vectors have no decay"
OFTEN = {
    "update_probability": (0.25, 0.25),
    "precond_lr": 0.5,
    "precond_init_scale": 0.3,
    "memory_save_mode": "one_diag",
}
FIRST = {"lr": 1e-2, "probe": True, "momentum": 0.8, "weight_decay": 0.1, "momentum_into_precond_update": False}
SLOWER = {"lr": 1e-2, "probe": True, "update_probability": (0.9, 0.2), "probability_decay": 0.1, "flat_start": 5.0}
SHAPES, MATRICES = ((6, 4), (5,), (3, 7)), ((6, 4), (5, 5), (3, 7))
DIAGONAL = {"lr": 1e-2, "probe": True, "max_size_triangular": 4, "memory_save_mode": "smart_one_diag"}

CASES = [
    Case("Kron", SOURCE, {"probe": True}, recorded="kron", shapes=SHAPES, note=NOTE),
    Case("Kron", SOURCE, FIRST | OFTEN, recorded="kron_often", shapes=MATRICES, note=NOTE),
    Case("Kron", SOURCE, DIAGONAL, recorded="kron_diagonal", shapes=SHAPES, note=NOTE),
    Case("Kron", SOURCE, SLOWER, recorded="kron_scheduled", shapes=SHAPES, note=NOTE),
]
