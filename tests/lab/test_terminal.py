"""The table that `ravine compare` prints."""

from dataclasses import replace

import ravine
from ravine.lab.report import terminal

from .synthetic import method, outcome


def test_a_table_of_eight_has_room_in_100_columns(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("COLUMNS", "100")
    main = outcome()
    others = [method(name, getattr(ravine, name), 0.6) for name in ("Momentum", "Adagrad", "RMSprop")]
    terminal.show(replace(main, methods=(*main.methods, *others)), tmp_path / "report.html")
    printed = capsys.readouterr().out.splitlines()
    table = printed[: 2 + 8]
    assert table[1].split()[-2:] == ["fit", "s"] and max(map(len, table)) <= 100
    assert [row.split()[-1] for row in table[2:]] == ["1.50"] * 8
    assert "RAdam" in table[2] and printed[10].startswith("test loss is")


def test_a_fit_is_the_median_of_those_that_ended():
    main = outcome()
    lost = main.methods[-1]
    runs = [replace(r, seconds=i) for i, r in enumerate(lost.tuned)]
    assert replace(lost, tuned=tuple(runs)).seconds == 3  # of 2, 3 and 4: the first two diverged
    assert str(replace(lost, tuned=tuple(runs[:2])).seconds) == "nan"


def test_the_classic_experiment_says_both_losses_and_how_soon_they_are_low(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("COLUMNS", "100")
    main = outcome()
    fixed = tuple(replace(m, tried=(), space={}, defaults=(), edges={}) for m in main.methods[:2] + main.methods[4:])
    facts = replace(main.facts, preset="classic")
    terminal.show(replace(main, methods=fixed, facts=facts, easy_target=0.23), tmp_path / "report.html")
    first, second, *rows = capsys.readouterr().out.splitlines()
    ends = [m.validation for m in fixed]
    assert first.split() == ["training", "test", "epochs", "to"] and f"0.23, {ends[1]:.4g}" in second
    assert [row.split()[2] for row in rows[:2]] == [f"{0.9 * end:.4f}" for end in ends[:2]]
    assert max(map(len, (first, second, *rows[:3]))) <= 100
    assert "7.0, 7.0" in rows[0] and "–, 10.0" in rows[1] and "diverged" in rows[2]
    assert f"at 0.23, the easier target, and at {ends[1]:.4g}, what the last one ends with" in rows[4]
