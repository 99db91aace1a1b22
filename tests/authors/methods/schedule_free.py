"""Schedule-Free beside its authors' package: the classes people use, and the two that follow the paper."""

import schedulefree
from schedulefree.adamw_schedulefree_paper import AdamWScheduleFreePaper
from schedulefree.adamw_schedulefree_reference import AdamWScheduleFreeReference
from schedulefree.sgd_schedulefree_reference import SGDScheduleFreeReference
from trajectory import Case

PLAIN = {"lr": 1e-2, "weight_decay": 0.1}
WEIGHTED = {"r": 0.6, "weight_lr_power": 1.5}
WARM = PLAIN | WEIGHTED | {"warmup_steps": 20}
SGD, ADAM = {"momentum": 0.8}, {"betas": (0.85, 0.97), "eps": 1e-6}


def case(method, theirs, hyper, **more):
    def make(params):
        opt = theirs(params, **hyper, **more)
        opt.train()
        return opt

    ours = {"correct_lr": True} if theirs is AdamWScheduleFreePaper else {}
    return Case(method, "schedulefree 1.4.1", hyper | ours, make, evaluate=True)


CASES = [
    case("ScheduleFreeSGD", schedulefree.SGDScheduleFree, PLAIN | SGD),
    case("ScheduleFreeSGD", schedulefree.SGDScheduleFree, WARM | SGD, foreach=False),
    case("ScheduleFreeSGD", SGDScheduleFreeReference, WARM | SGD),
    case("ScheduleFreeAdamW", schedulefree.AdamWScheduleFree, PLAIN | ADAM),
    case("ScheduleFreeAdamW", schedulefree.AdamWScheduleFree, WARM | ADAM, foreach=False),
    case("ScheduleFreeAdamW", AdamWScheduleFreeReference, WARM | ADAM),
    case("ScheduleFreeAdamW", AdamWScheduleFreePaper, WARM | ADAM),
    case("ScheduleFreeRAdam", schedulefree.RAdamScheduleFree, PLAIN | ADAM),
    case("ScheduleFreeRAdam", schedulefree.RAdamScheduleFree, PLAIN | WEIGHTED | ADAM, foreach=False),
    case("ScheduleFreeRAdam", schedulefree.RAdamScheduleFree, PLAIN | ADAM | {"silent_sgd_phase": False}),
]
