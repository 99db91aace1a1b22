"""MARS-M beside the authors' code."""

from trajectory import Case

SOURCE = "AGI-Arena/MARS@4831e28eba863a4e69d7e9474ff8e73bc1b410fe MARS_M/optimizers/mars_m.py"
THEIRS = {
    "shapes": ((6, 4), (4, 4), (3, 5)),
    "note": "recorded in float64, with max(‖m‖, ε) for ‖m‖ + ε; matrices alone",
}
MORE = {"weight_decay": 0.3, "momentum": 0.8, "gamma": 0.2, "ns_steps": 6}

CASES = [
    Case("MARSM", SOURCE, {"lr": 0.02}, recorded="mars_m", **THEIRS),
    Case("MARSM", SOURCE, {"lr": 0.02} | MORE, recorded="mars_m_more", **THEIRS),
]
