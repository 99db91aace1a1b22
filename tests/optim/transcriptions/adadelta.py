"""ADADELTA."""

import torch


class AdadeltaPaper:
    """Zeiler 2012, Algorithm 1    https://arxiv.org/abs/1212.5701

        3: compute gradient             g_t
        4: accumulate gradient          E[g²]_t = ρ E[g²]_{t−1} + (1 − ρ) g_t²
        5: compute update               Δx_t = − RMS[Δx]_{t−1} / RMS[g]_t · g_t
        6: accumulate updates           E[Δx²]_t = ρ E[Δx²]_{t−1} + (1 − ρ) Δx_t²
        7: apply update                 x_{t+1} = x_t + Δx_t

    with RMS[y] = √(E[y²] + ε) (eq. 9); eps_inside=False: √E[y²] + ε. The paper has no rate (lr = 1); lr
    multiplies line 7 only, as in torch. weight_decay is L2.
    """

    def __init__(self, p, lr=1.0, rho=0.9, eps=1e-6, weight_decay=0.0, eps_inside=True):
        self.x = p.clone()
        self.lr, self.rho, self.eps, self.lam, self.eps_inside = lr, rho, eps, weight_decay, eps_inside
        self.Eg2 = torch.zeros_like(p)
        self.Edx2 = torch.zeros_like(p)

    def RMS(self, E):
        return torch.sqrt(E + self.eps) if self.eps_inside else torch.sqrt(E) + self.eps

    def step(self, g):
        g = g + self.lam * self.x
        self.Eg2 = self.rho * self.Eg2 + (1 - self.rho) * g * g
        dx = -self.RMS(self.Edx2) / self.RMS(self.Eg2) * g
        self.Edx2 = self.rho * self.Edx2 + (1 - self.rho) * dx * dx
        self.x = self.x + self.lr * dx
        return self.x
