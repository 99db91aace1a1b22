"""A plain mean of the weights."""

from ravine.mods.shown import Shown
from ravine.words import lerp, maximum


class Averaging(Shown):
    """Keep the mean of the weights after each step; `eval()` puts it into the model, `train()` takes it out.

        a ← a + (p − a) / max(1, t − t₀)       the mean of p at the steps t₀ + 1 … t

    Before step t₀ = `start` the average is the newest p. With start = 0 it is Polyak and Ruppert's mean of all steps,
    without the initial weights; a later start is tail averaging, which forgets how training began.
    As torch.optim.swa_utils.AveragedModel updated after each step past the first `start` ones.
    `ASGD` is torch's optimizer with such a mean; stochastic weight averaging takes one p an epoch.

    Use it with a constant learning rate, and a start after the loss has settled: noise of the last steps goes, and
    that is what a falling rate would have done. Statistics of batch normalization must be gathered again.

    Polyak & Juditsky 1992, equation 3    https://doi.org/10.1137/0330046
    Tail averaging: Jain et al. 2018    https://jmlr.org/papers/v18/16-595.html
    """

    papers = ("polyak1992averaging", "jain2018parallelizing")

    start: float = 0.0

    def update(self, s, p, g, t, new, lr):
        s.average = lerp(new, s.average, 1 - 1 / maximum(1, t - self.start))
        return new
