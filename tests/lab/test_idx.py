"""The IDX reader reads what is right and says precisely what is wrong."""

import gzip
import struct

import pytest
import torch

from ravine.lab.errors import LabError
from ravine.lab.tasks.idx import read_idx

SHAPE = (3, 2, 2)
PIXELS = bytes(range(12))
WHOLE = bytes([0, 0, 8, 3]) + struct.pack(">3I", *SHAPE) + PIXELS


@pytest.mark.parametrize("name", ["a.gz", "a"])
def test_reads_plain_and_gzipped(tmp_path, name):
    (tmp_path / name).write_bytes(gzip.compress(WHOLE) if name.endswith("gz") else WHOLE)
    assert torch.equal(read_idx(tmp_path / "a.gz", SHAPE), torch.arange(12, dtype=torch.uint8).view(SHAPE))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "begins with nothing, expected 00 00 08 03"),
        (b"\x89PNG" + WHOLE, "begins with 89 50 4e 47, expected 00 00 08 03"),
        (bytes([0, 0, 8, 1]) + WHOLE[4:], "begins with 00 00 08 01"),
        (WHOLE[:10], "truncated in its header: 10 bytes, expected 16"),
        (bytes([0, 0, 8, 3]) + struct.pack(">3I", 5, 2, 2) + PIXELS, "its header says 5 x 2 x 2, expected 3 x 2 x 2"),
        (WHOLE[:-1], "truncated: 27 bytes, expected 28"),
        (WHOLE + b"x", "too long: 29 bytes, expected 28"),
    ],
)
def test_says_what_is_wrong(tmp_path, content, message):
    (tmp_path / "a").write_bytes(content)
    with pytest.raises(LabError, match=message) as error:
        read_idx(tmp_path / "a", SHAPE)
    assert str(tmp_path / "a") in str(error.value)


def test_a_broken_or_missing_gzip(tmp_path):
    path = tmp_path / "a.gz"
    with pytest.raises(LabError, match=r"no such file; --data must name the folder that holds a\.gz"):
        read_idx(path, SHAPE)
    packed = gzip.compress(WHOLE)
    for broken in (packed[:-9], packed[:12] + b"\xff\xff" + packed[14:], b"not gzip"):
        path.write_bytes(broken)
        with pytest.raises(LabError, match="not a whole gzip file"):
            read_idx(path, SHAPE)
