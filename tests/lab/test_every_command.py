"""How every command answers, whatever its streams are and whatever is typed: a line, a status, never a traceback."""

import io
import json
import os
import signal
import subprocess
import sys
from contextlib import redirect_stdout, suppress
from pathlib import Path

import pytest

from ravine import cli
from ravine.cli import main
from ravine.cli.answer import Mistake, Whole, complain, file_name, replacing, standing, write

COMMANDS = [
    "--version", "--help", "list --json", "show radam", "cite adam sgd", "schedule", "schedule cosine --plot --table",
    "schedule cosine -o curve.svg", "picture", "compare --help", "compare --report kept", "advise --from kept",
    "lr-find --task mine:task --seeds 1 --steps 20", "noise-scale --task mine:task --batch 4 --micros 2 --steps 80",
    "paths --task mine:task --rates 1 --points 3 --optimizers sgd -o paths.svg", "tune --task mine:task --trials 0",
    "race beale --steps 3 --lr 0.001 --optimizers sgd -o race.svg", "play --port x", "nothing",
]  # fmt: skip


KINDS = [kind for kind in ("ascii", "closed", "full") if kind != "full" or Path("/dev/full").exists()]


def on_streams(folder: Path, kind: str, commands: list[list[str]]) -> list[tuple[int, str, str]]:
    """Status, standard error and standard output of these, in a process of their own."""
    driver = [sys.executable, str(Path(__file__).parent / "on_streams.py"), kind, json.dumps(commands)]
    done = subprocess.run(driver, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr + (folder / "err").read_text()
    return json.loads((folder / "results.json").read_text())


@pytest.fixture(scope="module")
def answers(few, tmp_path_factory):
    """{kind of standard output: {command: its status, standard error and standard output}}, in a folder with somebody's
    own task, and a finished comparison of it."""
    found = {}
    for kind in KINDS:
        folder = tmp_path_factory.mktemp(kind)
        (folder / "mine.py").write_text((few / "mine.py").read_text())
        (folder / "kept").mkdir()
        (folder / "kept" / "trials.sqlite").write_bytes((few / "kept" / "trials.sqlite").read_bytes())
        said = on_streams(folder, kind, [command.split() for command in COMMANDS])
        found[kind] = dict(zip(COMMANDS, said, strict=True))
    return found


@pytest.mark.ci
@pytest.mark.parametrize("command", COMMANDS)
def test_a_standard_output_that_is_closed_full_or_ascii(answers, command):
    status, err, printed = answers["ascii"][command]
    assert status in (0, 2) and err.count("\n") == (status == 2) and printed.isascii(), err
    assert bool(printed.strip()) == (status == 0)
    assert answers["closed"][command][:2] == [status, err]
    if "full" in answers:
        full = {f"ravine: {what}No space left on device\n" for what in ("standard output: ", "")}
        failed, said, _ = answers["full"][command]
        assert failed == 2 and (said in full if status == 0 else said == err)


@pytest.mark.ci
@pytest.mark.parametrize("kind", ["closed", *(pytest.param(x, marks=pytest.mark.slow) for x in KINDS if x != "closed")])
def test_a_comparison_is_reported_whatever_standard_output_is(tmp_path, kind):
    ((status, err, _),) = on_streams(tmp_path, kind, [["compare few"]])
    assert (tmp_path / "kept" / "report.html").stat().st_size > 100_000
    assert err == ("ravine: standard output: No space left on device\n" if kind == "full" else "")
    assert status == (2 if kind == "full" else 0)


def test_in_ascii_letters_are_named(capsys):
    printed = io.BytesIO()
    stream = io.TextIOWrapper(printed, encoding="ascii")
    with redirect_stdout(stream), standing():
        print("m ← β₁ m + (1 − β₁) g² ± √v … Müller 漢 \udcff")
    assert printed.getvalue() == b"m <- beta1 m + (1 - beta1) g2 +/- sqrtv ... Muller \\u6f22 \\udcff\n"


@pytest.mark.ci
def test_a_process_in_the_locale_of_c():
    env = {**os.environ, "LC_ALL": "C", "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    command = "import sys; from ravine.cli import main; sys.exit(main())"
    done = subprocess.run([sys.executable, "-c", command, "show", "radam"], env=env, capture_output=True)
    assert done.returncode == 0 and not done.stderr and done.stdout.isascii() and b"beta1" in done.stdout


def test_ctrl_c_before_a_command_has_begun_is_a_line(monkeypatch, capsys):
    def stopped(name):
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "import_module", stopped)
    assert main(["compare"]) == 130
    assert capsys.readouterr().err == "ravine: stopped\n"


IMPORTED = """
import signal
try:
    signal.raise_signal(signal.SIGINT)
except BaseException:
    pass  # as libraries do that import another if they can
print("went on")
"""
STUB = """
import signal, sys, ravine
from ravine import cli
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job has it ignored
ravine.__path__.append(sys.argv.pop(1))
cli.COMMANDS["stub"] = ("stub", "")
sys.exit(cli.main())
"""


@pytest.mark.ci
def test_ctrl_c_while_a_command_imports_is_a_line(tmp_path):
    (tmp_path / "stub.py").write_text(IMPORTED)
    done = subprocess.run([sys.executable, "-c", STUB, str(tmp_path), "stub"], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "ravine: stopped\n")


DRIVER = """
import signal, sys
from ravine import cli
signal.signal(signal.SIGINT, signal.default_int_handler)
usual = cli.import_module
def announced(name):
    print("here", flush=True)
    return usual(name)
cli.import_module = announced
sys.exit(cli.main())
"""


@pytest.mark.faults
def test_ctrl_c_in_the_first_seconds(tmp_path):
    """`ravine compare` that gets Ctrl-C so long after it began to import."""
    command = [sys.executable, "-c", DRIVER, "compare", "--tier", "smoke", "--epochs", "1", "--workers", "1"]
    for i in range(30):
        process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert process.stdout and process.stdout.readline() == "here\n"
        with suppress(subprocess.TimeoutExpired):
            process.wait(i / 10)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=120)
        assert process.returncode in (130, 0) and err.count("\n") == (process.returncode == 130), (i, err)


def test_a_complaint_is_one_line(capsys):
    complain("a\nb\tc\x1b[31m d\r\ne\udcff é")
    assert capsys.readouterr().err == "ravine: a b\\tc\\x1b[31m d e\\udcff é\n"


@pytest.mark.parametrize("typed", ["²", "٣٫", "--1", "1.5", "", "1e3", "0x10", "nan", "9" * 5000, "1" + "0" * 400])
@pytest.mark.parametrize(
    "command",
    [
        "compare --epochs", "compare --points", "compare --seeds", "compare --workers", "compare --batch",
        "compare --batch-sweep", "tune --trials", "tune --seeds", "tune --confirm", "tune --epochs", "tune --batch",
        "tune --workers", "lr-find --seeds", "lr-find --batch", "lr-find --steps", "noise-scale --batch",
        "noise-scale --micros", "noise-scale --steps", "noise-scale --seed", "paths --epochs", "paths --batch",
        "paths --rates", "paths --seed", "paths --rows", "paths --points", "advise --workers",
        "schedule cosine --steps", "race beale --steps", "race beale --starts", "race beale --seed",
        "race beale --seeds", "play --port",
    ],
)  # fmt: skip
def test_whole_numbers(tmp_path, monkeypatch, capsys, command, typed):
    monkeypatch.chdir(tmp_path)
    *command, option = command.split()
    assert main([*command, f"{option}={typed}"]) == 2
    out, err = capsys.readouterr()
    assert not out and err.count("\n") == 1 and option in err and len(err) < 400


def test_a_whole_number_in_its_range():
    assert Whole(1, 5)("5") == 5 and Whole(0)("0") == 0
    not_whole = "must be a whole number"
    said = [(0, "--n 0: must be 1 or more"), (6, "--n 6: must be 5 or less"), (2.5, not_whole), ("3", not_whole)]
    for value, message in [*said, (True, not_whole)]:
        with pytest.raises(Mistake, match=message):
            Whole(1, 5).check("--n", value)
    Whole(1, 5).check("--n", None)


@pytest.mark.parametrize(
    ("text", "name"),
    [("digits", "digits"), ("../../x", "x"), ("a/b\\c", "a-b-c"), ("/etc/passwd", "etc-passwd"), ("..", "unnamed"),
     ("Müller 2", "Müller-2"), ("x" * 500, "x" * 100), ("-rf", "rf"), ("~", "unnamed"), ("a:b", "a-b")],
)  # fmt: skip
def test_a_name_is_one_file(text, name):
    assert file_name(text) == name and Path(file_name(text)).name == name


def test_a_file_is_written_whole_or_not_at_all(tmp_path):
    path, victim = tmp_path / "page.html", tmp_path / "victim"
    write(path, "old")
    victim.write_text("mine")
    with pytest.raises(OSError, match="full"), replacing(path) as part:
        part.write_text("half")
        raise OSError("the disk is full")
    assert path.read_text() == "old" and {x.name for x in tmp_path.iterdir()} == {"page.html", "victim"}
    (tmp_path / ".page.part.html").symlink_to(victim)
    write(path, "new")
    assert path.read_text() == "new" and victim.read_text() == "mine"
