"""The table in docs/advise.md of what advice was worth, by what benchmarks/advice.py found: a part of scripts/docs."""

import json
import math
import re
from pathlib import Path

from tables import table

PAGE = Path(__file__).parent / "advise.md"
RECORD = Path(__file__).parents[1] / "benchmarks" / "results" / "advice-cpu.json"
PLACE = re.compile(r"(?<=<!-- worth -->\n).*?(?=\n<!-- end -->)", re.DOTALL)


def page(path: Path = RECORD) -> str:
    """The page with the table in its place."""
    said = worth(json.loads(path.read_text(encoding="utf-8"))) if path.exists() else "Not measured yet."
    text, count = PLACE.subn(lambda _: said, PAGE.read_text(encoding="utf-8"))
    assert count == 1, "docs/advise.md has one place for the table, from <!-- worth --> to <!-- end -->"
    return text


def worth(record: dict) -> str:
    """How much more loss than the best method each way of choosing had: in the mean over tasks, and task by task."""
    tasks = list(record["losses"])
    rows = [
        (way["way"], f"{more(way['mean regret'])} ({more(way['low'])} to {more(way['high'])})",
         *(more(way["regrets"][task]) if task in way["regrets"] else "–" for task in tasks))
        for way in record["ways"]
    ]  # fmt: skip
    mean = {way["way"]: way["mean regret"] for way in record["ways"]}
    better = all(mean["advice, trust 0.5"] < x for way, x in mean.items() if way.startswith("always"))
    verdict = "Advice has been better than" if better else "So advice has not been better than"
    if gained := record.get("advice less always adamw"):
        mean, least, most = (f"{-math.expm1(gained[k]):.1%}" for k in ("mean", "high", "low"))
        verdict = f"Advice (trust 0.5) has {mean} less loss than always AdamW, {least} to {most}. {verdict}"
    made = f"{record['date']}, {record['machine']['cpu']}: `{record['command']}`, "
    made += f"[{RECORD.name}](../benchmarks/results/{RECORD.name})."
    return (
        f"{table(('always, or by advice', 'mean (95 %)', *tasks), rows)}\n\n{verdict} always taking one method. {made}"
    )


def more(regret: float) -> str:
    """ln of a ratio of losses as percent above the lower one."""
    return f"{math.expm1(regret):.1%}" if math.isfinite(regret) else "diverged"
