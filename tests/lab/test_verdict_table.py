"""`ravine compare --export`: the verdict, a row for each method, and the same for a paper."""

import csv
import re
from dataclasses import replace

import pytest

from ravine.lab.protocol.outcome import reaches, stays_at
from ravine.lab.report import export
from ravine.lab.report.verdict_table import latex, verdict

from .synthetic import outcome, swept


def test_a_row_for_each_method_at_each_batch_size():
    main = swept()
    rows = verdict(main)
    assert [(row["batch"], row["rank"]) for row in rows] == [(b, i) for b in (32, 8, 128) for i in (1, 2, 3, 4, 5)]
    best, second, *_, lost = rows[:5]
    adam, behind = main.methods[1], main.behind(main.methods[1])
    assert (second["optimizer"], second["label"], second["letters"]) == ("adam", "Adam", main.groups["Adam"])
    assert second["loss"] == adam.loss and best["behind"] is None
    assert (second["behind_low"], second["behind"], second["behind_high"]) == (behind.low, behind.mean, behind.high)
    assert second["steps_to_target"] == reaches(adam.tuned, 0.4)
    assert second["steps_to_stay_at_easy_target"] == stays_at(adam.tuned, 1.0) < second["steps_to_target"]
    assert (second["setting_lr"], second["fit_seconds"], second["ms_per_step"]) == (adam.hyper["lr"], 1.5, 1.0)
    assert (second["new_seeds_accuracy"], second["defaults_loss"]) == (0.5, adam.usual) and best["at_edge"] == "lr"
    assert rows[3]["steps_to_target"] is None  # never
    assert (lost["loss"], lost["seeds_diverged"], lost["trials_diverged"], lost["letters"]) == (None, 2, 2, "")


def test_files(tmp_path):
    main = outcome()
    export.export_verdict(main, tmp_path, "csv")
    with (tmp_path / "verdict.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert float(rows[1]["loss"]) == main.methods[1].loss and rows[4]["loss"] == ""
    assert (tmp_path / "verdict.tex").read_text(encoding="utf-8") == latex(main)


def test_parquet_has_the_same(tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet", reason='needs the extra: pip install ".[parquet]"')
    export.export_verdict(outcome(), tmp_path, "parquet")
    assert parquet.read_table(tmp_path / "verdict.parquet").to_pylist() == verdict(outcome())


def test_a_table_for_a_paper():
    main = outcome()
    text = latex(main)
    body = text.split("\\midrule\n")[1].split("\\bottomrule")[0].splitlines()[:-1]
    cells = [[cell.strip() for cell in re.split(r"(?<!\\)&", row.removesuffix(r"\\"))] for row in body]
    assert cells[0][:3] == ["RAdam", rf"{main.methods[0].loss:.4f}\textsuperscript{{a}}", ""]
    behind = main.behind(main.methods[1])
    assert cells[1][2] == f"{behind.mean:.4f} [{behind.low:.4f}, {behind.high:.4f}]"
    assert cells[1][3:7] == ["0.5000", "30", "1.00", "1.50"] and (cells[4][1], cells[4][4]) == ("diverged", "--")
    assert re.search(r"\\begin{tabular}{(\w+)}", text)[1] == "lrrrrrrl" and {len(row) for row in cells} == {8}
    assert r"in 95 \% of comparisons" in text and "loss is 1 or less, what NAdam" in text


def test_names_are_set_as_they_are_written():
    main = outcome()
    card = replace(main.methods[0].card, label="[*]{\\input{x}} & 50 % of $a_1^2$ # ~\n\n")
    facts = replace(main.facts, task=replace(main.facts.task, metric=None))
    text = latex(
        replace(main, methods=(replace(main.methods[0], card=card),), target=None, easy_target=None, facts=facts)
    )
    row = text.split("\\midrule\n")[1].split("\n")[0]
    name, _ = re.split(r"(?<!\\)&", row.strip(), maxsplit=1)
    plain = {"textbackslash": "\\", "textasciitilde": "~", "textasciicircum": "^"}
    plain_name = re.sub(r"\\(text\w+){}", lambda found: plain[found[1]], name.replace("{[}", "[").replace("{*}", "*"))
    back = re.sub(r"\\([&%$#_{}])", r"\1", plain_name)
    assert back.strip() == "[*]{\\input{x}} & 50 % of $a_1^2$ # ~"
    assert name.startswith("{[}{*}]") and not re.search(r"(?<!\\)[%$#_^~]", name)
    assert "tabular}{lrrrl}" in text and "Behind" not in text  # neither metric, target nor anything to compare with
