"""Machine code on disk: used when it is whole and ours, built again when anything about it is doubtful."""

import os
import subprocess
import sys

import pytest

from ravine.compile import cache, native

HEAD = len(cache.MAGIC) + 64

# SGD's kernel made ready in a process of its own; prints how often LLVM was asked to build
STEP = """
import ravine
from ravine.compile import compile_rule, native
from ravine.compile.launch.llvm import kernels
built, build = [], native.build
native.build = lambda ir: (built.append(1), build(ir))[1]
hyper = {name: x.default for name, x in ravine.SGD.__signature__.parameters.items()}
plan = compile_rule(ravine.SGD, hyper).plan
assert kernels(plan, tuple(dict.fromkeys(plan.arrays, "float32").items()))
print(len(built))
"""


def start(folder, **more):
    env = {**os.environ, "RAVINE_CACHE": str(folder), **more}
    return subprocess.Popen(
        [sys.executable, "-c", STEP], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env
    )


def result(process):
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0 and not err, err
    return int(out)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("RAVINE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


class Builder:
    """Counts what it is asked to build."""

    def __init__(self, made=b"machine code"):
        self.made, self.calls = made, 0

    def __call__(self, text):
        self.calls += 1
        return self.made


@pytest.mark.ci
def test_two_processes_at_once_and_a_third_after_them(folder):
    assert sum([result(p) for p in [start(folder), start(folder)]]) in (1, 2)
    assert len(list(folder.iterdir())) == 1
    assert result(start(folder)) == 0


def test_a_second_call_does_not_build(folder):
    build = Builder()
    assert cache.cached("text", build) == cache.cached("text", build) == build.made
    assert build.calls == 1
    (file,) = folder.iterdir()
    assert file.stat().st_mode & 0o077 == 0


def test_another_text_is_another_file(folder):
    one, two = Builder(b"one"), Builder(b"two")
    assert (cache.cached("1", one), cache.cached("2", two), cache.cached("1", one)) == (b"one", b"two", b"one")
    assert len(list(folder.iterdir())) == 2


def cut(file):
    file.write_bytes(file.read_bytes()[:-1])


def cut_short(file):
    file.write_bytes(file.read_bytes()[: HEAD // 2])


def empty(file):
    file.write_bytes(b"")


def flip(file):
    data = bytearray(file.read_bytes())
    data[-3] ^= 1
    file.write_bytes(data)


def older(file):
    file.write_bytes(file.read_bytes().replace(cache.MAGIC, cache.MAGIC.replace(b"1", b"0"), 1))


def foreign(file):
    """The whole and valid file of another text, under this one's name."""
    cache.cached("another text", Builder(b"foreign code"))
    (other,) = (f for f in file.parent.iterdir() if f != file)
    os.replace(other, file)


def writable_by_all(file):
    file.chmod(0o666)


def writable_by_the_group(file):
    file.chmod(0o620)


def a_folder(file):
    file.unlink()
    file.mkdir()


def a_link(file):
    """To a whole and valid file of ours, as somebody else could lay one in a folder of his."""
    file.rename(file.with_name("elsewhere"))
    file.symlink_to("elsewhere")


def a_pipe(file):
    """Which nobody writes to: to open it would take for ever."""
    file.unlink()
    os.mkfifo(file)


def huge(file):
    """Of holes: it needs no room on the disk, and would need 200 GB of memory."""
    os.truncate(file, 200 * 2**30)


DAMAGE = [cut, cut_short, empty, flip, older, foreign, writable_by_all, writable_by_the_group, a_link, a_pipe,
          huge]  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGE, ids=lambda f: f.__name__)
def test_a_doubtful_file_is_built_again_and_mended(folder, damage):
    build = Builder()
    cache.cached("text", build)
    (file,) = folder.iterdir()
    damage(file)
    assert cache.cached("text", build) == build.made and build.calls == 2
    assert cache.cached("text", build) == build.made and build.calls == 2
    assert file.stat().st_mode & 0o022 == 0


def test_another_users_file_is_not_used(folder, monkeypatch):
    build = Builder()
    cache.cached("text", build)
    user = os.getuid()
    monkeypatch.setattr(os, "getuid", lambda: user + 1)
    cache.cached("text", build)
    assert build.calls == 2


@pytest.mark.parametrize("mode", [0o770, 0o707, 0o1777])
def test_a_folder_that_others_may_write_to_is_not_used(folder, mode):
    build = Builder()
    cache.cached("text", build)
    folder.chmod(mode)
    assert cache.cached("text", build) == build.made and build.calls == 2
    folder.chmod(0o700)
    assert cache.cached("text", build) == build.made and build.calls == 2


@pytest.mark.skipif(not hasattr(os, "chown") or os.getuid() != 0, reason="gives a folder to somebody else")
def test_a_folder_of_somebody_else_is_not_used(folder):
    build = Builder()
    cache.cached("text", build)
    os.chown(folder, 65534, 65534)
    assert cache.cached("text", build) == build.made and build.calls == 2


def test_a_folder_where_the_file_should_be_is_harmless(folder):
    build = Builder()
    cache.cached("text", build)
    (file,) = folder.iterdir()
    a_folder(file)
    assert cache.cached("text", build) == build.made
    assert [f.name for f in folder.iterdir()] == [file.name], "a temporary file was left"


@pytest.mark.parametrize("damage", [cut, flip], ids=lambda f: f.__name__)
def test_damaged_machine_code_is_never_executed(folder, damage):
    ir = "define void @answer(ptr %p) {\n  store i64 42, ptr %p\n  ret void\n}\n"
    native.Code(ir, ["answer"])
    (file,) = folder.iterdir()
    whole = file.read_bytes()
    damage(file)
    native.Code(ir, ["answer"])
    assert file.read_bytes() == whole


def test_a_folder_that_cannot_be_written_costs_only_the_cache(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("RAVINE_CACHE", str(tmp_path / "file" / "below"))
    build = Builder()
    assert cache.cached("text", build) == cache.cached("text", build) == build.made
    assert build.calls == 2


def test_a_full_disk_leaves_no_part_of_a_file(folder, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    assert cache.cached("text", Builder()) == b"machine code"
    assert not list(folder.iterdir())


def test_where_the_folder_is(monkeypatch, tmp_path):
    monkeypatch.setenv("RAVINE_CACHE", str(tmp_path / "a"))
    assert cache.folder() == tmp_path / "a"
    monkeypatch.delenv("RAVINE_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "b"))
    assert cache.folder() == tmp_path / "b" / "ravine"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache.folder() == tmp_path / ".cache" / "ravine"


def test_a_user_without_a_home_has_a_cache_too(monkeypatch):
    def nobody():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("RAVINE_CACHE")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setattr(cache.Path, "home", nobody)
    assert "ravine" in cache.folder().name


def test_the_key_holds_all_that_the_code_depends_on(folder, monkeypatch):
    texts = []
    monkeypatch.setattr(native, "cached", lambda text, build: (texts.append(text), build(text.split("\n", 1)[1]))[1])
    native.Code("define void @f() {\n  ret void\n}\n", ["f"])
    (text,) = texts
    for part in (
        native.llvm.get_host_cpu_name(),
        native.features(),
        native.llvmlite.__version__,
        native.target().triple,
    ):
        assert part in text


@pytest.mark.ci
def test_debug_4_prints_the_machine_code_that_is_made(tmp_path):
    code = "import torch, ravine; p = torch.nn.Parameter(torch.ones(9)); p.grad = p.data; ravine.SGD([p]).step()"
    env = os.environ | {"RAVINE_DEBUG": "4", "RAVINE_CACHE": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code], env=env, check=True, capture_output=True, text=True)
    assert ".text" in done.stderr
