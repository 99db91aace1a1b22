"""Damages a folder of records in one of many ways, each a function of the random numbers it is given."""

import json
import os
import random
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

ODD = ["null", "true", "-1", "0", "2.5", "NaN", "Infinity", "-Infinity", "1e308", "1" + "0" * 400, "9" * 5000, "[]",
       "{}", '""', '"text"', '"../../x"', '"<!--<script>"', '"\\ud800"', '"\\u0000"', "[" * 3000, '[[1, "a"], [null]]',
       '{"a": {"b": [NaN]}}', "9007199254740993", "1e-320", '"' + "x" * 300_000 + '"']  # fmt: skip


def place(tree, chance: random.Random) -> tuple:
    """The path to a part of a JSON tree: at each fork as often one way as another, and seldom only half-way."""
    at = ()
    while isinstance(tree, dict | list) and tree and (not at or chance.random() < 0.85):
        at += (chance.choice(list(tree)) if isinstance(tree, dict) else chance.randrange(len(tree)),)
        tree = tree[at[-1]]
    return at


def inside(text: str, chance: random.Random) -> str:
    """JSON with a part of it replaced, gone, twice, or of an unknown name."""
    tree = json.loads(text)
    marker, part = "<<odd>>", tree
    *above, last = place(tree, chance)
    for key in above:
        part = part[key]
    how = chance.choice(["odd"] * 6 + ["gone", "more", "swapped"])
    if how == "odd":
        part[last] = marker
    elif how == "gone":
        del part[last]
    elif how == "swapped":
        other = tree
        for key in place(tree, chance):
            other = other[key]
        part[last] = other
    elif isinstance(part, dict):
        part["unknown"] = marker
    else:
        part.append(marker)
    return json.dumps(tree).replace(f'"{marker}"', chance.choice(ODD))


def as_text(text: str, chance: random.Random) -> object:
    """No JSON any more, or no text."""
    cut = chance.randrange(len(text))
    odd = text[:cut] + chance.choice(ODD) + text[cut + 3 :]
    torn = [text[:cut], odd, text[cut:] + text[:cut], "\x00" + text, text.encode() + b"\xff\xfe", b"\x00" * 9]
    return chance.choice([*torn, None, 7, 2.5, ""])


def field(folder: Path, chance: random.Random) -> str:
    """A field of a table."""
    table, key, column = chance.choice([("meta", "name", "value")] * 3 + [("trials", "key", "trial")]
                                       + [("trials", "key", "result")] * 2)  # fmt: skip
    with closing(sqlite3.connect(folder / "trials.sqlite", isolation_level=None)) as db:
        db.text_factory = lambda text: text.decode("utf-8", "replace")  # of what was damaged before
        rows = db.execute(f"select {key}, {column} from {table} order by {key}").fetchall()
        of, text = chance.choice([row for row in rows if not str(row[0]).startswith("inside")])
        whole = isinstance(text, str) and text and _is_json(text)  # not damaged before
        new = inside(text, chance) if whole and chance.random() < 0.7 else as_text(str(text) + "x", chance)
        db.execute(f"update {table} set {column} = ? where {key} = ?", (new, of))
    return f"{table}.{column} of {of}"


def column(folder: Path, chance: random.Random) -> str:
    """A column of all rows, of another type."""
    table, name = chance.choice([("trials", x) for x in ("key", "lr", "seed", "status", "made", "trial", "result")]
                                + [("meta", "name"), ("meta", "value"), ("leases", "until")])  # fmt: skip
    odd = chance.choice(["null", "-1", "2.5", "x'00ff'", "'text'", "'{}'", "'[1, 2]'", "9e999", "rowid", f"hex({name})",
                         f"{name} || {name}", f"substr({name}, 2)", f"json_insert({name}, '$.unknown', 1)",
                         f"json_remove({name}, '$.step', '$.seed')", f"replace({name}, ': 1', ': \"1\"')"])  # fmt: skip
    with closing(sqlite3.connect(folder / "trials.sqlite", isolation_level=None)) as db:
        try:
            db.execute("insert or replace into leases values ('x', x'ff', 'never')")
            db.execute(f"update or replace {table} set {name} = {odd}")
        except sqlite3.Error as error:
            return f"{table}.{name} = {odd}: {error}"
    return f"{table}.{name} = {odd}"


def tables(folder: Path, chance: random.Random) -> str:
    """The tables themselves."""
    statement = chance.choice([
        "drop table meta", "drop table trials", "drop table leases", "delete from trials", "delete from meta",
        "alter table trials rename column result to other", "alter table meta rename to other",
        "alter table trials drop column trial", "create view seen as select * from trials", "drop trigger ended",
        "insert into trials (key) values (null)", "insert into trials (key, trial, result) values (1, 2, 3)",
        "update trials set key = key || 'x'", "update trials set key = x'ff' where rowid = 1",
        "delete from trials where rowid = 3", "update or replace meta set name = 'found' where name like 'inside%'",
        "update trials set result = zeroblob(1000000) where rowid < 3", "insert into meta values (null, null)",
        "create trigger t before delete on leases begin select raise(fail, 'no'); end",
    ])  # fmt: skip
    with closing(sqlite3.connect(folder / "trials.sqlite", isolation_level=None)) as db:
        try:
            db.execute(statement)
        except sqlite3.Error as error:
            return f"{statement}: {error}"
    return statement


def bytes_of(folder: Path, chance: random.Random) -> str:
    """The file: cut off, or bits of it turned."""
    path = folder / "trials.sqlite"
    data = bytearray(path.read_bytes())
    how = chance.choice(["cut", "turned", "overwritten", "empty", "noise", "doubled"])
    if how == "cut":
        del data[chance.randrange(len(data)) :]
    elif how == "turned":
        for _ in range(chance.choice([1, 10, 1000])):
            data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    elif how == "overwritten":
        at, n = chance.randrange(len(data)), chance.choice([16, 512, 4096])
        data[at : at + n] = chance.randbytes(n)
    elif how == "doubled":
        data = data * 2
    else:
        data = bytearray(chance.randbytes(5000) if how == "noise" else b"")
    path.write_bytes(data)
    return how


def things(folder: Path, chance: random.Random) -> str:
    """Something else in the place of a file, or of the folder."""
    name = chance.choice(["trials.sqlite", "trials.sqlite", "trials.sqlite-wal", "lock", "report.html", "."])
    path, what = folder / name, chance.choice(["folder", "pipe", "itself", "nowhere", "null", "noise"])
    if name == ".":
        shutil.rmtree(folder)
        path = folder
    elif path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
    if what == "folder":
        path.mkdir()
    elif what == "pipe":
        os.mkfifo(path)
    elif what == "noise":
        path.write_bytes(chance.randbytes(4000))
    else:
        path.symlink_to({"itself": path.name, "nowhere": "nowhere", "null": os.devnull}[what])
    return f"{name}: {what}"


def garble(folder: Path, seed: int) -> str:
    """Damages it, once or more often, and says how."""
    chance, said = random.Random(seed), [str(seed)]
    for _ in range(chance.choice([1, 1, 1, 2, 3])):
        path = folder / "trials.sqlite"
        if folder.is_symlink() or path.is_symlink() or not path.is_file() or not _readable(path):
            break
        how = chance.choice([field] * 6 + [column, column, tables, bytes_of, things])
        try:
            said.append(f"{how.__name__}, {how(folder, chance)}")
        except sqlite3.DatabaseError:  # what was damaged before cannot be read any further
            break
    return ": ".join(said)


def _is_json(text: str) -> bool:
    try:
        tree = json.loads(text)
    except (ValueError, RecursionError):
        return False
    return isinstance(tree, dict | list) and len(tree) > 0


def _readable(path: Path) -> bool:
    """Whether there is anything left to damage with SQLite's own means."""
    try:
        with closing(sqlite3.connect(path)) as db:
            rows = [db.execute(f"select count(*), count(value) from {x}").fetchone() for x in ("meta",)]
            trials = db.execute("select count(*), count(trial), count(result) from trials").fetchone()
        return all(n > 0 for row in (*rows, trials) for n in row)
    except sqlite3.Error:
        return False
