"""A plain mean of the weights."""

from ravine.mods.shown import Shown
from ravine.words import floor, lerp, maximum, where


class Averaging(Shown):
    """Keep the mean of the weights after each step; `eval()` puts it into the model, `train()` takes it out.

        a ← a + (p − a) / max(1, n),  n = ⌊(t − t₀) / k⌋      where n has just grown, or is not yet 1

    Before the step t₀ + k the average is the newest p, from there on the mean of p at the steps t₀ + k, t₀ + 2k … t.
    With start t₀ = 0 and k = `every` = 1 it is Polyak and Ruppert's mean of all steps, without the initial weights. A
    later start is tail averaging, which forgets the beginning of training. With k the number of steps in an epoch (or
    in a cycle of the learning rate) it is stochastic weight averaging, of weights one epoch apart.
    It computes what torch.optim.swa_utils.AveragedModel computes when it is updated after the steps t₀ + k, t₀ + 2k …,
    but in the pass of the step itself. `ASGD` is torch's optimizer with such a mean.

    Use it with a constant learning rate (torch's SWALR leads to one), and start after the loss has settled: it removes
    the noise of the last steps, as a decaying rate would. The statistics of batch normalization must be computed
    again: `opt.eval()`, then `torch.optim.swa_utils.update_bn(loader, model)`.

    Polyak & Juditsky 1992, equation 3    https://doi.org/10.1137/0330046
    Tail averaging: Jain et al. 2018    https://jmlr.org/papers/v18/16-595.html
    Stochastic weight averaging: Izmailov et al. 2018, Algorithm 1    https://arxiv.org/abs/1803.05407
    """

    papers = ("polyak1992averaging", "jain2018parallelizing", "izmailov2018averaging")

    start: float = 0.0
    every: float = 1.0

    def update(self, s, p, g, t, new, lr):
        k = maximum(1, self.every)
        n = maximum(1, floor((t - self.start) / k))
        mean = lerp(new, s.average, 1 - 1 / n)
        s.average = where(n * k >= t - self.start, mean, s.average)
        return new
