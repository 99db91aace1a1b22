"""Methods that look at whole tensors or at all of them, on several processes: as in one (exchanged.py)."""

from pathlib import Path

import pytest
from cases import ALL, COVER
from test_sharded import distributed, ranks

pytestmark = distributed
SCRIPT = Path(__file__).with_name("exchanged.py")


def run(world: int, folder: Path, action: str, names: str, kept: Path | None = None) -> None:
    """Every process finds all equal."""
    folder.mkdir(exist_ok=True)
    assert ranks(SCRIPT, world, folder, action, names, str(kept or folder)) == ["equal"] * world


CASES = [
    pytest.param(world, action, names, marks=getattr(pytest.mark, tier), id=f"{action} {i}")
    for i, (tier, world, action, names) in enumerate(
        [
            ("ci", 2, "methods", "lamb,prodigy,adafactor"),
            ("slow", 2, "methods", ",".join(ALL)),
            ("slow", 4, "methods", ",".join(COVER)),
            ("slow", 2, "options", "adam,lamb,adafactor,prodigy"),
            ("slow", 4, "options", "lamb"),
            ("ci", 2, "modules", "lamb,adafactor,momo"),
            ("slow", 2, "modules", ",".join(ALL)),
            ("slow", 4, "modules", ",".join(COVER)),
            ("ci", 2, "zero", "prodigy,schedulefreeadamw"),
            ("slow", 3, "zero", ",".join(ALL)),
            ("slow", 5, "zero", "adam,prodigy"),  # one has no parameter
            ("ci", 2, "matrices", "-"),
            ("slow", 4, "matrices", "-"),
            ("ci", 2, "rest", "sgd,adam,lamb,prodigy,adafactor"),
        ]
    )
]


@pytest.mark.parametrize(("world", "action", "names"), CASES)
def test_several_processes_step_as_one(world: int, action: str, names: str, tmp_path: Path):
    run(world, tmp_path, action, names)


@pytest.mark.parametrize(
    "worlds", [pytest.param((2, 1), marks=pytest.mark.ci), pytest.param((2, 4), marks=pytest.mark.slow)]
)
@pytest.mark.parametrize(
    "names",
    [
        pytest.param("lamb,prodigy,sm3,normuon", id="some"),
        pytest.param(",".join(ALL), id="all", marks=pytest.mark.slow),
    ],
)
def test_a_distributed_checkpoint_goes_on_in_another_world(worlds: tuple[int, int], names: str, tmp_path: Path):
    before, after = worlds
    run(before, tmp_path / "before", "save", names, tmp_path)
    run(after, tmp_path / "after", "load", names, tmp_path)


EXAMPLE = """
import sys
sys.path[:0] = [sys.argv[4]]
import torch.distributed as dist
import distributed

rank, world = int(sys.argv[1]), int(sys.argv[2])
dist.init_process_group("gloo", init_method=f"file://{sys.argv[3]}", rank=rank, world_size=world)
assert distributed.main(sys.argv[5], sys.argv[6], epochs=10) > 0.7
print("learned")
"""


@pytest.mark.ci
@pytest.mark.parametrize(("name", "how"), [("lamb", "fsdp"), ("prodigy", "zero")])
def test_the_example_learns_the_digits_on_two_processes(name: str, how: str, tmp_path: Path):
    script = tmp_path / "rank.py"
    script.write_text(EXAMPLE)
    examples = str(SCRIPT.parents[2] / "examples")
    assert [x.splitlines()[-1] for x in ranks(script, 2, tmp_path, examples, name, how)] == ["learned"] * 2
