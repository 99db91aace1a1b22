"""Snapshots: the old one or the new one; what is none, or another model's, is said so."""

from functools import partial

import pytest
import torch
from inprocess import Here, backward, model

import ravine
from ravine.parallel.server import snapshot
from ravine.parallel.server.snapshot import read, write
from ravine.parallel.workers import Downpour


def test_a_writer_that_fails_leaves_the_old_one(tmp_path, monkeypatch):
    path = tmp_path / "x.pt"
    write(path, {"n": 1})
    for name in ("fsync", "replace"):
        with monkeypatch.context() as m:
            m.setattr(snapshot.os, name, lambda *_: (_ for _ in ()).throw(OSError("No space left on device")))
            with pytest.raises(OSError, match="No space left"):
                write(path, {"n": 2})
        assert read(path)["n"] == 1 and [x.name for x in tmp_path.iterdir()] == ["x.pt"]
    write(path, {"n": 2})
    assert read(path)["n"] == 2


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 no", b"\x80\x02]q\x00."])
def test_what_is_no_snapshot(tmp_path, content):
    path = tmp_path / "x.pt"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="not a snapshot of a parameter server"):
        read(path)


def test_another_file_of_torch_is_none_and_runs_nothing(tmp_path):
    path = tmp_path / "x.pt"
    torch.save({"a": 1}, path)
    with pytest.raises(ValueError, match=r"not a snapshot of a parameter server, but {'a': 1}"):
        read(path)
    torch.save({"kind": "ravine.parallel", "a": Bomb()}, path)
    with pytest.raises(ValueError, match="not a snapshot"):
        read(path)


class Bomb:
    def __reduce__(self):
        return pytest.fail, ("it was run",)


def trained(folder, net, rule="adam:lr=0.05", steps=7, every=2, **more):
    server = Here(net, rule, shards=2, folder=folder, every=every, **more)
    worker = Downpour(server.handle(), ravine.SGD(net.parameters(), lr=0.1))
    for n in range(steps):
        backward(net, torch.Generator().manual_seed(n))
        worker.step()
    return server


def test_a_server_goes_on_from_its_folder(tmp_path):
    server = trained(tmp_path, model())
    (tmp_path / "shard-0.pt.123.new").write_bytes(b"a writer died")
    after = Here(model(seed=5), "adam:lr=0.05", shards=2, folder=tmp_path, every=2)
    assert after.each("version") == [6, 6] and after.each("incarnation") == [2, 2]
    assert not list(tmp_path.glob("*.new"))
    assert not all(torch.equal(x, after.parameters()[k]) for k, x in server.parameters().items())
    for x in server.shards:
        x.save()
    found = Here(model(seed=5), "adam:lr=0.05", shards=2, folder=tmp_path).parameters()
    assert all(torch.equal(x, found[k]) for k, x in server.parameters().items())


@pytest.mark.parametrize(
    "net, how, said",
    [
        (model, {"rule": "sgd:lr=0.1"}, "its rule is 'Adam', and this server's is 'SGD'"),
        (model, {"shards": 1}, "its shard is"),
        (model, {"placement": "round_robin"}, "its pieces is"),
        (lambda: torch.nn.Linear(9, 2), {}, "its pieces is"),
    ],
)
def test_another_servers_folder_is_refused(tmp_path, net, how, said):
    trained(tmp_path, model())
    before = {x: x.read_bytes() for x in tmp_path.iterdir()}
    made = {"rule": "adam:lr=0.05", "shards": 2, "folder": tmp_path} | how
    with pytest.raises(ValueError, match=r"shard-0.pt") as error:
        Here(net(), **made)
    assert said in str(error.value) and "delete what is in it" in str(error.value)
    assert {x: x.read_bytes() for x in tmp_path.iterdir()} == before


def test_a_full_disk_is_told_to_who_pushes_and_the_shard_serves_on(tmp_path, monkeypatch):
    net = model()
    server = trained(tmp_path, net, steps=2, every=1)
    worker = Downpour(server.handle(), ravine.SGD(net.parameters(), lr=0.1))
    backward(net, torch.Generator().manual_seed(0))
    with monkeypatch.context() as m:
        m.setattr(snapshot.os, "fsync", lambda _: (_ for _ in ()).throw(OSError("No space left on device")))
        with pytest.raises(RuntimeError, match="cannot do this: OSError: No space left on device"):
            worker.step()
    worker.step()
    assert server.each("accepted") == [4, 4] == [x.saved for x in server.shards]


def test_partial_is_a_rule_that_a_snapshot_knows_by_its_class(tmp_path):
    trained(tmp_path, model(), partial(ravine.Adam, lr=0.05))
    assert read(tmp_path / "shard-0.pt")["rule"] == "Adam"
