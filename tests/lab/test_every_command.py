"""How every command answers, whatever its streams are and whatever is typed: a line, a status, never a traceback."""

import io
import os
import signal
import subprocess
import sys
from contextlib import redirect_stdout, suppress
from pathlib import Path

import pytest

from ravine import cli
from ravine.cli import main
from ravine.command import Mistake, Whole, complain, file_name, replacing, standing, write

from .conftest import compared

forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="starts each command in a copy of this process")
COMMANDS = [
    "--version", "--help", "list --json", "show radam", "cite adam sgd", "schedule", "schedule cosine --plot --table",
    "schedule cosine -o curve.svg", "picture", "compare --help", "compare --report kept", "advise --from kept",
    "lr-find --task mine:task --seeds 1 --steps 20", "noise-scale --task mine:task --batch 4 --micros 2 --steps 80",
    "paths --task mine:task --rates 1 --points 3 --optimizers sgd -o paths.svg", "tune --task mine:task --trials 0",
    "race beale --steps 3 --lr 0.001 --optimizers sgd -o race.svg", "play --port x", "nothing",
]  # fmt: skip


@pytest.fixture
def there(few, tmp_path, monkeypatch):
    """A folder with somebody's own task, and a finished comparison of it."""
    (tmp_path / "mine.py").write_text((few / "mine.py").read_text())
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "trials.sqlite").write_bytes((few / "kept" / "trials.sqlite").read_bytes())
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    yield tmp_path
    sys.modules.pop("mine", None)


def forked(arguments: list[str], out: str) -> tuple[int, str, bytes]:
    """The status of a command whose standard output is closed, full, or an ASCII file; its stderr and stdout."""
    if not (child := os.fork()):
        status = 99
        try:
            err = os.open("err", os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
            os.dup2(err, 2)
            sys.stderr = io.TextIOWrapper(os.fdopen(2, "wb", closefd=False), encoding="ascii", line_buffering=True)
            if out == "closed":
                os.close(1)
                sys.stdout = None
            else:
                where = "/dev/full" if out == "full" else "out"
                os.dup2(os.open(where, os.O_CREAT | os.O_WRONLY | os.O_TRUNC), 1)
                kind = "ascii" if out == "ascii" else "utf-8"
                sys.stdout = io.TextIOWrapper(os.fdopen(1, "wb", closefd=False), encoding=kind)
            try:
                status = main(arguments)
            except SystemExit as stopped:
                status = int(stopped.code or 0)
            sys.stdout.flush()  # as Python does at its end
        except BaseException as error:
            os.write(2, f"traceback: {error!r}".encode())
        os._exit(status)
    _, status = os.waitpid(child, 0)
    printed = Path("out").read_bytes() if out == "ascii" else b""
    return os.waitstatus_to_exitcode(status), Path("err").read_text(), printed


@forks
@pytest.mark.parametrize("arguments", COMMANDS)
def test_a_standard_output_that_is_closed_full_or_ascii(there, arguments):
    status, err, printed = forked(arguments.split(), "ascii")
    assert status in (0, 2) and err.count("\n") == (status == 2) and printed.isascii(), err
    assert bool(printed.strip()) == (status == 0)
    assert forked(arguments.split(), "closed")[:2] == (status, err)
    if Path("/dev/full").exists():
        full = {f"ravine: {what}No space left on device\n" for what in ("standard output: ", "")}
        failed, said, _ = forked(arguments.split(), "full")
        assert failed == 2 and (said in full if status == 0 else said == err)


@forks
@pytest.mark.parametrize("out", ["closed", "full", "ascii"])
def test_a_comparison_is_reported_whatever_standard_output_is(tmp_path, monkeypatch, out):
    monkeypatch.chdir(tmp_path)
    status, err, _ = forked_compared(tmp_path, out)
    assert (tmp_path / "kept" / "report.html").stat().st_size > 100_000
    assert err == ("ravine: standard output: No space left on device\n" if out == "full" else "")
    assert status == (2 if out == "full" else 0)


def forked_compared(folder: Path, out: str):
    """`compare` itself, with trials in its process."""

    def run(arguments):
        try:
            compared(folder, "--optimizers", "sgd")
        except AssertionError:
            return 2
        return 0

    with pytest.MonkeyPatch.context() as patched:
        patched.setitem(globals(), "main", run)
        return forked([], out)


def test_in_ascii_letters_are_named(capsys):
    printed = io.BytesIO()
    stream = io.TextIOWrapper(printed, encoding="ascii")
    with redirect_stdout(stream), standing():
        print("m ← β₁ m + (1 − β₁) g² ± √v … Müller 漢 \udcff")
    assert printed.getvalue() == b"m <- beta1 m + (1 - beta1) g2 +/- sqrtv ... Muller \\u6f22 \\udcff\n"


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


DRIVER = """
import signal, sys
from ravine.cli import main
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job has it ignored
print("here", flush=True)
sys.exit(main())
"""


def interrupted(folder: Path, seconds: float) -> tuple[int, str]:
    """`ravine compare` that gets Ctrl-C so long after it has begun."""
    command = [sys.executable, "-c", DRIVER, "compare", "--tier", "smoke", "--epochs", "1", "--workers", "1"]
    process = subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout and process.stdout.readline() == "here\n"
    with suppress(subprocess.TimeoutExpired):
        process.wait(seconds)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=120)
    return process.returncode, err


def test_ctrl_c_while_a_command_imports_is_a_line(tmp_path):
    status, err = interrupted(tmp_path, 0.0)
    assert status == 130 and err.startswith("ravine: stopped") and err.count("\n") == 1


@pytest.mark.faults
def test_ctrl_c_in_the_first_seconds(tmp_path):
    for i in range(30):
        status, err = interrupted(tmp_path, i / 10)
        assert status in (130, 0) and err.count("\n") == (status == 130), (i, status, err)


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
