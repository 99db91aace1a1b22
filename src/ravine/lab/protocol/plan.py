"""A test of the steps to a target, set down before any run: what is tested cannot then be chosen by what was found."""

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import Any

from .decode import Garbled, decoded
from .found import Plan
from .outcome import BASELINES
from .records import Records
from .search import Entry
from .statistics import LEVEL
from .study import Tier

NAME = "plan"  # in the records


def planned(
    target: float, entries: Sequence[Entry], steps: int, tier: Tier, fixed: bool, asked: Mapping[str, Any],
    quantity: str = "loss",
) -> Plan:  # fmt: skip
    """The plan that these settings mean. The baseline is the first of AdamW, NAdam, NAG and Momentum that takes part,
    else the method that was named first."""
    usual = [entry for known in BASELINES for entry in entries if entry.ours == known]
    baseline = (usual or list(entries))[0].label
    others = [entry.label for entry in entries if entry.label != baseline]
    over = f"{tier.seeds} seeds" if fixed else f"all searches of {tier.search} of {tier.points} points"
    text = (
        f"Steps until the validation {quantity} stays at or below {target:g}, of {', '.join(others)}, by those of "
        f"{baseline}: is the ratio 1? Of {steps:,} steps; a miss counts as the last. Mean logs over {over}, paired; "
        f"two-sided t-tests, Bonferroni over {len(others)}, level {LEVEL:.0%}."
    )
    return Plan(text, target, baseline, json.dumps(asked, sort_keys=True, default=str), tests=max(1, len(others)))


def set_down(plan: Plan, records: Records) -> Plan:
    """Writes it into the records, with how many trials are there already; the same plan of an earlier call stays."""
    with suppress(Garbled):
        kept = decoded(Plan, records.recalled(NAME))
        if (kept.text, kept.asked) == (plan.text, plan.asked):
            return kept
    made = replace(plan, known=len(records), date=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"))
    records.remember(NAME, asdict(made))
    return made
