"""Scion beside the authors' code."""

from trajectory import Case

SOURCE = "LIONS-EPFL/scion@f58a393e010395a5913176be5673d8839caa6285 scion.py"
MATRICES = {"shapes": ((6, 4), (4, 4), (3, 5))}
NS = {"tolerance": 1e-5, "note": "recorded in float64, with max(‖d‖, ε) for ‖d‖ + ε; Jordan's polynomial is chaotic"}
SQUARE = {"shapes": ((6, 4), (5,), (3, 2, 2, 2))}  # theirs takes every kernel for a square one
MAX = {"alpha": 0.3, "scale": 2.0, "norm": "spectral_max", "unconstrained": True}

CASES = [
    Case("Scion", SOURCE, {"lr": 0.05, "scale": 3.0}, recorded="scion", **SQUARE, **NS),
    Case("Scion", SOURCE, {"lr": 0.05} | MAX, recorded="scion_unconstrained", **MATRICES, **NS),
    Case("Scion", SOURCE, {"lr": 0.05, "scale": 10.0, "norm": "sign"}, recorded="scion_sign", **MATRICES),
    Case("Scion", SOURCE, {"lr": 0.05, "norm": "columns", "transpose": True}, recorded="scion_columns", **MATRICES),
    Case("Scion", SOURCE, {"lr": 0.05, "norm": "rows", "unconstrained": True}, recorded="scion_rows", **MATRICES),
]
