"""NovoGrad beside the authors' code and a library."""

import pytorch_optimizer
from trajectory import Case

HYPER = {"lr": 1e-2, "betas": (0.85, 0.97), "eps": 1e-6, "weight_decay": 0.1}
SOURCE = "NVIDIA/DeepLearningExamples@729963dd47e7 PyTorch/SpeechRecognition/Jasper/common/optimizers.py"
FLOAT64 = "recorded with torch's default type float64, since theirs keeps v in it"

CASES = [
    Case("NovoGrad", SOURCE, HYPER, recorded="novograd", note=FLOAT64),
    Case("NovoGrad", SOURCE, HYPER | {"amsgrad": True}, recorded="novograd_amsgrad", note=FLOAT64),
    Case("NovoGrad", SOURCE, HYPER | {"grad_averaging": True}, recorded="novograd_grad_averaging", note=FLOAT64),
    Case(
        "NovoGrad",
        "pytorch-optimizer 4.1.0",
        HYPER,
        lambda params: pytorch_optimizer.NovoGrad(params, foreach=False, **HYPER),
        note="with grad_averaging theirs takes the first gradient whole, the authors' code 1 − β₁ of it",
    ),
]
