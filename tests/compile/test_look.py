"""What machine code sees of tensors is what torch says of them."""

from array import array

import pytest
import torch

from ravine.compile.launch.base import local
from ravine.compile.launch.look import Places, native

pytestmark = pytest.mark.skipif(native() is None, reason="this torch has no C interface that answers as expected")


def some():
    return [torch.randn(5, 3), torch.randn(()), torch.randn(0, 4), torch.randn(6, dtype=torch.float64)[2:]]


def test_addresses_are_torchs():
    stay, change = some(), some()
    places = Places(stay, len(change), python=False)
    places.look(change, local)
    assert list(places.addresses) == [x.data_ptr() for x in (*stay, *change)]


@pytest.mark.parametrize("python", [False, True])
@pytest.mark.parametrize(
    "other",
    [
        lambda x: x.t(),
        lambda x: x[:2],
        lambda x: x.view(torch.int32),
        lambda x: x[::2],
        lambda x: x.flatten()[None],
    ],
    ids=["turned", "cut", "type", "spread", "flat"],
)
def test_another_kind_at_the_same_address_is_seen(python, other):
    x = torch.randn(4, 4)
    places = Places([x], 1, python)
    places.look([x], local)
    addresses, kinds = places.addresses[:], places.kinds[:]
    places.look([x], local)
    assert places.kinds == kinds
    places.look([other(x)], local)
    assert places.addresses == addresses
    assert places.kinds[0] == kinds[0] and places.kinds[1] != kinds[1]


def test_a_tensor_without_memory_is_an_error(capfd):
    places = Places([torch.ones(2)], 1, python=False)
    with pytest.raises(RuntimeError):
        places.look([torch.ones(2, 2).to_sparse()], local)
    capfd.readouterr()


def test_a_tensor_that_moves_is_seen():
    x, y = torch.ones(3), torch.zeros(3)
    places = Places([x], 0, python=False)
    places.look([], local)
    before = array("q", places.addresses)
    x.data = y
    places.look([], local)
    assert places.addresses[0] == y.data_ptr() != before[0]
