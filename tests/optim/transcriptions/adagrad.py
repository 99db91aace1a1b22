"""AdaGrad, the diagonal form."""

import torch


class AdagradPaper:
    """Duchi, Hazan & Singer 2011, figure 1 with diagonal matrices    https://jmlr.org/papers/v12/duchi11a.html

        G_t = Σ_{τ≤t} g_τ²          H_t = δI + diag(G_t)^{1/2}          x_{t+1} = x_t − η H_t⁻¹ g_t

    δ is eps. square_root=False: H_t = δI + diag(G_t), spoken of in Ruder 2016, section 4.3, and with a δ that falls
    the SC-Adagrad of Mukkamala & Hein 2017. eps_inside=True: diag(G_t + ε)^{1/2}, as much of the later literature
    writes it. lr_decay, as torch has it: η_t = η / (1 + (t − 1) lr_decay). The sum starts at
    initial_accumulator_value. weight_decay is L2.
    """

    def __init__(
        self,
        p,
        lr=1e-2,
        lr_decay=0.0,
        weight_decay=0.0,
        initial_accumulator_value=0.0,
        eps=1e-10,
        eps_inside=False,
        square_root=True,
    ):
        self.x = p.clone()
        self.lr, self.lr_decay, self.lam, self.eps, self.eps_inside = (
            lr,
            lr_decay,
            weight_decay,
            eps,
            eps_inside,
        )
        self.G = torch.full_like(p, initial_accumulator_value)
        self.t, self.square_root = 0, square_root

    def step(self, g):
        self.t = self.t + 1
        g = g + self.lam * self.x
        self.G = self.G + g * g
        H = torch.sqrt(self.G + self.eps) if self.eps_inside else self.eps + torch.sqrt(self.G)
        H = H if self.square_root else self.G + self.eps
        eta = self.lr / (1 + (self.t - 1) * self.lr_decay)
        self.x = self.x - eta * g / H
        return self.x
