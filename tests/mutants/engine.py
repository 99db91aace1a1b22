"""Change one operator, condition or number of the engine at a time, and see whether a test notices.

    python tests/mutants/engine.py [FILE…]          for example: compile/plan; none means all of FILES

The tests are collected once. First each runs alone, in a fork of this process, to learn how long it takes and which
lines of FILES it reaches. Then each mutant has a fork: in it the functions of the file get the code of the mutant, and
the tests that reach its line run, quick ones of every kind first, until one fails or BUDGET seconds of them have
passed. The result goes into engine.json, from which tests/authors/proof.py writes its section. Where a file has more
than MOST mutants, an even sample of them is made.
"""

from __future__ import annotations

import ast
import fcntl
import gc
import json
import os
import platform
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import types
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from changes import Mutant, mutants

import ravine
from ravine.rule import programs

HERE = Path(__file__).parent
TESTS = HERE.parent
SOURCE = Path(ravine.__file__).parent
RESULT = HERE / "engine.json"
FILES = ("compile/plan", "compile/simplify", "compile/storage", "optimizer/step", "optimizer/bind")
MOST = 1000  # mutants of one file
BUDGET = 20.0  # seconds of tests, as they took alone, for one mutant
LIMIT = 120  # seconds after which a fork is ended: its mutant hangs
AT_ONCE = 2  # processes
SUITES = [
    *(f"compile/test_{x}.py" for x in ("illegal_rules", "simplify", "plan", "matrix_work", "single_numbers")),
    *(f"compile/test_{x}.py" for x in ("arithmetic", "explain", "words")),
    *(f"laws/test_{x}.py" for x in ("storage", "watch", "backends", "sizes", "round_trips", "states_of_others")),
    *(f"laws/test_{x}.py" for x in ("groups", "changed_hyperparameters", "states_set_by_hand", "kept_state_dicts")),
    *(f"laws/test_{x}.py" for x in ("odd_gradients", "odd_memory", "around_a_step", "torch_schedulers")),
    *(f"laws/test_{x}.py" for x in ("lists_of_parameters", "other_threads", "sums_over_groups")),
    *(f"laws/test_{x}.py" for x in ("fences", "disturbances", "counts", "overlaps", "harmed_sparse", "without_memory")),
    *(f"release/test_released_{x}.py" for x in ("loop", "memory", "parameters", "sums")),
    *("release/test_release_refused.py", "sparse/test_sparse.py"),
    *(f"mods/test_{x}.py" for x in ("laws_of_mods", "lists_of_mods", "saved_mods", "changed_mods", "shown_averages")),
    *(f"mods/test_{x}.py" for x in ("averages_of_weights", "mods_of_gradients", "caution", "decay")),
]


class Runner:
    """A plugin of pytest that runs the collected tests in forks: first all, then for each mutant those that count."""

    def __init__(self, stems: list[str]):
        self.stems = stems
        self.failed = ""
        self.reached: dict[str, tuple[float, dict[str, list[int]]]] = {}  # by test: seconds, the lines of each file

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self.failed = self.failed or report.nodeid

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        items = session.items
        halves = [lambda half=items[i::AT_ONCE]: self.reach(half) for i in range(AT_ONCE)]
        for _, found in forked(halves, 3600):
            self.reached |= found
        total = sum(x for x, _ in self.reached.values())
        print(f"{len(self.reached)} of {len(items)} tests, {total:.0f} s", flush=True)
        for stem in self.stems:
            keep(stem, self.mutate(stem, items))
        return True

    def reach(self, items: list[pytest.Item]) -> dict[str, Any]:
        """How long each test takes and which lines it reaches; tests that fail are left out."""
        found: dict[str, Any] = {}
        for item in items:
            seen: dict[str, set[int]] = {}
            begin = time.perf_counter()
            if not self.fails(item, tracer(seen)):
                found[item.nodeid] = time.perf_counter() - begin, {k: sorted(x) for k, x in seen.items()}
        return found

    def fails(self, item: pytest.Item, trace: Any = None) -> str:
        """The name of the test if it fails, with no program compiled before it."""
        programs._programs.clear()
        self.failed = ""
        sys.settrace(trace)
        try:
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=None)
        finally:
            sys.settrace(None)
        return self.failed

    def mutate(self, stem: str, items: list[pytest.Item]) -> dict[str, Any]:
        """What became of the mutants of a file."""
        path = SOURCE / f"{stem}.py"
        tree, every = mutants(path.read_text(encoding="utf-8"))
        chosen = sorted(random.Random(0).sample(range(len(every)), min(MOST, len(every))))
        functions = [
            f for f in gc.get_objects() if type(f) is types.FunctionType and f.__code__.co_filename == str(path)
        ]
        work = [lambda m=every[i]: self.meet(m, tree, path, functions, self.order(stem, m, items)) for i in chosen]
        killed: dict[str, int] = {}
        survivors: list[dict[str, Any]] = []
        for i, by in forked(work, LIMIT):
            m = every[chosen[i]]
            if by:
                name = re.sub(r"\[.*", "", by).split("/")[-1]
                killed[name] = killed.get(name, 0) + 1
            else:
                survivors.append({"where": m.where, "line": m.line, "code": m.text, "change": m.change})
                print(f"  survives {stem}.py:{m.line} {m.change}: {m.text}", flush=True)
        print(f"{stem}: {len(chosen) - len(survivors)} of {len(chosen)}", flush=True)
        survivors.sort(key=lambda x: (x["line"], x["change"]))
        killed = dict(sorted(killed.items(), key=lambda x: (-x[1], x[0])))
        return {"changes": len(every), "mutants": len(chosen), "killed": killed, "survivors": survivors}

    def order(self, stem: str, mutant: Mutant, items: list[pytest.Item]) -> list[pytest.Item]:
        """The tests that reach the mutant's line: first the quickest of each function, then the second quickest, …"""
        known: dict[pytest.Item, float] = {}
        for item in items:
            seconds, lines = self.reached.get(item.nodeid, (0.0, {}))
            if not {*mutant.lines}.isdisjoint(lines.get(stem, ())):
                known[item] = seconds
        rank: dict[pytest.Item, int] = {}
        seen: dict[str, int] = {}
        for item in sorted(known, key=known.__getitem__):
            function = item.nodeid.partition("[")[0]
            rank[item] = seen[function] = seen.get(function, -1) + 1
        out, spent = [], 0.0
        for item in sorted(rank, key=lambda x: (rank[x], known[x])):
            spent += known[item]
            if spent > BUDGET:
                break
            out.append(item)
        return out

    def meet(self, mutant: Mutant, tree: ast.Module, path: Path, functions: list[Any], tests: list[pytest.Item]) -> str:
        """The first test that fails with the mutant in the place of the file, or ""."""
        mutant.apply()
        codes = dict(inside(compile(ast.fix_missing_locations(tree), str(path), "exec")))
        for f in functions:
            f.__code__ = codes.get((f.__code__.co_qualname, f.__code__.co_firstlineno), f.__code__)
        return next(filter(None, map(self.fails, tests)), "")


def inside(code: types.CodeType) -> Iterator[tuple[tuple[str, int], types.CodeType]]:
    """All functions of compiled code, by name and line."""
    for x in code.co_consts:
        if isinstance(x, types.CodeType):
            yield (x.co_qualname, x.co_firstlineno), x
            yield from inside(x)


def tracer(seen: dict[str, set[int]]) -> Any:
    """A trace function that writes down which lines of FILES are reached."""
    names = {str(SOURCE / f"{stem}.py"): stem for stem in FILES}

    def enter(frame: types.FrameType, event: str, arg: Any) -> Any:
        if (stem := names.get(frame.f_code.co_filename)) is None:
            return None
        lines = seen.setdefault(stem, set())
        lines.add(frame.f_lineno)

        def line(frame: types.FrameType, event: str, arg: Any) -> Any:
            lines.add(frame.f_lineno)
            return line

        return line

    return enter


def forked(work: list[Callable[[], Any]], limit: int) -> Iterator[tuple[int, Any]]:
    """What each function returns in a fork of this process, as they end; "time limit" or "crash" where it does not."""
    waiting, running = list(range(len(work)))[::-1], dict[int, int]()
    with tempfile.TemporaryDirectory() as folder:
        while waiting or running:
            while waiting and len(running) < AT_ONCE:
                i = waiting.pop()
                child = os.fork()
                if not child:
                    in_fork(work[i], Path(folder, str(i)), limit)
                running[child] = i
            child, status = os.wait()
            i = running.pop(child)
            said = Path(folder, str(i))
            stopped = "time limit" if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGALRM else "crash"
            found = json.loads(said.read_text()) if said.exists() else stopped
            if isinstance(found, dict) and "error" in found:
                raise RuntimeError(found["error"])
            yield i, found


def in_fork(work: Callable[[], Any], said: Path, limit: int) -> None:
    """Write what a function returns, and end; silently."""
    try:
        signal.alarm(limit)
        silent = os.open(os.devnull, os.O_WRONLY)
        os.dup2(silent, 1)
        os.dup2(silent, 2)
        result = json.dumps(work())
        said.write_text(result)
    except BaseException:
        said.write_text(json.dumps({"error": traceback.format_exc()}))
    finally:
        os._exit(0)


def keep(stem: str, result: dict[str, Any]) -> None:
    """Write what became of a file's mutants into the record, with where and when."""
    git = ["git", "rev-parse", "HEAD"]
    made = {
        "date": str(date.today()),
        "commit": subprocess.run(git, cwd=HERE, capture_output=True, text=True, check=True).stdout.strip(),
        "command": f"python tests/mutants/engine.py {stem}",
        "machine": {"cpu": platform.processor() or platform.machine(), "cores": os.cpu_count()},
    }
    with open(__file__) as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # others may run other files
        known = json.loads(RESULT.read_text(encoding="utf-8")) if RESULT.exists() else {}
        known = {k: x for k, x in (known | {stem: made | result}).items() if k in FILES}
        text = json.dumps({k: known[k] for k in FILES if k in known}, indent=1, ensure_ascii=False)
        RESULT.write_text(text + "\n", encoding="utf-8")


def main(chosen: list[str]) -> None:
    suites = [str(TESTS / x) for x in SUITES]
    marks = ["-m", "not slow and not faults and not browser"]
    pytest.main(
        ["-q", "-s", "-p", "no:cacheprovider", "-n", "0", *marks, *suites], plugins=[Runner(chosen or [*FILES])]
    )


if __name__ == "__main__":
    main(sys.argv[1:])
