"""Every mistake in the arguments is one line on stderr and exit status 2."""

import subprocess
import sys

import pytest

from ravine.cli import main
from ravine.lab.commands import compare

from .conftest import COMMAND


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("", "required: COMMAND"),
        (
            "compare --task digit",
            "unknown task 'digit': did you mean digits? known are digits, fashion-mnist, fashion-mnist-classic, "
            "fashion-mnist-cnn, fashion-mnist-cnn-bn, deep-narrow, autoencoder, tinyshakespeare, tinyshakespeare-lstm, "
            "programs, banking77, adult, noisy-quadratic, or your own",
        ),
        ("compare --optimizers sgd,adm", "unknown optimizer 'adm': did you mean adam"),
        ("compare --optimizers ,", "--optimizers: name at least one"),
        ("compare --optimizers sgd,sgd", "each may be named once"),
        ("compare --optimizers json:loads", "and must return an optimizer"),
        ("compare --epochs 0", "--epochs: must be 1 or more, and is 0"),
        ("compare --seeds -1", "--seeds: must be 1 or more, and is -1"),
        ("compare --epochs many", "--epochs: 'many' is not a whole number (see ravine compare --help)"),
        ("compare --tier smoky", "invalid choice: 'smoky'"),
        ("compare --epoch-s 3", "unrecognized arguments: --epoch-s 3"),
        ("compare --task nowhere:task", "task 'nowhere:task': cannot import 'nowhere'"),
        ("compare --task json:nothing", "'json' has no 'nothing'"),
        (
            "compare --task fashion-mnist --data .",
            "train-images-idx3-ubyte.gz: no such file; --data must name the folder",
        ),
        (
            "compare --task tinyshakespeare --data .",
            "input.txt: no such file; --data must name the folder that holds input.txt",
        ),
        (
            "compare --task banking77 --data .",
            "categories.json: no such file; --data must name the folder that holds categories.json",
        ),
        ("compare --curriculum harder", "invalid choice: 'harder'"),
        ("compare --data .", "task 'digits' reads no folder: leave out --data ."),
        ("compare --carry-over", "--carry-over goes with --preset classic"),
        ("compare --preset classic --task digits", "leave out --task digits"),
        ("compare --preset classic --points 3", "leave out --points"),
        ("compare --workers 0", "--workers 0: must be 1 or more"),
        ("compare --workers two", "--workers two: a number of processes, or devices such as cuda:0,cuda:1"),
        ("compare --workers cuda:0,cpu", "--workers cuda:0,cpu: devices of one kind, or results would depend on who"),
        ("compare --workers cuda:99", "--workers cuda:99: there is no cuda:99 here, torch sees"),
        ("compare --precision fp8", "invalid choice: 'fp8'"),
        ("compare --resume nowhere", "nowhere: there is no comparison: name a folder that ravine compare wrote to"),
        ("compare --report .", ".: there is no comparison"),
        ("compare --resume . --seeds 3", "--resume . has the settings of that comparison: leave out --seeds"),
        ("compare --resume . --report .", "not allowed with"),
        ("compare --out file", "--out file: cannot be written: File exists"),
    ],
)
def test_one_line_and_status_2(tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    assert main(arguments.split()) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1 and err.startswith("ravine: ")
    assert message in err


@pytest.mark.ci
def test_in_a_process_of_its_own(tmp_path):
    done = subprocess.run([*COMMAND, "compare", "--task", "digit"], cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert "did you mean digits" in done.stderr


@pytest.mark.ci
def test_without_the_extra_it_names_it():
    code = "import sys; sys.modules['plotly'] = None; from ravine.cli import main; sys.exit(main(['compare']))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (2, 'ravine: needs plotly: pip install ".[lab]" in ravine\'s folder\n')


def test_pictures_without_matplotlib_are_refused_before_any_training(monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert main(["compare", "--pdf", "figures.pdf"]) == 2
    assert capsys.readouterr().err.startswith("ravine: --png and --pdf need matplotlib: pip install")
    assert not list(tmp_path.iterdir())


def test_importing_ravine_imports_nothing_of_the_lab():
    code = "import sys, ravine; print({'rich', 'plotly', 'sklearn', 'jinja2', 'ravine.lab'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "set()\n", done.stdout + done.stderr


def test_ctrl_c_is_one_line(monkeypatch, capsys):
    def stopped(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(compare, "compare", stopped)
    assert main(["compare"]) == 130
    assert capsys.readouterr().err == "ravine: stopped; what was finished is kept, run the same command to go on\n"
