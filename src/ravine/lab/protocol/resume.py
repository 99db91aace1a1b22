"""An earlier comparison, from the folder it wrote to: what it found, or its settings to go on with."""

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, get_type_hints

from ravine.catalog import names

from .. import find
from ..errors import LabError
from .decode import Garbled, decoded
from .found import Found, sound
from .outcome import Outcome, outcome
from .reading import Reading, Row, counted, nothing
from .settings import Settings

SAID_ANEW = {"out", "png", "pdf", "export", "track"}  # where results go: said again with each command, never recalled
KEPT = {f.name: get_type_hints(Settings)[f.name] for f in fields(Settings) if f.name not in SAID_ANEW}
OLDER = {"train"}  # fields that older versions wrote


def found(folder: Path) -> tuple[Outcome, list[Row]]:
    """What a finished comparison found, and its trials: of the records alone, with nothing imported or measured."""
    with Reading(folder) as records:
        begun, kept = records.recalled("comparison"), records.recalled("found")
        rows, results = list(records.rows()), records.results()
    if begun is None and kept is None:
        raise nothing(folder)
    if kept is None:
        raise LabError(
            f"{folder}: the comparison of {counted(len(results))} is not finished, or an older ravine made it, which "
            f"kept less than a report needs: ravine compare --resume {folder} finishes it"
        )
    try:
        made = decoded(Found, kept)
        if lost := len(made.keys() - results.keys()):
            raise LabError(f"{folder}: {counted(lost)} {'is' if lost == 1 else 'are'} missing or cannot be read: "
                           f"ravine compare --resume {folder} runs {'it' if lost == 1 else 'them'}")  # fmt: skip
        sound(made, results)
    except Garbled as error:
        raise LabError(
            f"{folder}: what was found there is damaged ({error}): ravine compare --resume {folder} finds it again, "
            "from the trials that can be read"
        ) from error
    return outcome(made, results), rows


def settings_of(folder: Path, now: Mapping[str, Any], trust: bool = False) -> tuple[Settings, str]:
    """What was asked for then, with `now` in its place, and the command that did. What is somebody's own is imported
    when it is run: so the person says it again, or that the folder is trusted."""
    with Reading(folder) as records:
        kept = records.recalled("comparison")
    if kept is None:
        raise nothing(folder)
    try:
        settings = kept.get("settings") if isinstance(kept, dict) else None
        if not isinstance(settings, dict):
            raise Garbled("they are no settings")
        unknown = sorted(settings.keys() - KEPT.keys() - SAID_ANEW - OLDER)
        if unknown:
            raise LabError(f"{folder}: another version of ravine compared here, with {', '.join(unknown)}")
        was = {name: decoded(KEPT[name], x) for name, x in settings.items() if name in KEPT}
        command, where = decoded(str, kept.get("command")), decoded(Path, kept.get("in"))
    except Garbled as error:
        raise LabError(f"{folder}: what was asked for there cannot be read ({error}): give the command again, with "
                       f"--out {folder}") from error  # fmt: skip
    for name in ("tasks", "optimizers"):
        if name in now and now[name] != was.get(name):
            raise LabError(f"--{OPTION[name][0]} {','.join(now[name])}: the comparison in {folder} is another, of "
                           f"{','.join(was.get(name) or ()) or 'the default'}")  # fmt: skip
    if was.get("data") is not None:
        was["data"] = where / was["data"]
    if not trust:
        _asked_again(folder, was, now)
    return Settings(**{**was, "out": folder, **now}), command


OPTION = {  # of each setting that names things: its option, and whether a name is one of somebody's own
    "tasks": ("task", find.is_own),
    "optimizers": ("optimizers", names.is_own),
}


def _asked_again(folder: Path, was: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Raises LabError that says what would be imported, where the records alone name it."""
    own = {name: any(map(is_own, was.get(name) or ())) for name, (_, is_own) in OPTION.items()}
    say = [f"--{OPTION[name][0]} {','.join(was[name])}" for name in OPTION if own[name] and name not in now]
    if own["tasks"] and was.get("data") is not None and "data" not in now:
        say.append(f"--data {was['data']}")
    if say:
        raise LabError(
            f"--resume {folder} runs code that its records name; if that is yours, say {' '.join(say)} again, "
            "or --trust"
        )
