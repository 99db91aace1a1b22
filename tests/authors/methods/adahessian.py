"""AdaHessian beside the authors' file, with the square of the gradient in the place of what it measures."""

from trajectory import Case

SOURCE = "amirgholami/adahessian@85ebc00ce873 image_classification/optim_adahessian.py"
NOTE = "both are given g² for the Hessian's diagonal"
HYPER = {"lr": 0.05, "betas": (0.8, 0.95), "eps": 1e-3, "weight_decay": 0.1}

CASES = [
    Case("AdaHessian", SOURCE, HYPER, recorded="adahessian", curvature=1.0, note=NOTE),
    Case("AdaHessian", SOURCE, HYPER | {"hessian_power": "1/2"}, recorded="adahessian_half", curvature=1.0, note=NOTE),
]
