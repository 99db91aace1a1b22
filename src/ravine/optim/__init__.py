"""One paper, one file. A line here puts an optimizer into the registry, and so before every law."""

from ravine.optim.adadelta import Adadelta as Adadelta
from ravine.optim.adagrad import Adagrad as Adagrad
from ravine.optim.adam import Adam as Adam
from ravine.optim.adam import AdamW as AdamW
from ravine.optim.adamax import Adamax as Adamax
from ravine.optim.amsgrad import AMSGrad as AMSGrad
from ravine.optim.lamb import LAMB as LAMB
from ravine.optim.momentum import Momentum as Momentum
from ravine.optim.nadam import NAdam as NAdam
from ravine.optim.nag import NAG as NAG
from ravine.optim.radam import RAdam as RAdam
from ravine.optim.rmsprop import RMSprop as RMSprop
from ravine.optim.rprop import Rprop as Rprop
from ravine.optim.sgd import SGD as SGD
from ravine.optimizer import Optimizer


def registry() -> dict[str, type[Optimizer]]:
    """Every optimizer by its name in lower case."""
    found = [x for x in globals().values() if isinstance(x, type) and issubclass(x, Optimizer) and x is not Optimizer]
    return {cls.__name__.lower(): cls for cls in found}
