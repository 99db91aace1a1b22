"""The defaults that the literature names, where ravine's are torch's: `ravine.create(name, …, defaults="paper")`.

The values of a row stand in the paper, or in the text that is usually cited for them, named beside it; what a row
leaves out is not said there, and ravine's default stays. Every method that torch has too stands here. Of the others
the defaults are the paper's or its authors' already, and a row names only what differs.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

PAPER: Mapping[str, tuple[Mapping[str, Any], str]] = {
    "adabelief": (
        {"eps": 1e-8, "weight_decouple": False, "rectify": False},
        "Zhuang et al. 2020, Algorithm 2; ravine's are those of the authors' release 0.2",
    ),
    "adadelta": ({"lr": 1.0, "rho": 0.95, "eps": 1e-6}, "Zeiler 2012, section 4: no learning rate, so lr = 1"),
    "adafactor": (
        {"lr": 0.01, "beta2_decay": -0.8, "eps": (1e-30, 1e-3), "d": 1.0, "form": "paper"},
        "Shazeer & Stern 2018, Algorithm 6: lr is the largest relative step",
    ),
    "adagrad": ({"lr": 0.01, "eps": 1e-8}, "Ruder 2016, section 4.3; Duchi et al. leave both to the user"),
    "adam": ({"lr": 0.001, "betas": (0.9, 0.999), "eps": 1e-8}, "Kingma & Ba 2015, Algorithm 1"),
    "adamax": ({"lr": 0.002, "betas": (0.9, 0.999), "eps": 0.0}, "Kingma & Ba 2015, Algorithm 2: it has no ε"),
    "adamw": ({"lr": 0.001, "betas": (0.9, 0.999), "eps": 1e-8}, "Loshchilov & Hutter 2019, Algorithm 2: λ is yours"),
    "ademamix": ({"alpha": 5.0}, "Pagliardini et al. 2025: α is 5 to 8; the authors' code has 2"),
    "asgd": ({"alpha": 0.75}, "Bottou 2010, section 5: (1 + λ lr t)^(−3/4); the rest is left to the user"),
    "momentum": ({"momentum": 0.9}, "Ruder 2016, section 4.1: γ is usually 0.9"),
    "muon": (
        {"lr": 0.02, "weight_decay": 0.0, "momentum": 0.95, "ns_steps": 5},
        "Jordan et al. 2024 and their code, which has no decay",
    ),
    "nadam": ({"lr": 0.002, "momentum_decay": 0.004}, "Dozat 2016, as torch and Keras took them over"),
    "nag": ({"momentum": 0.9}, "Ruder 2016, section 4.2: γ is again 0.9"),
    "qhadam": ({"nus": (0.7, 1.0), "betas": (0.995, 0.999)}, "Ma & Yarats 2019: what they recommend to begin with"),
    "radam": ({"betas": (0.9, 0.999), "threshold": 4.0, "fallback": "momentum"}, "Liu et al. 2020, Algorithm 2: ρ > 4"),
    "rmsprop": ({"lr": 0.001, "alpha": 0.9}, "Hinton 2012, lecture 6e, as Ruder 2016, section 4.5 reports it"),
    "rprop": (
        {"lr": 0.1, "etas": (0.5, 1.2), "step_sizes": (1e-6, 50.0), "backtracking": True},
        "Riedmiller & Braun 1993: lr is Δ₀",
    ),
    "sgd": ({}, "Robbins & Monro 1951 name no defaults"),
    "sparseadam": ({"lr": 0.001, "betas": (0.9, 0.999), "eps": 1e-8}, "Kingma & Ba 2015, Algorithm 1"),
}
