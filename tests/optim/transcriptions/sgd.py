"""SGD as torch defines it: momentum, dampening, nesterov."""


class SGDPaper:
    """torch.optim.SGD's pseudocode    https://docs.pytorch.org/docs/stable/generated/torch.optim.SGD.html

    The form is torch's own: the first buffer is g₁ itself, undampened, and lr stays outside the buffer.
    `nesterov` is Sutskever et al. 2013, eq. 3-4 (https://proceedings.mlr.press/v28/sutskever13.html), in
    the shifted variables of Bengio et al. 2012 (https://arxiv.org/abs/1212.0901, section 3.5).
    """

    def __init__(self, p, lr=1e-3, momentum=0.0, dampening=0.0, weight_decay=0.0, nesterov=False):
        self.theta = p.clone()
        self.lr, self.mu, self.tau, self.lam, self.nesterov = lr, momentum, dampening, weight_decay, nesterov
        self.b = None
        self.t = 0

    def step(self, g):
        self.t = self.t + 1
        if self.lam != 0:
            g = g + self.lam * self.theta
        if self.mu != 0:
            if self.t > 1:
                self.b = self.mu * self.b + (1 - self.tau) * g
            else:
                self.b = g
            g = g + self.mu * self.b if self.nesterov else self.b
        self.theta = self.theta - self.lr * g
        return self.theta
