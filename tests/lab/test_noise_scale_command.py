"""`ravine noise-scale` trains a task and says how large a batch is still worth it."""

import re

import pytest

from ravine.cli import main


def test_it_measures_the_digits(capsys):
    assert main(["noise-scale", "--steps", "80", "--batch", "32", "--optimizer", "momentum"]) == 0
    out = capsys.readouterr().out
    rows = re.findall(r"^ +(\d+)-(\d+) +([\d.]+) +([\d.]+)  ([\d.]+) (?:to|or more)", out, re.MULTILINE)
    assert [(int(a), int(b)) for a, b, *_ in rows] == [(1, 20), (21, 40), (41, 60), (61, 80)]
    losses, scales = [float(x[2]) for x in rows], [float(x[3]) for x in rows]
    assert losses[0] > losses[-1] and all(1 < x < 10_000 for x in scales)
    assert "At the end B_simple is" in out and "with sgd" in out and "with adam" in out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("--batch 30", "--batch 30: must be a multiple of --micros 8"),
        ("--micros 1", "--micros: must be 2 or more, and is 1"),
        ("--steps 10", "--steps: must be 40 or more, and is 10"),
        ("--lr -1", "--lr -1: must be above 0"),
        ("--batch 8000", "--batch 8000: task 'digits' has 1197 examples"),
        ("--optimizer adm", "unknown optimizer 'adm': did you mean adam"),
        ("--optimizer adam:lr=0.1 --lr 1", "--lr 1: --optimizer adam:lr=0.1 has a rate of its own"),
        ("--task digit", "unknown task 'digit'"),
        ("--optimizer sgd --lr 1e30", "diverges with sgd at lr 1e+30"),
        ("--batches 3", "unrecognized arguments: --batches 3 (see ravine noise-scale --help)"),
    ],
)
def test_one_line_and_status_2(capsys, arguments, said):
    assert main(["noise-scale", *arguments.split()]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and err.startswith("ravine: ") and said in err
