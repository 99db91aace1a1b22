"""How the laws compare: a comparison that passes everything would hold every law."""

import pytest
import torch
from cases import near

TINY = torch.tensor([1e-8, 0.0])
INF, NAN = torch.inf, torch.nan


def test_what_is_near_is_near_on_the_scale_of_the_tensor():
    near(TINY, TINY * (1 + 1e-7), 1e-6)
    near(0 * TINY, 0 * TINY, 0)
    near(torch.tensor([1.0, 0.0]), torch.tensor([1.0, 1e-8]), 1e-6)
    near(TINY, 2 * TINY, 1e-6, torch.ones(2))  # what is left where terms of 1 cancel
    near(torch.tensor([NAN, INF, -INF, 1.0]), torch.tensor([NAN, INF, -INF, 1.0]), 0)


@pytest.mark.parametrize(
    ("a", "b"),
    [(TINY, 2 * TINY), (TINY, 0 * TINY), *((torch.tensor([x, 1.0]), torch.ones(2)) for x in (INF, -INF, NAN))],
)
def test_what_is_not_near_is_seen(a, b):
    for one, other in ((a, b), (b, a)):
        with pytest.raises(AssertionError):
            near(one, other, 1e-6)
