"""Methods that look at whole tensors or at all of them, on several processes: as in one (exchanged.py)."""

from pathlib import Path

import pytest
from cases import ALL, COVER
from test_sharded import distributed, ranks

pytestmark = distributed
SCRIPT = Path(__file__).with_name("exchanged.py")
REST = ",".join(name for name in ALL if name not in COVER)
SOME = "adam,nadam,lamb,prodigy,adafactor,sm3,momo"


def run(world: int, folder: Path, action: str, names: str, kept: Path | None = None) -> None:
    """Every process finds all equal."""
    folder.mkdir(exist_ok=True)
    assert ranks(SCRIPT, world, folder, action, names, str(kept or folder)) == ["equal"] * world


CASES = [
    pytest.param(world, action, names, marks=getattr(pytest.mark, tier), id=f"{action} {i}")
    for i, (tier, world, action, names) in enumerate(
        [
            ("ci", 2, "methods", SOME),
            ("slow", 2, "methods", REST),
            ("slow", 4, "methods", ",".join(COVER)),
            ("ci", 2, "options", "lamb"),
            ("slow", 2, "options", "adam,adafactor,prodigy"),
            ("slow", 4, "options", "lamb"),
            ("ci", 2, "modules", SOME),
            ("slow", 2, "modules", REST),
            ("slow", 4, "modules", ",".join(COVER)),
            ("ci", 2, "zero", "adam,lamb,prodigy,schedulefreeadamw"),
            ("slow", 3, "zero", ",".join(ALL)),
            ("slow", 5, "zero", "adam,prodigy"),  # one has no parameter
            ("ci", 2, "rest", "sgd,adam,lamb,prodigy,adafactor"),
        ]
    )
]


@pytest.mark.parametrize(("world", "action", "names"), CASES)
def test_several_processes_step_as_one(world: int, action: str, names: str, tmp_path: Path):
    run(world, tmp_path, action, names)


@pytest.mark.parametrize("worlds", [pytest.param((2, 1), marks=pytest.mark.ci), pytest.param((2, 4), marks=pytest.mark.slow)])
@pytest.mark.parametrize("names", [pytest.param(SOME, id="some"), pytest.param(REST, id="rest", marks=pytest.mark.slow)])
def test_a_distributed_checkpoint_goes_on_in_another_world(worlds: tuple[int, int], names: str, tmp_path: Path):
    before, after = worlds
    run(before, tmp_path / "before", "save", names, tmp_path)
    run(after, tmp_path / "after", "load", names, tmp_path)
