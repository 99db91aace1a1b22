"""Cautious weight decay."""

from ravine.mods.decoupled_decay import DecoupledDecay
from ravine.words import sign, where


class CautiousDecay(DecoupledDecay):
    """Decay only the weights that the step does not move away from zero.

        u = p − u′                            the rule's step, u′ being what it made of p
        φ = 1 where u p ≥ 0, else 0
        p ← u′ − s λ φ p                      s = lr, 1 or lr² / lr_max: scale, as of `DecoupledDecay`

    Decay never pulls against the step, so what is minimized stays the loss that was given, and not that loss with a
    penalty: where the loss no longer falls, weights still become smaller. λ needs no other value than under
    `DecoupledDecay`. A step of exactly 0 decays, as in the paper; the record of modded-nanogpt's optimization track has
    u p > 0.

    u is all that the rule and the modifiers before this one do, a decay inside the rule too: take a rule without, as
    `Adam(mods=[CautiousDecay(0.1)])`. Signs are compared rather than multiplied, so that an underflow of u p does not
    matter; a step that rounding makes zero counts as zero. `Cautious` masks the step where it disagrees with the
    gradient; this masks the decay where it disagrees with the step, and both go together.

    Use it in the place of decoupled decay for AdamW, Lion and Muon.

    Chen et al. 2026, Algorithm 1    https://arxiv.org/abs/2510.12402
    """

    papers = ("chen2026cautious",)

    def update(self, s, p, g, t, new, lr):
        share = self.share(s, lr)
        agree = where(sign(p - new) * sign(p) >= 0, 1.0, 0.0)
        return new - share * agree * p if self.weight_decay else new
