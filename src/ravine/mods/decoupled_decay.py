"""Weight decay beside the rule."""

from typing import Literal

from ravine.rule.modifier import Modifier
from ravine.words import maximum, number, where


class DecoupledDecay(Modifier):
    """Shrink the weights themselves, whatever the rule does with the gradient.

        p ← u − s λ p                         u: what the rule made of p

        s = lr                                scale="lr", as AdamW in torch
        s = 1                                 scale="independent", as AdamW in its paper
        s = lr² / lr_max                      scale="lr2", as AdamC and SGDC

    `Adam(mods=[DecoupledDecay(0.1)])` is torch's AdamW with weight_decay=0.1. With "lr" a schedule that changes lr
    changes, too, what the weights decay to: under a rate γ the norm of a layer that is followed by a normalization
    settles where steps and decay balance, and its gradient over its norm at √(2 λ / γ), which grows as γ falls. "lr2"
    keeps it at √(2 λ / lr_max), so gradients do not grow at the end of training.

    lr_max is the largest rate of the schedule. None takes the largest so far, which is the same from the end of the
    warm-up on; until then it decays by λ lr, and the paper by less. The paper corrects layers followed by a
    normalization and leaves the others at "lr": give those a group of their own.

    "independent" is the paper's η λ p, where η is the schedule's multiplier: a schedule then sets λ itself,
    `group["mods"][0].weight_decay`. Its λ is lr times that of "lr": 1e-4 for 0.1 at a rate of 1e-3. The rule's own
    decay, if it has one, acts as well.

    Use it with rules that have no decoupled decay, and after `Cautious` or `Grams`, which would change the rule's own
    decay: `mods=[Cautious(), DecoupledDecay(0.1)]`.

    Loshchilov & Hutter 2019, Algorithms 1 and 2    https://arxiv.org/abs/1711.05101
    "lr2": Defazio 2025    https://arxiv.org/abs/2506.02285
    """

    papers = ("loshchilov2019adamw", "defazio2025gradients")
    ranges = {"lr_max": "(0, inf)"}

    weight_decay: float = 1e-2
    scale: Literal["lr", "independent", "lr2"] = "lr"
    lr_max: float | None = None

    def init(self, s, p):
        if self.scale == "lr2" and self.lr_max is None:
            s.largest = number(0.0)

    def share(self, s, lr):
        """The share of itself that a weight loses."""
        if self.scale == "independent":
            return self.weight_decay
        if self.scale == "lr":
            return lr * self.weight_decay
        if self.lr_max is not None:
            return lr * lr / self.lr_max * self.weight_decay
        s.largest = maximum(s.largest, lr)
        return lr * lr / where(s.largest > 0, s.largest, 1) * self.weight_decay

    def update(self, s, p, g, t, new, lr):
        share = self.share(s, lr)
        return new - share * p if self.weight_decay else new
