"""Each of our tasks by itself: its data are the ones that everybody has, in parts that know nothing of one another."""

import contextlib
import csv
import io
import random
from dataclasses import replace

import pytest
import torch
from torch import nn

import ravine
from ravine.lab import LabError
from ravine.lab.protocol.trial import Trial, run
from ravine.lab.tasks import adult, load_task, noisy_quadratic, programs, tinyshakespeare
from ravine.lab.tasks.banking77 import WORDS, numbers


def shapes(data):
    return [tuple(part.shape) for part in data]


def test_digits():
    data = load_task("digits").load()
    assert shapes(data) == [(1197, 64), (1197,), (300, 64), (300,), (300, 64), (300,)]
    rows = [tuple(row.tolist()) for part in data[::2] for row in part]
    assert len(set(rows)) == 1797 and 0 == data.x.min() < data.x.max() == 1


@pytest.mark.ci
def test_images_in_three_parts(fashion_mnist):
    x, y, x_valid, y_valid, x_test, y_test = data = load_task("fashion-mnist", fashion_mnist).load()
    assert shapes(data) == [(50_000, 784), (50_000,), (10_000, 784), (10_000,), (10_000, 784), (10_000,)]
    assert all(part.untyped_storage().nbytes() == part.nbytes for part in data)  # nothing more goes to the workers
    whole_x, whole_y, *rest = load_task("fashion-mnist-classic", fashion_mnist).load()[:4]
    assert torch.equal(torch.cat([x, x_valid]), whole_x) and torch.equal(torch.cat([y, y_valid]), whole_y)
    assert torch.equal(x_test, rest[0]) and torch.equal(y_test, rest[1])
    assert load_task("fashion-mnist-classic", fashion_mnist).load().x_test is None


@pytest.mark.ci
def test_images_for_convolutions(fashion_mnist):
    flat = load_task("fashion-mnist", fashion_mnist).load()
    for name in ("fashion-mnist-cnn", "fashion-mnist-cnn-bn"):
        data = load_task(name, fashion_mnist).load()
        assert data.x.shape == (50_000, 1, 28, 28) and torch.equal(data.x_valid.flatten(1), flat.x_valid)
        assert torch.equal(data.y_test, flat.y_test)
    assert any(isinstance(layer, nn.BatchNorm2d) for layer in load_task("fashion-mnist-cnn-bn").model())


def test_the_autoencoder_s_target_is_its_input(fashion_mnist):
    data = load_task("autoencoder", fashion_mnist).load()
    assert all(torch.equal(x, y) for x, y in zip(data[::2], data[1::2], strict=True))


def test_the_deep_network_is_narrow():
    layers = [layer for layer in load_task("deep-narrow").model() if isinstance(layer, nn.Linear)]
    assert [layer.out_features for layer in layers] == [50] * 20 + [10]


def test_the_text_is_cut_in_order():
    data = tinyshakespeare.chunks(bytes(i // 8 for i in range(2000)))
    assert shapes(data)[::2] == [(28, 64), (1, 64), (1, 64)]
    for part, start in zip(data, (0, 1, 1800, 1801, 1900, 1901), strict=True):
        assert part.flatten().tolist() == [i // 8 for i in range(start, start + part.numel())]


@pytest.mark.parametrize("name", ["tinyshakespeare", "tinyshakespeare-lstm"])
def test_readers_of_text_see_the_past_alone(name):
    model, (x, _) = load_task(name).model(), tinyshakespeare.repeated()
    other = x.clone()
    other[:, 40] += 1
    changed = (model(x) - model(other)).abs().amax(1)
    assert changed[:, :40].max() < 1e-6 < changed[:, 40:50].min()


def test_the_real_text(tinyshakespeare):
    data = load_task("tinyshakespeare", tinyshakespeare).load()
    assert shapes(data)[::2] == [(15_685, 64), (871, 64), (871, 64)]
    letters = sorted({*(tinyshakespeare / "input.txt").read_text("ascii")})
    assert "".join(letters[i] for i in data.x[0, :13]) == "First Citizen"
    assert len(letters) == 65 == 1 + max(int(part.max()) for part in data)


@pytest.mark.parametrize(("name", "file"), [("tinyshakespeare", "input.txt"), ("adult", "adult.data")])
def test_another_file_is_told(tmp_path, name, file):
    (tmp_path / file).write_text("To be")
    with pytest.raises(LabError, match=rf"not the file of https://.*{file}: 5 bytes with md5 .*, expected \w{{32}}"):
        load_task(name, tmp_path).load()


def test_what_programs_print_is_what_python_says():
    draw = random.Random(3)
    for i in range(300):
        text, printed = programs.program(draw, length=1 + i % 3, nesting=1 + i // 3 % 3)
        out = io.StringIO()
        with contextlib.redirect_stdout(out):
            exec(text, {})
        assert out.getvalue() == f"{printed}\n", text


def test_programs_are_read_back():
    data = programs.data()
    assert shapes(data) == [(24_000, 78), (24_000, 8), (1000, 78), (1000, 8), (1000, 78), (1000, 8)]
    texts = []
    for x, y in (data[:2], data[2:4], data[4:]):
        texts.append(set())
        for row, said in zip(x.tolist(), y.tolist(), strict=True):
            said = "".join(programs.ALPHABET[i] for i in said if i != programs.NONE)
            read = "".join(programs.ALPHABET[i] for i in row).strip()
            assert said.endswith(".") and read.endswith("@" + said[:-1])
            assert row[programs.PROGRAM - 1] == programs.ALPHABET.index("@")
            texts[-1].add(read)
    train, valid, test = texts
    assert len(valid) == len(test) == 1000 and train.isdisjoint(valid | test) and valid.isdisjoint(test)
    level, count = programs.difficulty(data).unique(return_counts=True)
    assert level.tolist() == [1, 2, 3, 4, 5, 6] and count.tolist() == [4000] * 6
    hardest = programs.difficulty(data._replace(x=torch.cat([data.x_valid, data.x_test])))
    assert hardest.unique().tolist() == [6]


def test_a_program_s_loss_is_of_its_output_alone():
    x, y = programs.rows([("print((1+2))", 3)])
    output = torch.zeros(1, len(programs.ALPHABET), programs.OUTPUT, requires_grad=True)
    loss = programs.loss(output, y)
    loss.backward()
    assert loss.item() == pytest.approx(torch.tensor(len(programs.ALPHABET)).log().item())
    assert (output.grad.abs().sum(1) > 0).tolist() == [[True, True] + [False] * 6]  # "3" and "."
    right = nn.functional.one_hot(y.clamp(min=0), len(programs.ALPHABET)).mT.float()
    right[:, :, 1] = 0
    assert programs.accuracy(right, y) == 0.5
    assert x[0, -7:].tolist() == [programs.ALPHABET.index("3"), 0, 0, 0, 0, 0, 0]


def test_words_have_numbers_without_a_vocabulary():
    one, other = numbers("Is my CARD lost?"), numbers("my card")
    assert one[1:3] == other[:2] and len(one) == 32 and one[4:] == [0] * 28
    assert min(one[:4]) > 0 and max(one) < WORDS and len(numbers("a " * 99)) == 32


def test_the_real_questions(banking77):
    data = load_task("banking77", banking77).load()
    assert shapes(data) == [(9003, 32), (9003,), (1000, 32), (1000,), (3080, 32), (3080,)]
    assert all(part.unique().tolist() == list(range(77)) for part in data[1::2])
    with (banking77 / "train.csv").open(encoding="utf-8") as file:
        questions = [numbers(line["text"]) for line in csv.DictReader(file)]
    assert sorted(torch.cat([data.x, data.x_valid]).tolist()) == sorted(questions)  # each once, in one of the two


@pytest.mark.ci
def test_the_real_people(adult):
    data = load_task("adult", adult).load()
    assert shapes(data) == [(22_793, 107), (22_793, 1), (4884, 107), (4884, 1), (4884, 107), (4884, 1)]
    numbers, hot = data.x[:, :6], data.x[:, 6:]
    torch.testing.assert_close(numbers.mean(0), torch.zeros(6), atol=1e-3, rtol=0)
    torch.testing.assert_close(numbers.std(0), torch.ones(6), atol=1e-3, rtol=0)
    assert hot.sum(1).unique().tolist() == [8] and hot.sum(0).min() > 0
    assert data.x_valid[:, 6:].sum(1).max() == 8 and 0.23 < float(data.y_test.mean()) < 0.25


def test_adult_s_statistics_are_of_the_training_part_alone():
    draw = random.Random(0)
    kinds = ("Private", "?", "State-gov")
    people = [
        [str(draw.randrange(90)) if i in adult.NUMERIC else draw.choice(kinds) for i in range(14)] + ["<=50K"]
        for _ in range(100)
    ]
    before = adult.table(people)
    order = torch.randperm(100, generator=torch.Generator().manual_seed(0)).tolist()
    for i in order[70:]:
        people[i] = ["1000000"] * 14 + [">50K"]
    after = adult.table(people)
    assert shapes(after)[::2] == [(70, 6 + 8 * 3), (15, 6 + 8 * 3), (15, 6 + 8 * 3)]
    assert torch.equal(before.x, after.x) and torch.equal(before.y, after.y)
    assert after.x_test[:, 6:].max() == 0 and after.y_test.min() == 1  # a kind that training never saw has no column
    assert before.x[:, 6:9].sum(0).min() > 0  # "?" is a kind


def test_l1_is_in_the_objective_and_pulls_weights_to_zero():
    task = load_task("adult").tiny()
    data, model = task.load(), nn.Linear(adult.COLUMNS, 1)
    output = model(data.x)
    penalty = task.objective(model, output, data.y) - task.loss(output, data.y)
    assert penalty.item() == pytest.approx(1e-3 * model.weight.abs().sum().item(), rel=1e-3)
    trial = Trial("adult", "sgd", (("lr", 0.3),), seed=0, epochs=60, batch=4, content="")
    with_it, without = (
        run(trial, replace(task, penalty=penalty), data, ravine.SGD)[1].weight.abs().sum()
        for penalty in (task.penalty, None)
    )
    assert with_it < 0.95 * without


def test_the_noisy_quadratic_is_exact():
    model, h = noisy_quadratic.Quadratic(), 1 / torch.arange(1, 1001)
    theta = model.theta.detach()
    expected = (h * theta**2).sum() / 2
    for training in (True, False):
        torch.testing.assert_close(model.train(training)(torch.arange(5)), expected.expand(5))
    model(torch.arange(5)).mean().backward()
    torch.testing.assert_close(model.theta.grad, h * theta)
    for batch in (1, 4, 4096):  # the noise is √(h / B) times what the generator gives: N(0, diag(h) / B)
        model.theta.grad = None
        torch.manual_seed(7)
        model.train()(torch.arange(batch)).mean().backward()
        torch.manual_seed(7)
        torch.testing.assert_close(
            model.theta.grad - h * theta, (h / batch).sqrt() * torch.randn(1000), atol=1e-6, rtol=1e-3
        )


def test_in_the_noisy_quadratic_momentum_helps_where_batches_are_large():
    """What section 3 of the paper says: of the best loss after so many steps, over rates. Plain steps diverge at 2."""

    def best(momentum, batch, steps=200):
        finals = []
        for lr in (0.2, 0.5, 1.9, 16.0) if momentum else (0.2, 0.5, 1.9):
            torch.manual_seed(0)
            model = noisy_quadratic.Quadratic()
            opt = torch.optim.SGD(model.parameters(), lr * (1 - momentum), momentum=momentum)
            for _ in range(steps):
                opt.zero_grad()
                model(torch.empty(batch)).mean().backward()
                opt.step()
            finals.append(model.eval()(torch.empty(1)).item())
        return min(finals)

    assert best(0.9, 100_000) < 0.1 * best(0.0, 100_000)
    assert best(0.9, 1) == pytest.approx(best(0.0, 1), rel=0.2)
