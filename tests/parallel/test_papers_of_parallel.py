"""Each public class of ravine.parallel with `papers` names entries of papers.bib, and its docstring cites the same."""

import re

import pytest

import ravine
import ravine.parallel as parallel
from ravine.catalog.bib import papers
from ravine.cli import main

CLASSES = {k: x for k, x in vars(parallel).items() if isinstance(x, type)}
CITING = sorted(k for k, cls in CLASSES.items() if hasattr(cls, "papers"))
FOUND = (
    "AsyncDiLoCo",
    "DCASGD",
    "DiLoCo",
    "Downpour",
    "LocalSGD",
    "MatrixCompletion",
    "PowerSGD",
    "SignCompress",
    "TopK",
)


def test_the_methods_that_come_from_a_paper_name_it():
    assert set(FOUND) <= set(CITING)


def test_what_has_papers_is_cited_by_its_name(capsys):
    rooms = (ravine.mods, ravine.strategies, ravine.schedules, ravine.loop, parallel)
    named = {k: x for room in rooms for k, x in vars(room).items() if getattr(x, "papers", ()) and k in dir(room)}
    assert len(named) > 50 and {"SAM", "EMA", "DiLoCo", "QKClip", "AdaptiveRevision"} <= named.keys()
    for name, cls in named.items():
        assert main(["cite", name.lower()]) == 0
        assert f"{{{cls.papers[0]}," in capsys.readouterr().out, name
    assert main(["cite", "nothing"]) == 2 and "unknown optimizer 'nothing'" in capsys.readouterr().err


@pytest.mark.parametrize("name", CITING)
def test_its_papers_are_in_papers_bib_and_in_its_docstring(name: str):
    cls = CLASSES[name]
    assert cls.papers and isinstance(cls.papers, tuple) and set(cls.papers) <= papers().keys()
    for key in cls.papers:
        year, author = papers()[key].year, papers()[key].fields["author"].split(",")[0]
        assert author in cls.__doc__ and str(year) in cls.__doc__, key
    for key in cls.papers:
        for number in re.findall(r"arxiv\.org/abs/(\S+)", papers()[key].fields.get("url", "")):
            assert number in cls.__doc__, key
