"""Which method wins by steps, and which by seconds? AdamW, Muon, NorMuon, SOAP, Shampoo and K-FAC on three networks.

    RAVINE_DATA=FOLDER python benchmarks/matrix_methods.py    about 25 minutes on 2 cores with nothing else to do
    python benchmarks/matrix_methods.py --table               what is in it, as the tables of docs/compare.md

FOLDER holds fashion-mnist/ and tinyshakespeare/; without it they are downloaded. Each task is a `ravine compare` of its
own, in --out (default benchmarks/runs/matrix-methods), which goes on where it was stopped; the times per step are
measured in turns after each sweep, on one thread.

Writes benchmarks/results/matrix-methods.json: for each task and method the settings that were chosen, the losses of
each seed, the steps and the seconds to the easier target, and the letters of all three; and into
benchmarks/results/matrix-methods the loss curves of each task, and, where Playwright and a Chromium are installed, the
top of its report.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from shutil import copyfile, which
from statistics import fmean
from typing import Any

from bench import RESULTS, command_line, machine

from ravine.lab.protocol.outcome import Method, Outcome, stays_at, steps_of_each
from ravine.lab.protocol.resume import found as read
from ravine.lab.protocol.statistics import Sample, differences, letters

HERE = Path(__file__).parent
POINTS, SEEDS = 6, 5  # rates that are tried of each method, and new seeds of the best one
EPOCHS = {"tinyshakespeare": 1, "autoencoder": 2, "fashion_mnist": 2}
METHODS = ("adamw", "muon", "normuon", "soap", "shampoo:average=True:graft=adam:interval=10", "kfac")
PROTOCOL = (
    f"Of each method {POINTS} rates over three decades are tried with one seed, for the whole length under a cosine "
    f"schedule; everything else is at its defaults, and AdamW beside a method for matrices has a rate in a fixed "
    f"proportion. 'loss' is the test loss to be expected of a search, as ravine compare has it; the best rate by "
    f"validation loss is run with {SEEDS} new seeds, the same for all methods. 'steps' are those to the easier "
    "target, which is the validation loss of AdamW after 60 % of its run, by the mean over the seeds; 'seconds' are "
    "these steps times the time of a step. Methods that share a letter cannot be told apart: losses as ravine compare "
    "says it, steps and seconds by the logarithms of each seed. A method that missed the target with any seed has no "
    "letter there."
)


def ran(task: str, methods: str, out: Path) -> Outcome:
    """The comparison on a task: run where it is not finished, and what it found."""
    asked = ["compare", "--task", f"matrix_tasks:{task}", "--tier", "smoke", "--epochs", str(EPOCHS[task])]
    asked += ["--points", str(POINTS), "--seeds", str(SEEDS), "--optimizers", methods, "--out", str(out)]
    program = "import sys; from ravine.cli import main; sys.exit(main(sys.argv[1:]))"
    subprocess.run([sys.executable, "-c", program, *asked, "--png", str(out / "png")], cwd=HERE, check=True)
    return read(out)[0]


def told(found: Outcome) -> dict[str, Any]:
    """What is kept of a comparison."""
    target = math.inf if found.easy_target is None else found.easy_target
    rows = {m.name: row(m, target) | {"letters": found.groups[m.name]} for m in found.methods}
    each = {m.name: steps_of_each(m.tuned, target) for m in found.methods}
    seconds = {m.name: [steps * m.time.whole / 1e3 for steps in each[m.name]] for m in found.methods}
    for what, values in (("steps", each), ("seconds", seconds)):
        for name, letter in lettered(values).items():
            rows[name][f"{what} letters"] = letter
    facts = found.facts
    return {"steps": facts.steps, "batch": facts.task.batch, "baseline": found.baseline, "easier target": target,
            "methods": rows}  # fmt: skip


def row(m: Method, target: float) -> dict[str, Any]:
    """What is kept of a method."""
    steps = stays_at(m.tuned, target)
    return {
        "settings": m.hyper,
        "loss": m.loss if math.isfinite(m.loss) else None,
        "losses": [x if math.isfinite(x) else None for x in m.losses],
        "ms a step": m.time.whole,
        "ms of the optimizer": m.time.update,
        "steps": steps if math.isfinite(steps) else None,
        "seconds": steps * m.time.whole / 1e3 if math.isfinite(steps) else None,
    }


def lettered(values: Mapping[str, Sequence[float]]) -> dict[str, str]:
    """{method: its letters} of steps or seconds of each seed, the fewest first; none where a seed missed."""
    whole = {name: [math.log(x) for x in each] for name, each in values.items() if all(map(math.isfinite, each))}
    order = sorted(whole, key=lambda name: fmean(whole[name]))
    apart = {pair for pair, d in differences([Sample(whole[name]) for name in order]).items() if d.distinct}
    found = dict(zip(order, letters(len(order), apart), strict=True)) if len(order) > 1 else {}
    return {name: found.get(name, "") for name in values}


def tables(kept: Mapping[str, Any]) -> str:
    """In Markdown, a table for each task, best first."""
    out = list[str]()
    for task, one in kept["tasks"].items():
        target = f"the easier target is {one['easier target']:.3f}"
        out += [f"`{task}`: {one['steps']} steps of batch {one['batch']}; {target}", ""]
        out += [
            "| method | lr | test loss | steps to the target | ms a step | seconds to the target |",
            "|---" * 6 + "|",
        ]
        for name, m in one["methods"].items():
            loss = "diverged" if m["loss"] is None else f"{m['loss']:.4f} {m['letters']}"
            steps = "missed" if m["steps"] is None else f"{m['steps']} {m['steps letters']}"
            seconds = "missed" if m["seconds"] is None else f"{m['seconds']:.2f} {m['seconds letters']}"
            out.append(f"| {name} | {m['settings']['lr']:g} | {loss} | {steps} | {m['ms a step']:.1f} | {seconds} |")
        out.append("")
    return "\n".join(out)


def photograph(page: Path, png: Path) -> None:
    """The top of a report, as a browser shows it; nothing where there is none."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        return
    if not (chromium := which("chromium")):
        return
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        tab = browser.new_page(viewport={"width": 1100, "height": 1000})
        tab.goto(page.resolve().as_uri())
        tab.wait_for_timeout(1500)  # figures are drawn by then
        tab.screenshot(path=png)
        browser.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", action="store_true", help="print what is in the results")
    parser.add_argument("--tasks", default=",".join(EPOCHS), help=f"(default {','.join(EPOCHS)})")
    parser.add_argument("--methods", default=",".join(METHODS), help="as `ravine compare --optimizers` takes them")
    parser.add_argument("--name", default="matrix-methods", help="of the JSON and of the folder of pictures")
    parser.add_argument("--out", type=Path, default=HERE / "runs" / "matrix-methods", help="where the trials are kept")
    parser.add_argument("--results", type=Path, default=RESULTS, help="the folder of matrix-methods.json")
    asked = parser.parse_args()
    file, pictures = asked.results / f"{asked.name}.json", asked.results / asked.name
    if not asked.table:
        found = {task: ran(task, asked.methods, (asked.out / task).resolve()) for task in asked.tasks.split(",")}
        kept = {
            "protocol": PROTOCOL,
            "date": date.today().isoformat(),
            "machine": machine("cpu"),
            "command": command_line(),
            "tasks": {task: told(one) for task, one in found.items()},
        }
        pictures.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        for task in found:
            copyfile(asked.out / task / "png" / "valid.png", pictures / f"{task}.png")
            photograph(asked.out / task / "report.html", pictures / f"{task}-report.png")
    print(tables(json.loads(file.read_text(encoding="utf-8"))))


if __name__ == "__main__":
    main()
