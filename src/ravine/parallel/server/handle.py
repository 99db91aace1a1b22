"""What a worker is handed to reach a server: it can be sent to another process."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from torch import Tensor, nn

from ravine.parallel.placement import Placement
from ravine.parallel.server.client import Client
from ravine.parallel.server.talk import Lines


class Handle:
    """How worker `number` reaches a server.

    rule, hyper: the name and the numbers of the server's rule.
    connect: makes the lines to its shards, in the worker's process.
    """

    def __init__(
        self,
        number: int,
        placement: Placement,
        rule: str,
        hyper: Mapping[str, float],
        connect: Callable[[int], Lines],
        measured: bool = False,
    ):
        self.number, self.placement, self.rule, self.hyper = number, placement, rule, dict(hyper)
        self.connect, self.measured, self.clients = connect, measured, 0

    def client(self) -> Client:
        """A conversation, from its beginning: each of a worker counts on from another number."""
        self.clients += 1
        return Client(self.number, self.placement, self.measured, start=(self.clients - 1) << 40)

    def lines(self) -> Lines:
        """Lines to all shards."""
        return self.connect(self.number)

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The names of all parameters, in the server's order, and their shapes."""
        return {x.name: (x.rows, *x.shape[1:]) if x.shape else () for x in self.placement}

    def matched(self, params: Sequence[Tensor], who: str) -> dict[str, Tensor]:
        """A worker's parameters by the server's names; both are in the order of the model."""
        wanted = self.shapes
        params = [p for p in params if trained(p)]
        shapes = [tuple(p.shape) for p in params]
        if shapes != list(wanted.values()):
            raise ValueError(
                f"{who}: the optimizer has parameters of shapes {shapes}, and the server {list(wanted.values())}; make "
                "both of the same model's parameters, in one order"
            )
        return dict(zip(wanted, params, strict=True))


def trained(p: Tensor) -> bool:
    """False for parameters that are frozen: they stay as each worker's model has them."""
    return p.requires_grad or not isinstance(p, nn.Parameter)
