"""Each benchmark runs on small shapes and leaves a record that the page shows; what misses its aim has a reason."""

import inspect
import json
import math
import re
import sys
from importlib import import_module
from itertools import pairwise
from pathlib import Path

import pytest
import torch

import ravine

ROOT = Path(__file__).parents[2]
SCRIPTS = {
    "loop": ["--models", "tiny", "mlp"],
    "storage": ["--models", "tiny"],
    "scaling": ["--numbers", "1000", str(10**15), "--tensors", "2", "5"],
    "peers": ["--model", "tiny", "--only", "ravine", "absent", "broken"],
    "step": ["--only", "tiny"],
    "embedding": [],
    "monitor": ["--models", "mlp, batch 32"],
    "matrix": ["--width", "8", "--layers", "1"],
    "busy": ["--models", "mlp", "--busy", "0", "1"],
}


@pytest.fixture(autouse=True)
def scripts(monkeypatch):
    """They are imported as they import each other."""
    monkeypatch.syspath_prepend(ROOT / "docs")
    monkeypatch.syspath_prepend(ROOT / "benchmarks")


def record(name, arguments, folder, monkeypatch):
    """What a script leaves."""
    out = folder / f"{name}.json"
    monkeypatch.setattr(sys, "argv", [f"benchmarks/{name}.py", *arguments, "--rounds", "1", "--out", str(out)])
    import_module(name).main()
    return json.loads(out.read_text())


@pytest.fixture
def small(monkeypatch):
    """Small cases for the scripts that have them as constants, and peers that do not run."""
    monkeypatch.setattr(import_module("embedding"), "CASES", [(100, 10)])
    monkeypatch.setattr(import_module("busy"), "TURN", 0.01)
    peers = import_module("peers")
    more = {"absent": peers.Peer("no-such-package", peers.torchs), "broken": peers.Peer("torch", peers.torchs)}
    monkeypatch.setattr(peers, "PEERS", peers.PEERS | more)  # the process of its own does not know the broken one


@pytest.mark.ci
@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_leaves_a_record_that_the_page_shows(name, small, tmp_path, monkeypatch):
    found = record(name, SCRIPTS[name], tmp_path, monkeypatch)
    assert found["rows"] and found["machine"]["threads"] == 1
    page = import_module("performance").page(tmp_path)
    assert f"`{found['command']}`" in page
    for row in found["rows"]:
        assert "reason" in row or (min(row["seconds"].values()) > 0 and row["ratios"].keys() >= row["aims"].keys())
        lines = [x for x in page.splitlines() if x.startswith("|") and row["model"] in x]
        assert any(row.get("reason", "|") in x for x in lines), row
    if name == "scaling":  # what does not fit
        assert [x["model"] for x in found["rows"] if "GB would be needed" in x.get("reason", "")] == ["1e+09m"]
    if name == "peers":  # what does not run
        reasons = {row["question"]: row.get("reason") for row in found["rows"]}
        assert reasons["ravine"] is None and reasons["absent"] == "not installed: pip install no-such-package"
        assert "it fails" in reasons["broken"] and "broken" in reasons["broken"]
        ours = next(row for row in found["rows"] if row["question"] == "ravine")
        assert ours["gap"] < 1e-4 and ours["state"] == pytest.approx(8, abs=0.2)


def test_a_peer_that_fails_beside_the_others_is_left_out(monkeypatch):
    peers, bench = import_module("peers"), import_module("bench")
    monkeypatch.setattr(peers, "PEERS", peers.PEERS | {"no": peers.Peer("torch", lambda params: params.missing)})
    times, refused = peers.together(bench.Bench("tiny"), ["fused", "no"], rounds=1)
    assert set(times) == {"stream", "fused"} and "AttributeError" in refused["no"]


def test_both_ends_of_a_loop_do_the_same():
    loop, bench = import_module("loop"), import_module("bench")
    mine, its = bench.Bench("mlp"), bench.Bench("mlp")
    opt, step = loop.ours(mine.params), loop.theirs(its.params)
    for factor in (1, 100, 0.1):  # longer than the norm that it is cut to, and shorter
        for p, q in zip(mine.params, its.params, strict=True):
            p.grad = torch.sin(torch.arange(p.numel(), dtype=torch.float32)).view_as(p) * factor / 1000
            q.grad = p.grad.clone()
        opt.step()
        step()
    assert all(torch.allclose(p, q, atol=1e-6) for p, q in zip(mine.params, its.params, strict=True))
    opt.eval()
    assert all(torch.allclose(p, q, atol=1e-6) for p, q in zip(mine.params, step.averages, strict=True))


@pytest.mark.ci
@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="it takes the sources of a commit")
def test_the_sources_of_a_commit_take_turns_with_todays(tmp_path, monkeypatch):
    rows = record("before", ["HEAD", "--models", "tiny"], tmp_path, monkeypatch)["rows"]
    assert [row["question"] for row in rows] == ["AdamW, gradients kept", "AdamW, gradients new"]
    assert all(0 < row["ratios"]["now/before"] < 100 for row in rows)


def test_busy_processes_end_with_what_they_disturb():
    with pytest.raises(ZeroDivisionError), import_module("busy").beside(2) as started:
        assert len(started) == 2 and all(process.poll() is None for process in started)
        raise ZeroDivisionError
    assert all(process.returncode for process in started)


# what they share


def test_contestants_take_turns_and_are_prepared_without_the_clock():
    said = []
    steps = {name: lambda name=name: said.append(name) for name in "ab"}
    found = import_module("bench").take_turns(steps, 2, inner=2, warm=1, before=lambda name: said.append(name.upper()))
    assert "".join(said) == "AaBb" + "AaaBbb" * 2 and found.keys() == steps.keys()


def test_state_counts_what_is_inside_and_what_is_shared_once():
    class Quantized:
        """As the tensors of torchao are."""

        codes, scale, nbytes = torch.zeros(8, dtype=torch.int8), torch.zeros(1), 99

        def __tensor_flatten__(self):
            return ["codes", "scale"], None

    shared = torch.zeros(3)
    state = [{"a": shared, "b": shared, "step": 7}, {"c": (torch.zeros(2), Quantized())}]
    assert import_module("bench").state_bytes(state) == 12 + 8 + 8 + 4


def test_a_miss_is_found():
    missed = import_module("bench").missed
    row = {"ratios": {"a": 1.3, "b": 1.5, "c": 2}, "aims": {"a": ["at most", 1.2], "b": ["at least", 1.5]}}
    assert missed(row) == ["a"]
    assert missed(row | {"aims": {"b": ["at least", 1.51]}}) == ["b"] and missed({"reason": "none"}) == []


# the page


def test_what_misses_its_aim_has_a_reason():
    performance = import_module("performance")
    rows = performance.shown(performance.records())
    assert len(rows) > 100 and performance.unexplained(rows) == [], "say why, in docs/reasons.py"


def test_a_miss_without_a_reason_is_found():
    performance = import_module("performance")
    row = {"question": "q", "model": "m", "ratios": {"a": 1.3}, "aims": {"a": ["at most", 1.2]}}
    assert performance.unexplained([row]) == [("q", "m", "a")]
    assert "Not explained yet" in performance.misses([row])


def test_no_reason_is_left_over():
    performance = import_module("performance")
    rows = performance.shown(performance.records())
    places = [(row["question"], row["model"], ratio) for row in rows for ratio in row.get("aims", {})]
    fits = performance.fnmatchcase
    assert not [key for key in performance.REASONS if not any(all(map(fits, at, key)) for at in places)]


def test_what_is_not_measured_is_said(tmp_path):
    shown = import_module("performance").page(tmp_path)
    for name in (*SCRIPTS, "convergence"):
        assert f"Not measured yet: `python benchmarks/{name}.py" in shown


def test_the_last_record_is_shown(tmp_path):
    performance = import_module("performance")
    machine = {"cpu": "c", "threads": 1, "gpu": None, "torch": "2"}
    for file, date, part, x in [("z", "2026-01-01", "", 1.11), ("a", "2026-01-02", " --only adamw", 1.22)]:
        row = {"question": "adamw", "model": "m", "seconds": {}, "ratios": {"ravine/fused": x}, "aims": {}}
        made = {"command": f"python benchmarks/step.py{part}", "date": date, "machine": machine, "rows": [row]}
        (tmp_path / f"{file}.json").write_text(json.dumps(made))
    assert "1.22" in performance.page(tmp_path) and "1.11" not in performance.page(tmp_path)
    assert all(x["date"] <= y["date"] for x, y in pairwise(performance.records()))


def test_where_to_start_is_the_middle_of_the_tasks(tmp_path):
    best = {
        f"task{i}": {
            "adamw": {"lr": 1e-3, "weight_decay": 0.1},
            "lion": {"lr": 1e-3 * times, "weight_decay": 0.3},
            "nag": {"lr": 0.1, "1-momentum": 0.02},
        }
        for i, times in enumerate((0.01, 0.12, 3.0))
    }
    losses = {task: {"adamw": 0.2, "lion": 0.3, "nag": math.inf} for task in best}
    found = {"date": "today", "machine": {"cpu": "this one"}, "command": "advice", "best": best, "losses": losses}
    (tmp_path / "advice.json").write_text(json.dumps(found))
    page = import_module("migrate").page(tmp_path / "advice.json")
    assert "Start at 0.1 times AdamW's rate: 0.01 to 3 on 3 tasks. Its weight decay was 3 times AdamW's." in page
    assert "| task1 | lr 0.00012, decay 0.3 | 0.12 | 1.5 |" in page
    assert "| task2 | lr 0.1, momentum 0.98 | 100 | diverged |" in page
    assert "Not measured yet" in import_module("migrate").page(tmp_path / "absent.json")


def test_what_the_page_of_migration_says_can_be_typed_in():
    """Every setting, as it stands there, makes its optimizer; a decay is offered as the class has it."""
    page = (ROOT / "docs" / "migrate.md").read_text(encoding="utf-8")
    seen = 0
    for part in page.split("AdamW itself:")[1].split("\n## "):
        cls = getattr(ravine, part.splitlines()[0] or "AdamW")
        takes = inspect.signature(cls).parameters
        for text in re.findall(r"\| (lr [0-9][^|]*) \|", part):
            said = {k: float(x) for k, x in (pair.split() for pair in text.split(", "))}
            assert all(0 <= x < 1 for k, x in said.items() if k not in ("lr", "decay")), text
            said.pop("rest_lr", None)  # of another optimizer, for the rest
            if "beta1" in said:
                said["betas"] = (said.pop("beta1"), said.pop("beta2", takes["betas"].default[1]))
            if "decay" in said:
                said["weight_decay"] = said.pop("decay")
            cls([torch.nn.Parameter(torch.zeros(1))], **said)
            seen += 1
        start = next((line for line in part.splitlines() if line.startswith("Start at")), "")
        decoupled = "decoupled_weight_decay" in takes and "not searched" in start
        assert ("decoupled_weight_decay=True" in start) == decoupled
        assert ("mods=[DecoupledDecay" in start) == ("not searched" in start and not decoupled)
    assert seen > 30


def test_numbers_near_one_keep_their_digits():
    below_one = import_module("migrate").below_one
    assert [below_one(x) for x in (1.0, 0.469, 0.05, 1.91e-4, 1e-4)] == ["0", "0.531", "0.95", "0.999809", "0.9999"]


def test_what_advice_is_worth_is_in_its_page(tmp_path):
    about = {"mean regret": math.log(1.2), "low": 0.0, "high": 1.0, "regrets": {"adult": math.inf, "digits": 0.0}}
    ways = [{"way": way, **about} for way in ("always adamw", "advice, trust 0.5")]
    found = {"date": "today", "machine": {"cpu": "this one"}, "command": "advice", "ways": ways}
    (tmp_path / "advice.json").write_text(json.dumps(found | {"losses": {"digits": {}, "banking77": {}, "adult": {}}}))
    worth = import_module("worth")
    assert "| always adamw | 20.0% (0.0% to 171.8%) | 0.0% | – | diverged |" in worth.page(tmp_path / "advice.json")
    assert "advice has not been better than always" in worth.page(tmp_path / "advice.json")
    assert "Not measured yet." in worth.page(tmp_path / "absent.json")


def test_factors_in_bf16_are_as_wrong_as_the_page_says():
    """The errors are found again on small factors, and the table of the page is the record's."""
    factors = import_module("factors")
    found = factors.errors(1e4, 64, 200, torch.Generator().manual_seed(0))
    assert found["float32"]["step"] < 1e-4 and found["bf16"]["step"] > 0.03
    assert found["float32"]["average"] < 1e-5 < 10 * found["bf16 stochastic"]["average"]
    assert found["bf16"]["average"] > 1e-3 and found["float32"]["root"] < 1e-2 < found["bf16"]["root"]
    rows = json.loads((ROOT / "benchmarks/results/factors-cpu.json").read_text())["rows"]
    page = (ROOT / "docs/reliability.md").read_text(encoding="utf-8")

    def told(x):
        return f"{x:.0e}".replace("e-0", "e-").replace("e+00", "")

    for condition in factors.CONDITIONS:
        errors = [row["errors"] for row in rows if row["condition"] == condition]
        cells = [", ".join(told(x[what]) for x in errors) for what in ("root", "step", "basis", "average")]
        assert f"| {condition:.0e} | {' | '.join(cells)} |" in page
