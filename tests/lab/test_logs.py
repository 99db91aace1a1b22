"""Logs of others are read into one form, judged as a comparison is, and never run."""

import csv
import json
import math
import os
import random
import re
from html import unescape
from pathlib import Path

import pytest
from scipy import stats

from ravine.lab.logs.judge import judged
from ravine.lab.logs.read import read
from ravine.lab.logs.run import COLUMNS, Run, write
from ravine.lab.protocol.statistics import Sample, differences
from ravine.lab.report.of_logs import behind, of_logs, value

from .conftest import ROOT


def run(optimizer: str, *valid: float, task="line", setting="", seed="0", **changes) -> Run:
    return Run(task, optimizer, setting, seed, tuple(map(float, range(len(valid)))), valid, **changes)


def algoperf(root: Path, submission: str, workload: str, study: int, trial: int, metric: str, rows) -> None:
    """A trial in the form of AlgoPerf's logs: seconds, steps and the metric of the validation data."""
    folder = root / submission / f"study_{study}" / workload / f"trial_{trial}"
    folder.mkdir(parents=True)
    with (folder / "eval_measurements.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["accumulated_submission_time", "global_step", f"test/{metric}", f"validation/{metric}"])
        writer.writerows([seconds, step, value, value] for seconds, step, value in rows)


def deepobs(path: Path, optimizer: str, seed: int, valid, lr=0.1, **changes) -> None:
    """A run in the form of DeepOBS's."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fields = {"testproblem": "mnist_mlp", "optimizer_name": optimizer, "optimizer_hyperparams": {"learning_rate": lr},
              "random_seed": seed, "num_epochs": len(valid) - 1, "valid_losses": valid, "test_losses": valid,
              "valid_accuracies": [0.5] * len(valid)}  # fmt: skip
    path.write_text(json.dumps(fields | changes, indent=4))


def test_the_form_is_written_as_it_is_read(tmp_path):
    runs = [run("SGD", 3.0, 0.1 + 0.2, seed="1", setting="lr=0.1", test=0.7, target=0.5),
            run("Adam", 3.0, math.inf, seconds=(0.5, 1.25))]  # fmt: skip
    write(runs, tmp_path / "logs.csv")
    assert read(tmp_path / "logs.csv") == (runs, []) == read(tmp_path)
    (tmp_path / "least.csv").write_text("valid,step,optimizer,task\n2,0,SGD,line\n1,10,SGD,line\n\n")
    assert read(tmp_path / "least.csv")[0] == [Run("line", "SGD", "", "", (0.0, 10.0), (2.0, 1.0))]


def test_the_page_s_example_is_read(tmp_path):
    page = (ROOT / "docs" / "logs.md").read_text(encoding="utf-8")
    (tmp_path / "logs.csv").write_text("task" + page.split("```\ntask")[1].split("```")[0])
    runs, _ = read(tmp_path / "logs.csv")
    assert [(r.optimizer, r.step, r.test, r.target) for r in runs] == [
        ("AdamW", (0, 100, 200), 0.43, 0.5), ("SGD", (0, 200), 0.57, 0.5),
    ]  # fmt: skip
    for column in COLUMNS:
        assert f"| `{column}` |" in page


def test_seeds_of_one_setting_are_compared_by_their_losses():
    losses = {"SGD": [1.0, 1.2, 1.1], "Adam": [0.5, 0.7, 0.6], "NAG": [0.51, 0.69, 0.62]}
    (task,), scores, unit = judged(
        [run(name, 3.0, x, seed=str(i)) for name, xs in losses.items() for i, x in enumerate(xs)]
    )
    assert [r.name for r in task.rows] == ["Adam", "NAG", "SGD"] and unit == "steps" and scores is None
    assert [r.letters for r in task.rows] == ["a", "a", "b"] and task.part == "validation"
    assert task.rows[0].value == pytest.approx(0.6) and task.rows[2].behind.mean == pytest.approx(0.5)


def test_of_several_settings_the_loss_is_that_of_a_search():
    """Eight settings, searches of two: the mean test loss of the one with the lower validation loss."""
    runs = [run("SGD", 3.0, 1.0 + i, setting=str(i), test=10.0 + i) for i in range(8)]
    again = [
        run("SGD", 3.0, 1.0, setting="0", seed=str(i), test=10.0) for i in range(1, 5)
    ]  # seeds of the best: no part
    (task,), _, _ = judged(runs + again)
    pairs = [10.0 + min(i, j) for i in range(8) for j in range(i)]
    assert task.rows[0].value == pytest.approx(sum(pairs) / len(pairs)) and task.part == "test"
    assert task.rows[0].judged == 8


def test_what_diverged_counts_with_its_first_loss():
    lost = [run("SGD", 3.0, math.nan, seed="0"), run("SGD", 3.0, 1.0, seed="1")]
    (task,), _, _ = judged(lost)
    assert task.rows[0].value == 2.0 and task.rows[0].arrivals.missed == 0.5


def test_the_baseline_is_what_is_called_so():
    def two(name: str) -> list[Run]:
        return [run(name, 3.0, 1.0, task=task, target=2.0) for task in ("line", "curve")]

    assert judged(two("a") + two("baseline") + two("AdamW"))[1].baseline == "AdamW"  # the same to us: by name
    assert judged(two("a") + two("baseline"))[1].baseline == "baseline"
    assert judged(two("a") + two("b"))[1].baseline == "a"


def test_what_a_terminal_would_obey_is_not_printed(tmp_path):
    (tmp_path / "logs.csv").write_text("task,optimizer,step,valid\nline,S\x1b[2JGD,0,1\n")
    assert read(tmp_path / "logs.csv")[0][0].optimizer == "S\ufffd[2JGD"


def test_a_run_that_is_lost_from_the_start_counts_with_the_worst_start():
    (task,), _, _ = judged(
        [run("SGD", math.nan, math.nan, seed="0"), run("SGD", 3.0, 1.0, seed="1"), run("Adam", 5.0, 2.0)]
    )
    assert {r.name: r.value for r in task.rows} == {"SGD": (5.0 + 1.0) / 2, "Adam": 2.0}


def test_where_the_baseline_diverged_there_is_no_target(tmp_path, ravine_command):
    write([run("AdamW", 3.0, math.nan), run("SGD", 3.0, 1.0)], tmp_path / "logs.csv")
    status, printed = ravine_command("compare", "--from", "logs.csv", cwd=tmp_path)
    assert status == 0 and "line: no target: the baseline diverged" in printed


def test_algoperf_is_scored_as_by_its_rules(tmp_path):
    """The median over studies of the fastest trial, to the first evaluation at the target."""
    below, reached = 0.70, 0.75  # of fastmri's ssim, 0.723653
    for study in range(3):
        for trial in (1, 2):
            at = 100 * (study + 1) * trial
            rows = [(50, 1, below), (at, 10, reached), (at + 50, 20, below)]
            algoperf(tmp_path, "quick", "fastmri_jax", study, trial, "ssim", rows)
            algoperf(tmp_path, "baseline", "fastmri_jax", study, trial, "ssim", [(2 * s, n, v) for s, n, v in rows])
            wer = [(100, 1, 0.5), (800, 9, 0.08 if study else 0.5), (1000, 10, 0.5)]
            algoperf(tmp_path, "quick", "librispeech_conformer_pytorch", study, trial, "wer", wer)
            algoperf(tmp_path, "baseline", "librispeech_conformer_pytorch", study, trial, "wer", [(100, 1, 0.5)])
            algoperf(tmp_path, "baseline", "fastmri_model_size_jax", study, trial, "ssim", rows)
    stray = tmp_path / "quick" / "study_0" / "trial_9" / "eval_measurements.csv"
    stray.parent.mkdir()
    stray.touch()
    runs, said = read(tmp_path)
    assert len(runs) == 24 and said == [
        f"Left out: 1 of the files, {stray} first; a log of AlgoPerf's lies in SUBMISSION/study_0/WORKLOAD_jax/trial_1",
        "Left out, since their targets are not the score's: fastmri_model_size",
    ]
    tasks, scores, unit = judged(runs)
    assert unit == "seconds" and [t.task for t in tasks] == ["fastmri", "librispeech_conformer"]
    assert tasks[0].target == pytest.approx(1 - 0.723653) and tasks[0].given
    assert {r.name: round(r.time, 6) for r in tasks[0].rows} == {"quick": 200, "baseline": 400}
    assert [r.time for r in tasks[1].rows] == pytest.approx([800, math.inf])
    assert [(s.name, s.score) for s in scores.standings] == [
        ("quick", 1.0),
        ("baseline", pytest.approx((2 / 3 + 0) / 2)),
    ]
    assert scores.baseline == "baseline"
    assert tasks[0].rows[1].behind.mean == pytest.approx(math.log(2)) and tasks[0].rows[1].letters == "b"


def test_a_variant_is_a_gate(tmp_path):
    """Version 0.5: who misses the variant, or takes over 4 times the fastest, has missed the workload."""
    when = {"fast": (90, 100), "late": (80, 400), "later": (80, 401), "never": (70, None), "none": (70, ())}
    for who, (base, variant) in when.items():
        for study in range(3):
            rows = [(10, 1, 2.0), (base, 9, 0.12), (500, 50, 0.11)]
            algoperf(tmp_path, who, "criteo1tb_jax", study, 1, "loss", rows)
            if variant != ():
                rows = [(10, 1, 2.0), (variant or 500, 9, 0.129 if variant else 0.13)]
                algoperf(tmp_path, who, "criteo1tb_embed_init_jax", study, 1, "loss", rows)
    runs, said = read(tmp_path)
    assert said == [
        "Counted as misses on criteo1tb, since criteo1tb_embed_init is missed or has no runs: later, never, none"
    ]
    ((task,), _, _) = judged(runs)
    assert {r.name: (r.time, r.arrivals.missed) for r in task.rows} == {
        "late": (pytest.approx(80), 0), "fast": (pytest.approx(90), 0),
        **dict.fromkeys(("later", "never", "none"), (math.inf, 1)),
    }  # fmt: skip
    assert task.budget == 500 and {r.valid for r in runs} == {(2.0, 0.12, 0.11)}


def test_a_miss_by_the_rules_is_one_from_the_start_on(tmp_path):
    for who, end in (("in", 0.129), ("out", 0.13)):
        algoperf(tmp_path, who, "criteo1tb_jax", 0, 1, "loss", [(10, 1, 0.1)])
        algoperf(tmp_path, who, "criteo1tb_embed_init_jax", 0, 1, "loss", [(10, 1, end)])
    ((task,), _, _) = judged(read(tmp_path)[0])
    assert [(r.name, r.arrivals.missed, r.time) for r in task.rows] == [
        ("in", 0, pytest.approx(10)),
        ("out", 1, math.inf),
    ]


def test_a_gate_without_its_workload_is_left_out(tmp_path):
    algoperf(tmp_path, "one", "wmt_glu_tanh_jax", 0, 1, "bleu", [(1, 1, 30)])
    algoperf(tmp_path, "one", "ogbg_jax", 0, 1, "mean_average_precision", [(1, 1, 0.3)])
    assert read(tmp_path)[1] == ["Left out, since their targets are not the score's: wmt_glu_tanh"]


@pytest.mark.parametrize("unit", ["steps", "seconds"])
def test_who_is_at_the_target_from_the_start_arrives_first(unit):
    runs = [
        run(who, *valid, seed=seed, target=2.0, **({"seconds": (0.0, 7.0, 9.0)} if unit == "seconds" else {}))
        for who, valid in (("A", (1.0, 3.0, 3.0)), ("B", (3.0, 3.0, 1.0))) for seed in "01"
    ]  # fmt: skip
    ((task,), _, said) = judged(runs)
    assert said == unit and [r.name for r in task.rows] == ["A", "B"]
    assert [r.time for r in task.rows] == pytest.approx([1, 2] if unit == "steps" else [7, 9])


def test_who_misses_the_workload_does_not_set_the_pace_of_its_variant(tmp_path):
    for who, base, variant in (("fast", None, 10), ("slow", 90, 90)):
        algoperf(tmp_path, who, "wmt_jax", 0, 1, "bleu", [(1, 1, 0.0), (base or 99, 9, 31 if base else 30)])
        algoperf(tmp_path, who, "wmt_glu_tanh_jax", 0, 1, "bleu", [(1, 1, 0.0), (variant, 9, 30)])
    runs, said = read(tmp_path)
    assert not said and max(r.valid[-1] for r in runs if r.optimizer == "slow") < 0.7


def test_crowded_valley_is_read_with_its_schedules(tmp_path):
    for schedule in ("none", "cosine"):
        at = tmp_path / "large_budget" / schedule / "mnist_mlp" / "Adam" / "lr__0.1"
        deepobs(at / "random_seed__42__2020-01-01-00-00-00.json", "Adam", 42, [3.0, 9.0])
        deepobs(at / "random_seed__42__2020-02-01-00-00-00.json", "Adam", 42, [3.0, 1.0])  # made again
        deepobs(at / "random_seed__43__2020-02-02-00-00-00.json", "Adam", 43, [3.0, math.nan])
    runs, _ = read(tmp_path)
    assert [(r.task, r.seed, r.final) for r in runs] == [
        (f"large_budget/{schedule}/mnist_mlp", seed, final)
        for schedule in ("cosine", "none") for seed, final in (("42", 1.0), ("43", math.inf))
    ]  # fmt: skip
    assert {r.setting for r in runs} == {'{"learning_rate": 0.1}'} and runs[0].step == (0.0, 1.0)
    assert {r.task for r in read(tmp_path / "large_budget" / "none")[0]} == {"mnist_mlp"}


def test_other_numbers_of_runs_are_independent_samples():
    a, b = [1.0, 1.3, 0.9, 1.1], [2.0, 1.5, 2.2, 1.9, 2.6, 1.2]
    found = differences([Sample(a), Sample(b)])[0, 1]
    ends = stats.ttest_ind(b, a, equal_var=False).confidence_interval()
    assert (found.low, found.high) == (pytest.approx(ends.low, rel=2e-3), pytest.approx(ends.high, rel=2e-3))


HEAD = "task,optimizer,setting,seed,step,seconds,valid,test,target\n"
ROW = "line,SGD,,0,0,0,3,,\n"


@pytest.mark.parametrize("text, said", [
    ("", "line 1: there is no column task; the first line must name task, optimizer, step, valid"),
    ("task,optimizer,step,valid,sed\nline,SGD,0,1,2\n", "line 1: unknown column 'sed'; there are task, optimizer"),
    (HEAD + ROW + "line,SGD\n", "line 3: 2 fields, where the first line names 9"),
    (HEAD + ",SGD,,0,0,0,3,,\n", "line 2: task and optimizer must be named"),
    (HEAD + ROW + "line,SGD,,0,1,1,low,,\n", "line 3: valid is 'low', which is no number"),
    (HEAD + ROW + "line,SGD,,0,1,1,,,\n", "line 3: valid is empty; a loss that is not finite is written as nan"),
    (HEAD + ROW + ROW, "line 3: step is 0 after 0: they must rise within a run"),
    (HEAD + "line,SGD,,0,-1,0,3,,\n", "line 2: step is -1: it must be a number from 0"),
    (HEAD + ROW + "line,SGD,,0,1,,3,,\n", "line 3: seconds must be there in all rows of a run, or in none"),
    (HEAD + "line," + "x" * 200_000 + ",,0,0,0,3,,\n", "this is no CSV: field larger than field limit"),
])  # fmt: skip
def test_what_is_wrong_is_one_line_with_file_and_line(tmp_path, ravine_command, text, said):
    path = tmp_path / "logs.csv"
    path.write_text(text)
    status, printed = ravine_command("compare", "--from", "logs.csv", cwd=tmp_path)
    assert status == 2 and printed.count("\n") == 1 and said in printed and "logs.csv" in printed


def test_other_mistakes_are_one_line(tmp_path, ravine_command):
    def told(*arguments: str) -> str:
        status, printed = ravine_command("compare", *arguments, cwd=tmp_path)
        assert status == 2 and printed.count("\n") == 1
        return printed

    assert "there is no such file or folder" in told("--from", "nowhere")
    (tmp_path / "empty").mkdir()
    assert "no runs are there; name a CSV in the form of" in told("--from", "empty")
    assert "leave out --points" in told("--from", "empty", "--points", "3")
    (tmp_path / "empty" / "trials.sqlite").touch()
    assert "compare --report empty" in told("--from", "empty")
    (tmp_path / "twice").mkdir()
    for i in range(2):
        write([run("SGD", 3.0, 1.0)], tmp_path / "twice" / f"{i}.csv")
    assert "2 runs are called SGD 0 on line: tell them apart by their seeds" in told("--from", "twice")
    deepobs(tmp_path / "json" / "a.json", "Adam", 1, [1.0], optimizer_name=None)
    assert "a.json: a run of DeepOBS has optimizer_name, text" in told("--from", "json")
    (tmp_path / "json" / "a.json").write_text('{\n"testproblem": nothing}')
    assert "a.json, line 2: this is no JSON" in told("--from", "json")
    (tmp_path / "ap").mkdir()
    (tmp_path / "ap" / "eval_measurements.csv").write_text("")
    assert "a log of AlgoPerf's lies in SUBMISSION/study_0" in told("--from", "ap")
    targets = "task,optimizer,step,valid,target\na,SGD,0,1,1\na,Adam,0,1,2\n"
    (tmp_path / "two.csv").write_text(targets)
    assert "task 'a': its runs have several targets, 1.0, 2.0" in told("--from", "two.csv")


def test_a_whole_folder_is_judged_and_converted(tmp_path, ravine_command):
    for study in range(3):
        algoperf(tmp_path / "in", "quick", "criteo1tb_jax", study, 1, "loss", [(10, 1, 2.0), (90 + study, 9, 0.12)])
        algoperf(tmp_path / "in", "slow", "criteo1tb_jax", study, 1, "loss", [(10, 1, 2.0), (190 - study, 9, 0.12)])
    status, printed = ravine_command("compare", "--from", "in", "--out", "out", cwd=tmp_path)
    assert status == 0 and "criteo1tb: target 0.1237, given" in printed and "seconds by quick" in printed
    row = next(line for line in printed.splitlines() if "slow" in line)
    assert row.startswith("b") and " 2.08 [" in row and "189" in row
    announced = "\nThe page of it: out/report.html\n"
    assert printed.endswith(announced)
    assert "quick is the first at the target." in (tmp_path / "out" / "report.html").read_text()
    again = ravine_command("compare", "--from", "out/logs.csv", cwd=tmp_path)
    assert again == (0, printed.removesuffix(announced))
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "trials.sqlite").touch()
    status, printed = ravine_command("compare", "--from", "in", "--out", "theirs", cwd=tmp_path)
    assert status == 2 and "a comparison of ravine's and its report lie there" in printed


def found(runs):
    return of_logs(Path("logs"), *judged(runs), ["Left out: one."])


def cells(html, after):
    """The text of a table's rows, cell by cell."""
    body = html[html.index(after) :].split("<tbody>")[1].split("</tbody>")[0]
    rows = (re.findall(r"<t[dh].*?>(.*?)</t[dh]>", row, re.DOTALL) for row in body.split("</tr>")[:-1])
    return [[unescape(re.sub(r"<.*?>", "", cell)) for cell in row] for row in rows]


def test_the_page_has_what_is_printed():
    ends = {"<i>Adam": (0.9, 0.5), "SGD": (1.4, 0.8), "Adagrad": (2.0, 1.9), "Lion": (2.0, math.nan)}
    runs = [
        run(who, 3.0, *(k * (1 + int(seed) / 50) for k in losses), task=task, seed=seed, test=losses[-1] + 0.1,
            target=1.0 if task == "b" else None)
        for task in "ab" for who, losses in ends.items() for seed in "012"
    ]  # fmt: skip
    html = found(runs)
    tasks, scores, _ = judged(runs)
    assert f"<h1>&lt;i&gt;Adam has the highest score over 2 tasks, {scores.standings[0].score:.3f}.</h1>" in html
    assert "<i>" not in html and "Left out: one." in html
    for i, task in enumerate(tasks):
        assert cells(html, f'id="of-{i}"') == [
            [r.letters, r.name, value(r, task.given), *([] if task.given else [behind(r)]),
             f"{r.time:,.0f}" if r.time < math.inf else "never", f"{100 * r.arrivals.missed:.0f} %", "3"]
            for r in task.rows
        ]  # fmt: skip
    printed = {row[1]: row[2:] for row in cells(html, 'id="of-0"')}
    assert printed["Lion"][0] == "diverged" and printed["SGD"][0] == "0.9"
    assert printed["Adagrad"][2:] == ["never", "100 %", "3"]
    assert [row[:2] for row in cells(html, 'id="scores"')] == [[s.name, f"{s.score:.3f}"] for s in scores.standings]
    charts = json.loads(html.split('id="charts">')[1].split("</script>")[0])["figures"]
    assert list(charts) == ["task-0", "task-1", "profile"]
    of_b = {t["name"]: t["y"] for t in charts["task-1"]["data"]}
    assert of_b["<i>Adam"] == [3.0, 0.918] and of_b["SGD"] == [3.0, 1.428, 0.816]  # seed 1's, up to the target
    assert "Adagrad" in of_b and "Lion" not in of_b


def test_the_page_of_one_task_says_who_is_first():
    same = [run(who, 3.0, 1.0 + d / 10, seed=str(d)) for who in ("Adam", "SGD") for d in range(3)]
    html = found(same)
    assert "<h1>Adam has the lowest validation loss, but cannot be told from SGD.</h1>" in html
    assert 'id="over-tasks"' not in html
    lost = found([run("Adam", math.nan, math.nan), run("AdamW", math.nan, math.nan)])
    assert "<h1>All optimizers diverged.</h1>" in lost and "No target: the baseline" in lost
    assert 'class="chart"' not in lost
    never = [run(who, 3.0, 2.0, target=1.0, task=task) for who in ("Adam", "SGD") for task in "ab"]
    assert "<h1>No optimizer reaches the target.</h1>" in found(never[::2])
    assert "<h1>No target is reached.</h1>" in found(never)
    even = [run(who, 3.0, 1.0, target=1.0, task=task) for who in ("Adam", "SGD") for task in "ab"]
    assert "<h1>Adam and SGD have the highest score over 2 tasks, 1.000.</h1>" in found(even)
    assert "<h1>SGD is the only optimizer in these logs.</h1>" in found(even[2:3])


def test_a_file_s_name_need_not_be_text(tmp_path, ravine_command):
    path = tmp_path / os.fsdecode(b"x\xff.csv")
    try:
        path.write_text("task,optimizer,step,valid\nt,a,0,1\nt,a,1,0.5\n")
    except OSError:
        pytest.skip("this file system has no such names")
    assert ravine_command("compare", "--from", str(path), "--out", "out", cwd=tmp_path)[0] == 0
    assert "x?.csv" in (tmp_path / "out" / "report.html").read_text()


@pytest.mark.parametrize("kind", ["csv", "algoperf", "deepobs"])
def test_a_damaged_file_is_judged_or_one_line(tmp_path, ravine_command, kind):
    for i in range(2):
        if kind == "csv":
            write([run("SGD", 3.0, 1.0 + i, seed=str(i)), run("Adam", 2.0, 1.0, seed=str(i))], tmp_path / f"{i}.csv")
        elif kind == "algoperf":
            algoperf(tmp_path, "quick", "criteo1tb_jax", i, 1, "loss", [(10, 1, 2.0), (90, 9, 0.12)])
        else:
            deepobs(tmp_path / f"{i}.json", "Adam", i, [3.0, 1.0, math.nan, 10**400 if i else 1])
    files = [f for f in tmp_path.rglob("*") if f.is_file()]
    whole = {f: f.read_bytes() for f in files}
    statuses = set()
    for seed in range(150):
        chance = random.Random(seed)
        path = chance.choice(files)
        text = bytearray(whole[path])
        for _ in range(chance.randint(1, 6)):
            at, odd = (
                chance.randrange(len(text)),
                chance.choice([b"\0", b"\xff", b"9" * 400, b"-", b"\n", b'"', b",", b"", b"e9", b"[", b"\x1b"]),
            )
            text[at : at + chance.randint(0, 3)] = odd
        path.write_bytes(bytes(text))
        status, printed = ravine_command("compare", "--from", ".", cwd=tmp_path)
        assert status == 0 or (status == 2 and printed.count("\n") == 1), (seed, printed)
        assert "\x1b" not in printed
        statuses.add(status)
        path.write_bytes(whole[path])
    assert 2 in statuses


@pytest.mark.parametrize(("seconds", "said"), [("nan", "is nan"), ("-1", "is -1"), ("inf", "is inf")])
def test_seconds_of_algoperf_are_numbers_from_0(tmp_path, ravine_command, seconds, said):
    algoperf(tmp_path, "one", "mnist", 0, 1, "loss", [])
    (path,) = tmp_path.rglob("*.csv")
    at = tmp_path / "one" / "study_0" / "wmt_jax" / "trial_1" / path.name
    at.parent.mkdir(parents=True)
    at.write_text(f"accumulated_submission_time,global_step,validation/bleu\n{seconds},1,30\n")
    path.unlink()
    status, printed = ravine_command("compare", "--from", str(tmp_path), cwd=tmp_path)
    assert status == 2 and f"accumulated_submission_time {said}" in printed and "line 2" in printed


def test_what_is_read_is_not_written_over(tmp_path, ravine_command):
    (tmp_path / "a.csv").write_text("task,optimizer,step,valid\nt,a,0,1\nt,a,1,0.5\n")
    for there in (".", "a.csv"):
        status, printed = ravine_command("compare", "--from", there, "--out", ".", cwd=tmp_path)
        assert status == 2 and "the logs that are read lie there" in printed
    for more in (["--trust"], ["--serve"]):
        assert ravine_command("compare", "--from", "a.csv", *more, cwd=tmp_path)[0] == 2
    assert [x.name for x in tmp_path.iterdir()] == ["a.csv"]
