"""One paper, one file. A line here puts an optimizer into the registry, and so before every law."""

from ravine.optim.adabelief import AdaBelief as AdaBelief
from ravine.optim.adadelta import Adadelta as Adadelta
from ravine.optim.adafactor import Adafactor as Adafactor
from ravine.optim.adagrad import Adagrad as Adagrad
from ravine.optim.adagrad_rda import AdaGradRDA as AdaGradRDA
from ravine.optim.adahessian import AdaHessian as AdaHessian
from ravine.optim.adam import Adam as Adam
from ravine.optim.adam import AdamW as AdamW
from ravine.optim.adam_2k import Adam2k as Adam2k
from ravine.optim.adam_2k import AdamEps as AdamEps
from ravine.optim.adam_mini import AdamMini as AdamMini
from ravine.optim.adamax import Adamax as Adamax
from ravine.optim.adamp import SGDP as SGDP
from ravine.optim.adamp import AdamP as AdamP
from ravine.optim.adamuon import AdaMuon as AdaMuon
from ravine.optim.adan import Adan as Adan
from ravine.optim.ademamix import AdEMAMix as AdEMAMix
from ravine.optim.adopt import ADOPT as ADOPT
from ravine.optim.aggmo import AggMo as AggMo
from ravine.optim.amsgrad import AMSGrad as AMSGrad
from ravine.optim.apollo import APOLLO as APOLLO
from ravine.optim.asgd import ASGD as ASGD
from ravine.optim.came import CAME as CAME
from ravine.optim.d_adapt import DAdaptAdam as DAdaptAdam
from ravine.optim.d_adapt import DAdaptSGD as DAdaptSGD
from ravine.optim.dion2 import Dion2 as Dion2
from ravine.optim.dog import DoG as DoG
from ravine.optim.dog import LDoG as LDoG
from ravine.optim.dowg import DoWG as DoWG
from ravine.optim.full_adagrad import FullAdagrad as FullAdagrad
from ravine.optim.galore import GaLore as GaLore
from ravine.optim.kfac import KFAC as KFAC
from ravine.optim.kl_shampoo import KLSOAP as KLSOAP
from ravine.optim.kl_shampoo import KLShampoo as KLShampoo
from ravine.optim.kron import Kron as Kron
from ravine.optim.lamb import LAMB as LAMB
from ravine.optim.laprop import LaProp as LaProp
from ravine.optim.lars import LARS as LARS
from ravine.optim.lion import Lion as Lion
from ravine.optim.lp_adam import LpAdam as LpAdam
from ravine.optim.madgrad import MADGRAD as MADGRAD
from ravine.optim.mars import MARS as MARS
from ravine.optim.mars_m import MARSM as MARSM
from ravine.optim.momentum import Momentum as Momentum
from ravine.optim.momo import MoMo as MoMo
from ravine.optim.momo import MoMoAdam as MoMoAdam
from ravine.optim.muon import Muon as Muon
from ravine.optim.nadam import NAdam as NAdam
from ravine.optim.nag import NAG as NAG
from ravine.optim.normuon import NorMuon as NorMuon
from ravine.optim.novograd import NovoGrad as NovoGrad
from ravine.optim.prodigy import Prodigy as Prodigy
from ravine.optim.qhm import QHM as QHM
from ravine.optim.qhm import QHAdam as QHAdam
from ravine.optim.radam import RAdam as RAdam
from ravine.optim.rmsprop import RMSprop as RMSprop
from ravine.optim.rprop import Rprop as Rprop
from ravine.optim.schedule_free import ScheduleFreeAdamW as ScheduleFreeAdamW
from ravine.optim.schedule_free import ScheduleFreeRAdam as ScheduleFreeRAdam
from ravine.optim.schedule_free import ScheduleFreeSGD as ScheduleFreeSGD
from ravine.optim.schedule_free_plus import ScheduleFreePlus as ScheduleFreePlus
from ravine.optim.scion import Scion as Scion
from ravine.optim.sgd import SGD as SGD
from ravine.optim.sgdw import SGDW as SGDW
from ravine.optim.shampoo import Shampoo as Shampoo
from ravine.optim.signum import SignSGD as SignSGD
from ravine.optim.signum import Signum as Signum
from ravine.optim.simplified_ademamix import SimplifiedAdEMAMix as SimplifiedAdEMAMix
from ravine.optim.sm3 import SM3 as SM3
from ravine.optim.soap import SOAP as SOAP
from ravine.optim.sophia import SophiaG as SophiaG
from ravine.optim.sophia import SophiaH as SophiaH
from ravine.optim.sparse_adam import SparseAdam as SparseAdam
from ravine.optim.splus import SPlus as SPlus
from ravine.optim.stable_adamw import StableAdamW as StableAdamW
from ravine.optim.yogi import Yogi as Yogi
from ravine.optimizer import Optimizer


def registry() -> dict[str, type[Optimizer]]:
    """Every optimizer by its name in lower case."""
    found = [x for x in globals().values() if isinstance(x, type) and issubclass(x, Optimizer) and x is not Optimizer]
    return {cls.__name__.lower(): cls for cls in found}
