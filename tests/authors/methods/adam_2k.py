"""Adam-2k and Adam-eps beside the code of the authors' translation experiments."""

from trajectory import Case

AT = "LiyuanLucasLiu/RAdam@d9fd30a33789 nmt/my_module/adam2.py"
HYPER = {"lr": 3e-3, "betas": (0.85, 0.97), "weight_decay": 0.2}
NOTE = "recorded with .double() where theirs says .float()"

CASES = [
    Case("Adam2k", AT, HYPER | {"eps": 1e-6, "warmup": 6}, recorded="adam2k", note=NOTE),
    Case("AdamEps", AT, HYPER, recorded="adameps", note=NOTE),
]
