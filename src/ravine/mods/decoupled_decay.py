"""Weight decay beside the rule."""

from ravine.rule.modifier import Modifier


class DecoupledDecay(Modifier):
    """Shrink the weights themselves, whatever the rule does with the gradient.

        p ← u − lr λ p                        u: what the rule made of p

    As in torch's AdamW: `Adam(mods=[DecoupledDecay(0.1)])` is AdamW with weight_decay=0.1. fully_decoupled=True takes
    λ p instead, independent of lr: the paper's η λ p, where η is the schedule's multiplier. A schedule then sets
    λ itself: `group["mods"][0].weight_decay`. The rule's own decay, if it has one, acts as well.

    Use it with rules that have no decoupled decay, and after `Cautious` or `Grams`, which would change the rule's own
    decay: `mods=[Cautious(), DecoupledDecay(0.1)]`.

    Loshchilov & Hutter 2019, Algorithms 1 and 2    https://arxiv.org/abs/1711.05101
    """

    papers = ("loshchilov2019adamw",)

    weight_decay: float = 1e-2
    fully_decoupled: bool = False

    def update(self, s, p, g, t, new, lr):
        if not self.weight_decay:
            return new
        return new - (self.weight_decay if self.fully_decoupled else lr * self.weight_decay) * p
