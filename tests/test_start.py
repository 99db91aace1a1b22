"""`import ravine` is quick, and so are the commands that compute nothing: torch is imported when it is needed."""

import subprocess
import sys
from importlib.metadata import version

import pytest

import ravine
from ravine import public
from ravine.optim import registry


def fresh(code, *arguments):
    """What a new process of Python prints."""
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True)
    return done.stdout


COMMAND = """
import sys
from ravine.cli import main
try:
    status = main(sys.argv[1:])
except SystemExit as stopped:
    status = stopped.code or 0
print([status, *(name for name in ("torch", "llvmlite", "numpy") if name in sys.modules)])
"""


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        ("--version", 0, f"ravine {version('ravine')}"),
        ("--help", 0, "usage: ravine"),
        ("compre", 2, ""),
        ("list --help", 0, "usage: ravine list"),
        ("show --help", 0, "usage: ravine show"),
        ("cite --help", 0, "usage: ravine cite"),
        ("list --by size", 2, ""),
    ],
)
def test_these_need_no_torch(arguments, status, said):
    out = fresh(COMMAND, *arguments.split())
    assert out.startswith(said) and out.endswith(f"[{status}]\n"), out


@pytest.mark.ci
def test_importing_ravine_imports_nothing_and_its_first_name_everything():
    code = "import sys, ravine; print('torch' in sys.modules); ravine.Adam; print('ravine.schedules' in sys.modules)"
    assert fresh(code) == "False\nTrue\n"
    assert fresh("import sys, ravine; ravine.__version__; print('torch' in sys.modules)") == "False\n"
    assert fresh("from ravine import *; print(Adam.__name__, schedules.Cosine.__name__)") == "Adam Cosine\n"
    assert fresh("from ravine import optim, SGD; print(optim.SGD is SGD)") == "True\n"
    assert fresh("import ravine.lab; print(ravine.lab.__name__, ravine.Adam.__name__)") == "ravine.lab Adam\n"


@pytest.mark.ci
def test_threads_that_ask_at_once_are_all_answered():
    code = """
import ravine, threading
found = []
threads = [threading.Thread(target=lambda: found.append(ravine.Adam)) for _ in range(8)]
[t.start() for t in threads], [t.join() for t in threads]
print(len(found), len(set(found)))
"""
    assert fresh(code) == "8 1\n"


def test_the_public_names_are_those_of_the_list():
    assert {cls.__name__ for cls in registry().values()} < set(dir(ravine))
    names = {k for k in vars(public) if not k.startswith("_")}
    assert names <= set(dir(ravine)) and "__version__" in dir(ravine)
    assert all(getattr(ravine, name) is getattr(public, name) for name in names)
    assert ravine.__version__ == version("ravine")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("Ranger", "has no attribute 'Ranger': Ranger is not here yet"),
        ("Fromage", "Fromage is not here yet"),
        ("Adma", "did you mean Adam"),
        ("catalogue", "module 'ravine' has no attribute 'catalogue'"),
        ("_private", "module 'ravine' has no attribute '_private'"),
    ],
)
def test_what_there_is_not(name, said):
    with pytest.raises(AttributeError) as raised:
        getattr(ravine, name)
    assert said in str(raised.value)
    assert not hasattr(ravine, name)


@pytest.mark.ci
def test_a_room_that_is_imported_by_itself():
    assert "write `import ravine.lab` before" in fresh("""
import ravine
try:
    ravine.lab
except AttributeError as error:
    print(error)
""")
