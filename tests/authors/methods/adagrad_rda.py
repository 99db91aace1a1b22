"""AdaGradRDA beside tensorflow's kernel of it, and beside a numpy implementation that starts where the weights are."""

from trajectory import Case

TENSORFLOW = "tensorflow/tensorflow@a481b10260d tensorflow/core/kernels/training_ops.cc"
NUMPY = "konstmish/opt_methods@8a3ae3ab666d optmethods/first_order/adagrad.py"
KERNEL = "theirs starts at 0, whatever the weights are, and adds no ε: it begins G above 0, and at 0 here"

CASES = [
    Case("AdaGradRDA", TENSORFLOW, {"lr": 0.05, "l1": 0.005, "eps": 0.0}, recorded="adagradrda", note=KERNEL,
         from_zero=True),
    Case("AdaGradRDA", TENSORFLOW, {"lr": 0.2, "l1": 0.01, "eps": 0.0}, recorded="adagradrda_sparse", note=KERNEL,
         from_zero=True),
    Case("AdaGradRDA", NUMPY, {"lr": 0.1, "eps": 0.1}, recorded="adagradrda_plain", note="theirs has no penalty"),
]  # fmt: skip
