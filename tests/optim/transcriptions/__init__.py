"""Each paper's pseudocode, line by line, in float64: what the rules of `ravine.optim` are tested against.

Written from the papers (and from torch where the form is torch's own), never from ravine's rules. Naive
on purpose: one tensor, out of place, t counted from 1. `step(g)` takes the gradient and returns the new
parameter; `lr` may be set between steps. NAG asks for its gradients itself, so its `step` takes a
function.
"""

from .adadelta import AdadeltaPaper
from .adagrad import AdagradPaper
from .adam import AdamPaper
from .adamax import AdamaxPaper
from .adamw import AdamWPaper
from .amsgrad import AMSGradPaper
from .lamb import LAMBPaper
from .momentum import MomentumPaper
from .nadam import NAdamPaper
from .nag import NAGPaper
from .radam import RAdamPaper
from .rmsprop import RMSpropPaper
from .rprop import RpropPaper
from .sgd import SGDPaper

PAPERS = {
    "SGD": SGDPaper,
    "Momentum": MomentumPaper,
    "NAG": NAGPaper,
    "Adagrad": AdagradPaper,
    "Adadelta": AdadeltaPaper,
    "Rprop": RpropPaper,
    "RMSprop": RMSpropPaper,
    "Adam": AdamPaper,
    "AMSGrad": AMSGradPaper,
    "AdamW": AdamWPaper,
    "Adamax": AdamaxPaper,
    "NAdam": NAdamPaper,
    "RAdam": RAdamPaper,
    "LAMB": LAMBPaper,
}
