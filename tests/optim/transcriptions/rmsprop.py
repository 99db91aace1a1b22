"""RMSprop, plain and centered, with and without momentum."""

import torch


class RMSpropPaper:
    """Hinton, Srivastava & Swersky 2012, lecture 6e, slide 29
    https://www.cs.toronto.edu/~tijmen/csc321/slides/lecture_slides_lec6.pdf

        MeanSquare(w, t) = α MeanSquare(w, t − 1) + (1 − α) (∂E/∂w)²
        Δw = − lr ∂E/∂w / √MeanSquare

    centered: Graves 2013, eq. 38-41 (https://arxiv.org/abs/1308.0850) divides by √(E[g²] − E[g]²)
    instead. ε and momentum as torch has them: b ← μ b + g/(√· + ε), w ← w − lr b. eps_inside=True is √(·
    + ε), which is also where Graves has his 10⁻⁴. weight_decay is L2.
    """

    def __init__(
        self,
        p,
        lr=1e-2,
        alpha=0.99,
        eps=1e-8,
        weight_decay=0.0,
        momentum=0.0,
        centered=False,
        eps_inside=False,
    ):
        self.w = p.clone()
        self.lr, self.alpha, self.eps, self.lam = lr, alpha, eps, weight_decay
        self.mu, self.centered, self.eps_inside = momentum, centered, eps_inside
        self.n = torch.zeros_like(p)
        self.g = torch.zeros_like(p)
        self.b = torch.zeros_like(p)

    def step(self, dE):
        dE = dE + self.lam * self.w
        self.n = self.alpha * self.n + (1 - self.alpha) * dE * dE
        meansquare = self.n
        if self.centered:
            self.g = self.alpha * self.g + (1 - self.alpha) * dE
            meansquare = self.n - self.g * self.g
        root = torch.sqrt(meansquare + self.eps) if self.eps_inside else torch.sqrt(meansquare) + self.eps
        self.b = self.mu * self.b + dE / root
        self.w = self.w - self.lr * self.b
        return self.w
