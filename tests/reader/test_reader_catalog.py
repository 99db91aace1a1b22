"""`ravine list`, `show` and `cite`: right about every method, and for people who have installed no extra."""

import json
import re
import subprocess
import sys
from collections import Counter

import pytest
import torch

import ravine
from ravine.catalog.bib import papers, parse, plain
from ravine.catalog.docstring import parts
from ravine.catalog.methods import SHAPE, cited, defaults, method, methods, state
from ravine.catalog.printed import bytes_of, table
from ravine.cli import COMMANDS, main
from ravine.optim import registry
from ravine.testing.subject import some

every = pytest.mark.parametrize("cls", registry().values(), ids=registry().keys())


def run(capsys, arguments):
    """(status, stdout, stderr) of `ravine ARGUMENTS`."""
    status = main(arguments.split())
    return status, *capsys.readouterr()


# what is said of each method


@every
def test_state_is_what_an_optimizer_keeps(cls):
    """Of a matrix of the shape that is said, also where it keeps factors, or has a rank."""
    shape = (32, 32) if cls is ravine.FullAdagrad else SHAPE  # it refuses such a matrix
    p = torch.nn.Parameter(torch.ones(shape))
    p.grad = torch.ones_like(p) if getattr(cls, "dense", True) else torch.ones_like(p).to_sparse(1)
    opt = cls([p], backend="reference")
    opt.step(**some(opt, 0) | {"loss": 1.0})
    tensors = [x for k, x in opt.state[p].items() if isinstance(x, torch.Tensor) and k != "step"]
    kept = sum(x.numel() * x.element_size() for x in tensors)
    assert state(opt.compiled(opt.param_groups[0], p), shape) == pytest.approx(kept / p.numel(), abs=0.006)
    assert method(cls).state == pytest.approx(state(opt.compiled(opt.param_groups[0], p)), abs=0.006)


@every
def test_moved_is_what_explain_says(cls):
    opt = cls([torch.nn.Parameter(torch.ones(2, 2))], backend="reference")
    facts = method(cls)
    assert f"  {facts.moved} bytes moved per element" in opt.explain()
    assert facts.moved >= 12 and facts.passes >= 1  # p and g are read, p is written


@every
def test_the_paper_is_the_one_of_the_docstring(cls):
    """Its year and its first author, so that nothing is inherited or misspelled unseen."""
    paper = cited(cls)[0]
    doc = cls.__doc__ or ""
    surname = paper.fields["author"].split(",")[0].split(" and ")[0]
    assert str(paper.year) in doc and plain(surname).split()[-1] in doc, f"{cls.__name__} cites {paper.key}"


@every
def test_the_docstring_has_its_parts(cls):
    said = parts(cls)
    assert said.sentence.endswith(".") and "\n" not in said.sentence and len(said.sentence) < 140
    assert "←" in said.equations and "http" in said.references
    whole = "".join([said.sentence, said.equations, said.paragraphs, said.use, said.references])
    assert Counter("".join(whole.split())) == Counter("".join((cls.__doc__ or "").split()))


def test_the_parts_of_a_docstring():
    class Example:
        """What it is,
        in a sentence.

            m ← g

        or with a flag:

            m ← 2 g

        Words.

        Use it never.

        Someone 1999    https://x.org
        """

    said = parts(Example)
    assert said.sentence == "What it is, in a sentence."
    assert said.equations == "    m ← g\n\nor with a flag:\n\n    m ← 2 g"
    assert (said.paragraphs, said.use) == ("Words.", "Use it never.")
    assert said.references == "Someone 1999    https://x.org"


# papers.bib


def test_every_paper_is_whole_and_written_once():
    named = {key for cls in registry().values() for key in cls.papers}
    for key, entry in papers().items():
        assert {"title", "author", "year"} <= entry.fields.keys(), key
        assert 1900 < entry.year < 2030 and ("http" in entry.fields.get("url", "") or "doi" in entry.fields), key
        assert entry.text.startswith("@") and entry.text.endswith("}")
    assert named <= papers().keys()
    for field in ("title", "url", "doi"):
        seen = Counter(entry.fields[field].lower() for entry in papers().values() if field in entry.fields)
        assert [x for x, n in seen.items() if n > 1] == []


def test_bib_reads_what_bibtex_is():
    text = """% a comment
@Article{a2020,
  title = {The {Nested} one},
  author = "Ann and B{\\"o}b",
  year = 2020,
  url={https://x.org/a_b},
}
@book{b1, title = {Two
    lines}, author = {Fran{\\c{c}}ois, Jean}, year = {1999}}
"""
    a, b = parse(text).values()
    assert (a.key, a.kind, a.year, a.fields["title"]) == ("a2020", "article", 2020, "The {Nested} one")
    assert a.fields["url"] == "https://x.org/a_b" and a.text.endswith(",\n}")
    assert a.line() == "Ann and Böb (2020). The Nested one. https://x.org/a_b"
    assert b.fields["title"] == "Two lines" and b.line() == "Jean François (1999). Two lines."


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("@book{a, year = {1999}", "line 1: expected @kind"),
        ("\n@book{a, year}", "line 2: a has no field"),
        ("@book{a, year = {1}}\n@book{a, year = {2}}", "line 2: the key a stands twice"),
        ("@book{a, title = unquoted}", "a has no field"),
    ],
)
def test_bib_says_what_is_wrong(text, message):
    with pytest.raises(ValueError, match=message):
        parse(text)


# the commands


@pytest.mark.parametrize("by", ["name", "year", "state", "cost"])
def test_list_is_sorted_and_whole(capsys, by):
    status, out, err = run(capsys, f"list --by {by} --json")
    rows = json.loads(out)
    assert (status, err) == (0, "") and sorted(x["name"].lower() for x in rows) == sorted(registry())
    key = {"name": lambda x: x["name"].lower(), "year": lambda x: x["year"] or 9999}.get(
        by, lambda x: x[{"cost": "moved"}.get(by, by)]
    )
    assert [key(x) for x in rows] == sorted(key(x) for x in rows)
    assert {"name", "year", "state", "moved", "passes", "sentence", "papers", "state_shape"} == rows[0].keys()
    assert all(x["state_shape"] == [1024, 1024] for x in rows)


def test_list_prints_a_line_for_each(capsys):
    _, out, _ = run(capsys, "list")
    head, *lines = out.splitlines()
    assert head.split()[:4] == ["name", "year", "state", "moved"]
    assert [line.split()[0] for line in lines] == [x.name for x in methods()]
    assert next(x.split()[2] for x in lines if x.startswith("GaLore ")) == "1.5"  # 3 × 4 × 128 / 1024
    adam = next(line for line in lines if line.startswith("Adam "))
    assert adam.split()[1:4] == ["2015", "8", "28"] and adam.endswith(parts(ravine.Adam).sentence)


@pytest.mark.parametrize("width", [120, 80, 50, 20])
def test_a_narrow_terminal_keeps_every_column_and_every_word(monkeypatch, width):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("COLUMNS", str(width))
    rows = methods()
    columns = [
        ["name", "year", "state", "moved"],
        *([x.name, str(x.year or "-"), bytes_of(x.state), str(x.moved)] for x in rows),
    ]
    what = "what it is (state and moved: bytes per float32 parameter of a 1024 × 1024 matrix)"
    sentences = [what, *(x.sentence for x in rows)]
    lines = table(rows).splitlines()
    assert [line.split()[:4] for line in lines if not line.startswith(" ")] == columns
    said = [word for column, text in zip(columns, sentences, strict=True) for word in [*column, *text.split()]]
    assert "".join(" ".join(lines).split()) == "".join(said)  # a word may be longer than the line
    assert all(len(line) <= width for line in lines if width >= 80 or line.startswith(" "))


@every
def test_show_says_all_of_it(capsys, cls):
    status, out, err = run(capsys, f"show {cls.__name__}")
    assert (status, err) == (0, "") and out.startswith(cls.__name__)
    for part in (parts(cls).sentence[:60], "Equations, as traced", "pₜ = ", "Defaults", "Plan", "1. ", "Paper"):
        assert part in out
    assert all(k in out for k in defaults(cls))


def test_show_says_what_an_alias_means(capsys):
    _, out, _ = run(capsys, "show sgd-momentum")
    assert out.startswith("'sgd-momentum' is SGD with momentum=0.9\n")
    assert "mₜ = " in out and "momentum      0.9\n" in out
    _, out, _ = run(capsys, "show rms-prop")
    assert "literature: 0.9" in out and "Hinton 2012" in out


OWN = """
import ravine

class Mine(ravine.Optimizer):
    \"\"\"Half a step.\"\"\"

    def update(self, s, p, g, t):
        return p - 0.5 * self.lr * g

class Wrong(ravine.Optimizer):
    def update(self, s, p, g, t):
        return s.m * g

class Takes(Mine):
    inputs = {"h": "r c"}

    def update(self, s, p, g, t, h):
        return p - self.lr * g / h
"""


def test_a_class_of_ones_own_is_shown_and_listed_and_its_mistake_has_a_line(capsys, monkeypatch, tmp_path):
    (tmp_path / "of_ones_own.py").write_text(OWN)
    monkeypatch.syspath_prepend(tmp_path)
    status, out, _ = run(capsys, "show of_ones_own:Mine:lr=0.5")
    assert status == 0 and "Half a step." in out and "pₜ = pₜ₋₁ − 0.5 lr gₜ" in out and "none named" in out
    status, out, _ = run(capsys, "list adam of_ones_own:Mine")
    assert status == 0 and [line.split()[0] for line in out.splitlines()] == ["name", "Adam", "Mine"]
    status, _, err = run(capsys, "show of_ones_own:Wrong")
    assert status == 2 and "'of_ones_own:Wrong' at of_ones_own.py:12: AttributeError: state 'm' is used" in err
    status, _, err = run(capsys, "race ravine --optimizers of_ones_own:Takes")
    assert status == 2 and "'of_ones_own:Takes' takes h, which this command does not give" in err


def test_cite_prints_each_paper_once(capsys):
    status, out, _ = run(capsys, "cite adam Adam sgd")
    assert status == 0 and out.count("@") == len({*ravine.Adam.papers, *ravine.SGD.papers})
    assert list(parse(out)) == [*ravine.Adam.papers, *ravine.SGD.papers]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("", "required: COMMAND (see ravine --help)"),
        ("lst", "unknown command 'lst': did you mean list? It is one of list, show, cite, schedule, compare"),
        ("gibberish", "unknown command 'gibberish': It is one of"),
        ("--nonsense", "required: COMMAND"),
        ("--verbose list", "unrecognized arguments: --verbose"),
        ("show adm", "unknown optimizer 'adm': did you mean adam or"),
        ("show", "required: NAME (see ravine show --help)"),
        ("show adam sgd", "unrecognized arguments: sgd"),
        ("cite", "required: NAME"),
        ("show ad\x1b[31mam", r"unknown optimizer 'ad\x1b[31mam'"),
        ("show ad\u202exm", r"unknown optimizer 'ad\u202exm'"),
        ("cite adam adm", "unknown optimizer 'adm'"),
        ("list --by size", "invalid choice: 'size'"),
        ("list adm", "unknown optimizer 'adm': did you mean adam or"),
    ],
)
def test_a_mistake_is_one_line_and_status_2(capsys, arguments, message):
    status, out, err = run(capsys, arguments)
    assert (status, out, err.count("\n")) == (2, "", 1) and err.startswith("ravine: ")
    assert message in err


@pytest.mark.parametrize("command", ["", "show ", "cite ", "schedule ", "race ", "compare --task ", "tune --batch "])
@pytest.mark.parametrize("letters", ["a\nb", "\r", "\x1b[2J", "\x00", "\u2028", "\udc80", "\x85", "\u202e"])
def test_an_error_stays_one_line_whatever_was_typed(capsys, command, letters):
    assert main([*command.split(), letters]) == 2
    err = capsys.readouterr().err
    assert err.startswith("ravine: ") and err.endswith("\n") and err[:-1].isprintable()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("tune --batch None", "argument --batch: 'None' is not a whole number (see ravine tune --help)"),
        ("lr-find --steps 1.5", "argument --steps: '1.5' is not a whole number"),
        ("lr-find --low fast", "argument --low: 'fast' is not a number"),
        ("compare --target nan", "argument --target: 'nan' is not a number"),
        ("race beale --steps ten", "argument --steps: 'ten' is not a whole number"),
        ("play --port x", "argument --port: 'x' is not a whole number"),
    ],
)
def test_numbers_are_asked_for_in_words(capsys, arguments, message):
    status, out, err = run(capsys, arguments)
    assert (status, out) == (2, "") and message in err


def test_a_method_without_a_paper_says_what_to_do(capsys, monkeypatch):
    monkeypatch.setattr(ravine.SGD, "papers", ())
    assert run(capsys, "cite sgd")[::2] == (
        2,
        'ravine: SGD names no paper: give its class papers = ("key",), a key of papers.bib\n',
    )
    monkeypatch.setattr(ravine.SGD, "papers", ("nobody1900",))
    assert "SGD names nobody1900, which papers.bib does not have" in run(capsys, "cite sgd")[2]


def test_help_lists_every_command(capsys):
    with pytest.raises(SystemExit) as stopped:
        main(["--help"])
    out = capsys.readouterr().out
    assert stopped.value.code == 0
    assert all(re.search(rf"\n    {name}\s", out) for name in COMMANDS)
    for name in COMMANDS:
        with pytest.raises(SystemExit):
            main([name, "--help"])
        assert capsys.readouterr().out.startswith(f"usage: ravine {name} [-h]")


BARE = """
import sys
for name in ("scipy", "sklearn", "plotly", "rich", "jinja2", "markupsafe", "latex2mathml", "triton"):
    sys.modules[name] = None
from ravine.cli import main
for arguments in sys.argv[1:]:
    assert main(arguments.split()) == 0
assert not [m for m in sys.modules if m.startswith(("ravine.lab", "ravine.visuals"))]
"""


@pytest.mark.ci
def test_without_any_extra():
    commands = ["list", "show adam", "cite adam"]
    done = subprocess.run([sys.executable, "-c", BARE, *commands], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "") and "@inproceedings{kingma2015adam" in done.stdout


@pytest.mark.ci
def test_a_reader_that_leaves_early_is_no_error():
    code = "from ravine.cli import main; import sys; sys.exit(main(['list']))"
    command = f'{sys.executable} -c "{code}" | true; exit ${{PIPESTATUS[0]}}'
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True)
    assert done.stderr == "" and done.returncode in (0, 141)
