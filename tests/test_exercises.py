"""The exercises: specifications agree with the library, right answers pass, stubs and typical mistakes get their hint."""

from __future__ import annotations

import json
import math
import runpy
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
import torch

import ulmfit
from ulmfit import cli, exercises
from ulmfit.errors import UserError
from ulmfit.exercises import EXERCISES
from ulmfit.exercises.record import load_record
from ulmfit.exercises.trial import cases
from ulmfit.exercises.values import difference, plain, written

ROOT = Path(__file__).resolve().parents[1]
Capture = pytest.CaptureFixture[str]
Function = Callable[..., Any]


@pytest.fixture(autouse=True)
def own_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep the tests away from what the person who runs them has done."""
    path = tmp_path / "record.json"
    monkeypatch.setenv("ULMFIT_EXERCISES", str(path))
    return path


def words(text: str) -> str:
    """Undo line breaks."""
    return " ".join(text.split())


def said(name: str, fn: Function) -> str:
    """Check a function that must not pass, and return what was said."""
    result = exercises.check(name, fn)
    assert not result
    assert not result.passed
    return words(result.text)


def defined(source: str, name: str) -> Function:
    """Run the source of a function as a notebook would."""
    space: dict[str, Any] = {}
    exec(source, space)
    return space[name]


# --- the specification against the library's own functions


def by_vocab(tokens: list[str], vocab: list[str]) -> np.ndarray:
    from ulmfit.text.rules import CONTROL_TOKENS
    from ulmfit.text.vocab import Vocab

    own = Vocab(dict.fromkeys((*CONTROL_TOKENS, *vocab)))
    places = {own.id(token): i for i, token in enumerate(vocab)}
    unknown = vocab.index("xxunk")
    return np.array([places.get(i, unknown) for i in own.encode(tokens)])


def by_lm_stream(ids: list[int], bs: int, seq_len: int) -> list[tuple[Any, Any]]:
    from ulmfit.text.lm_stream import LMStream

    stream = LMStream(
        np.array(ids),
        np.array([0, len(ids)]),
        rows=np.array([0]),
        bs=bs,
        seq_len=seq_len,
        shuffle=False,
    )
    if stream.bs < bs:  # the library makes tiny batches smaller, which is another rule
        pytest.skip("a stream too small for its batch")
    return [(block[:, :-1], block[:, 1:]) for block in stream.batches(0)]


def by_transplant(rows: np.ndarray, old_vocab: list[str], new_vocab: list[str]) -> Any:
    from ulmfit.models.transplant import transplant
    from ulmfit.models.weights import EMBEDDING

    return transplant({EMBEDDING: torch.tensor(rows)}, old_vocab, new_vocab).weights[EMBEDDING]


def by_curve(t: int, T: int, lr_max: float, cut_frac: float, ratio: float) -> float:
    from ulmfit.training.schedules import slanted_triangular

    return lr_max * slanted_triangular(t, T, cut_frac=cut_frac, ratio=ratio)


def by_phase(lr: float, n_groups: int, factor: float) -> tuple[float, ...]:
    from ulmfit.training.schedules import SHAPES, Phase

    return Phase(1, lr, "flat", SHAPES["flat"], factor=factor).peaks(n_groups)


def by_unfreezing(epoch: int, n_groups: int) -> tuple[bool, ...]:
    from ulmfit.training.schedules import CLASSIFIER_SCHEDULES, Plan

    plan = Plan(epochs=epoch + 1, lr=1.0, n_groups=n_groups)
    phases = CLASSIFIER_SCHEDULES["freez_discr_stlr"].phases(plan)
    of_epoch = [phase for phase in phases for _ in range(phase.epochs)]
    return of_epoch[epoch].is_trainable(n_groups)


def by_pool(outputs: np.ndarray, lengths: list[int]) -> Any:
    from ulmfit.models.pooling import Pool

    order = np.argsort(lengths)[::-1].copy()  # it wants the longest document first
    n, hidden = torch.tensor(lengths)[order], torch.tensor(outputs)[order]
    empty = Pool.empty(len(n), hidden.shape[2], hidden)
    vectors = empty.add(hidden, n).vectors(n)
    return vectors[torch.tensor(np.argsort(order))]


def by_token_sums(losses: list[float], n_tokens: list[int]) -> float:
    from ulmfit.training.metrics import TokenSums, perplexity

    parts = (TokenSums(loss * n, 0, n) for loss, n in zip(losses, n_tokens))
    return perplexity(sum(parts, TokenSums()))


def by_bin_numbers(confidence: list[float], is_right: list[bool], n_bins: int) -> float:
    from ulmfit.evaluation.metrics import bin_numbers

    c, right = np.array(confidence), np.array(is_right)
    bins = bin_numbers(c, n_bins)
    inside = [bins == b for b in np.unique(bins)]
    return sum(m.mean() * abs(right[m].mean() - c[m].mean()) for m in inside)


LIBRARY: dict[str, Function] = {
    "ex01": by_vocab,
    "ex02": by_lm_stream,
    "ex03": by_transplant,
    "ex04": by_curve,
    "ex05": by_phase,
    "ex06": by_unfreezing,
    "ex07": by_pool,
    "ex08": by_token_sums,
    "ex09": by_bin_numbers,
}


@pytest.mark.parametrize("name", EXERCISES)
def test_specification_agrees_with_the_library(name: str) -> None:
    n_compared = 0
    for seed in (0, 1):
        for arguments in cases(EXERCISES[name], seed):
            try:
                got = plain(LIBRARY[name](*arguments))
            except pytest.skip.Exception:
                continue
            expected = plain(EXERCISES[name].spec(*arguments))
            assert not difference(got, expected), arguments
            n_compared += 1
    assert n_compared >= 100


# --- what passes


@pytest.mark.parametrize("name", EXERCISES)
def test_the_solution_passes_and_so_does_the_library(name: str, capsys: Capture) -> None:
    exercise = EXERCISES[name]
    result = exercises.check(name, defined(exercise.solution_source, exercise.function))
    assert result, result.text
    assert capsys.readouterr().out == f"{result.text}\n"
    assert f"{name} passed" in result.text
    if name != "ex02":  # see by_lm_stream
        assert exercises.check(name, LIBRARY[name], seed=3)


@pytest.mark.parametrize("name", EXERCISES)
def test_inputs_are_small_first_and_the_same_again(name: str) -> None:
    drawn = [written(arguments) for arguments in cases(EXERCISES[name], 0)]
    assert drawn == [written(arguments) for arguments in cases(EXERCISES[name], 0)]
    assert drawn != [written(arguments) for arguments in cases(EXERCISES[name], 1)]
    assert len(set(drawn)) > 20
    assert len(drawn[0]) <= len(drawn[-1])


def test_rows_and_columns_of_the_stream_always_differ() -> None:
    drawn = [arguments for seed in range(20) for arguments in cases(EXERCISES["ex02"], seed)]
    assert all(bs != seq_len for _, bs, seq_len in drawn)
    assert sum(bs > seq_len for _, bs, seq_len in drawn) > 100


def test_float32_and_tensors_are_good_answers() -> None:
    def pooled(outputs: np.ndarray, lengths: list[int]) -> torch.Tensor:
        return torch.stack([_row(o[:n]) for o, n in zip(torch.tensor(outputs).float(), lengths)])

    def _row(document: torch.Tensor) -> torch.Tensor:
        return torch.cat([document[-1], document.amax(0), document.mean(0)])

    assert exercises.check("ex07", pooled)


# --- what does not


@pytest.mark.parametrize("name", EXERCISES)
def test_the_empty_stub_fails_helpfully(name: str) -> None:
    exercise = EXERCISES[name]
    text = said(name, defined(exercise.stub, exercise.function))
    assert "gives nothing back" in text
    assert "`return`" in text
    assert words(exercise.hint) in text
    assert "got None" in text


MISTAKES = [(name, i) for name, e in EXERCISES.items() for i in range(len(e.wrong))]


@pytest.mark.parametrize(("name", "i"), MISTAKES)
def test_each_known_mistake_fails_with_its_own_hint(name: str, i: int) -> None:
    wrong = EXERCISES[name].wrong[i]
    text = said(name, wrong.answer)
    assert words(wrong.hint) in text
    assert words(EXERCISES[name].hint) not in text


def test_each_exercise_knows_two_mistakes() -> None:
    assert all(len({wrong.hint for wrong in e.wrong}) >= 2 for e in EXERCISES.values())


def reshaped(ids: list[int], bs: int, seq_len: int) -> list[tuple[Any, Any]]:
    """Take bs * seq_len ids at a time, as one would for a model without memory."""
    n, size = (len(ids) - 1) // bs * bs, bs * seq_len
    pairs = []
    for start in range(0, n, size):
        width = min(size, n - start) // bs
        cut = slice(start, start + bs * width)
        pairs.append(tuple(np.array(s)[cut].reshape(bs, width) for s in (ids[:-1], ids[1:])))
    return pairs


def transposed(ids: list[int], bs: int, seq_len: int) -> list[tuple[Any, Any]]:
    n = (len(ids) - 1) // bs
    x, y = (np.array(s[: n * bs]).reshape(n, bs).T for s in (ids, ids[1:]))
    return [(x[:, i : i + seq_len], y[:, i : i + seq_len]) for i in range(0, n, seq_len)]


def random_rows(rows: np.ndarray, old_vocab: list[str], new_vocab: list[str]) -> Any:
    fresh = Random(0)
    return [
        rows[old_vocab.index(w)] if w in old_vocab else [fresh.random() for _ in rows[0]]
        for w in new_vocab
    ]


def zero_rows(rows: np.ndarray, old_vocab: list[str], new_vocab: list[str]) -> Any:
    out = np.zeros((len(new_vocab), rows.shape[1]))
    for i, word in enumerate(new_vocab):
        if word in old_vocab:
            out[i] = rows[old_vocab.index(word)]
    return out


def triangle(t: int, T: int, lr_max: float, cut_frac: float, ratio: float) -> float:
    return lr_max * min(t / (T * cut_frac), (T - t) / (T * (1 - cut_frac)))


def masked_by_product(outputs: np.ndarray, lengths: list[int]) -> np.ndarray:
    mask = np.arange(outputs.shape[1])[None, :, None] < np.array(lengths)[:, None, None]
    kept = outputs * mask
    last = outputs[np.arange(len(lengths)), np.array(lengths) - 1]
    mean = kept.sum(1) / np.array(lengths)[:, None]
    return np.concatenate([last, kept.max(1), mean], axis=1)


def unmasked(outputs: np.ndarray, lengths: list[int]) -> np.ndarray:
    return np.hstack([outputs[:, -1], outputs.max(1), outputs.mean(1)])


def equal_bins(confidence: list[float], is_right: list[bool], n_bins: int) -> float:
    c, right = np.array(confidence), np.array(is_right)
    bins = np.ceil(c * n_bins)
    return float(
        np.mean([abs(c[bins == b].mean() - right[bins == b].mean()) for b in np.unique(bins)])
    )


def brier_like(confidence: list[float], is_right: list[bool], n_bins: int) -> float:
    return float(np.abs(np.array(confidence) - np.array(is_right)).mean())


# Written as a student would, not taken from the exercises: each with a word of the hint that has to come.
STUDENTS: list[tuple[str, Function, str]] = [
    ("ex01", lambda tokens, vocab: [vocab.index(t) if t in vocab else 0 for t in tokens], "id 0"),
    ("ex01", lambda tokens, vocab: [{w: i for i, w in enumerate(vocab)}[t] for t in tokens], "no error"),
    ("ex01", lambda tokens, vocab: [i for t in tokens for i, w in enumerate(vocab) if w == t], "missing"),
    ("ex02", reshaped, "second row goes on where the first one ends"),
    ("ex02", transposed, "like cards"),
    ("ex03", zero_rows, "got zeros"),
    ("ex03", random_rows, "Never a random row"),
    ("ex04", triangle, "begins and ends at 0"),
    ("ex04", lambda t, T, lr_max, cut_frac, ratio: by_curve(t, T, 1.0, cut_frac, ratio), "share"),
    ("ex05", lambda lr, n_groups, factor: [lr / factor**i for i in range(n_groups)], "upside down"),
    ("ex05", lambda lr, n_groups, factor: np.geomspace(lr / factor**4, lr, n_groups)
     if n_groups > 1 else [lr], "five groups"),
    ("ex06", lambda epoch, n_groups: [i == n_groups - 1 - epoch for i in range(n_groups)], "chain-thaw"),
    ("ex06", lambda epoch, n_groups: [i <= epoch for i in range(n_groups)], "from the bottom"),
    ("ex07", masked_by_product, "0 win over every negative value"),
    ("ex07", unmasked, "not used lengths"),
    ("ex08", lambda losses, n_tokens: math.exp(np.mean(losses)), "as if they were equally large"),
    ("ex08", lambda losses, n_tokens: np.average(np.exp(losses), weights=n_tokens), "mean of exponentials"),
    ("ex09", equal_bins, "every bin counts the same"),
    ("ex09", brier_like, "its own confidence"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "fn", "hint"), STUDENTS)
def test_a_students_mistake_is_recognised(name: str, fn: Function, hint: str) -> None:
    assert hint in said(name, fn).partition(" hint ")[2]


def test_an_unforeseen_mistake_gets_the_general_hint() -> None:
    assert words(EXERCISES["ex08"].hint) in said("ex08", lambda losses, n_tokens: 42.0)


def test_the_smallest_failing_input_is_shown() -> None:
    def fails_from_three_on(losses: list[float], n_tokens: list[int]) -> float:
        answer = by_token_sums(losses, n_tokens)
        return answer + 1 if len(losses) >= 3 else answer

    lines = exercises.check("ex08", fails_from_three_on).text.splitlines()
    shown = {line.split()[0]: line.split(maxsplit=1)[1] for line in lines[1:]}
    losses, n_tokens = json.loads(shown["losses"]), json.loads(shown["n_tokens"])
    assert len(losses) == 3
    assert float(shown["expected"]) == pytest.approx(by_token_sums(losses, n_tokens), rel=1e-4)
    assert float(shown["got"]) == pytest.approx(float(shown["expected"]) + 1, rel=1e-4)
    drawn = [a for a in cases(EXERCISES["ex08"], 0) if len(a[0]) >= 3]
    assert len(shown["losses"] + shown["n_tokens"]) == min(
        len(written(a) + written(b)) for a, b in drawn
    )


# --- whatever else a function may do


def raises(losses: list[float], n_tokens: list[int]) -> float:
    raise ValueError("this is\nnot how it goes")


def leaves(losses: list[float], n_tokens: list[int]) -> float:
    raise SystemExit(3)


def recurses(losses: list[float], n_tokens: list[int]) -> float:
    return recurses(losses, n_tokens)


def contains_itself(losses: list[float], n_tokens: list[int]) -> list[Any]:
    answer: list[Any] = []
    answer.append(answer)
    return answer


def not_written(losses: list[float], n_tokens: list[int]) -> float:
    raise NotImplementedError


@pytest.mark.parametrize(
    ("name", "fn", "told"),
    [
        ("ex08", raises, "got ValueError: this is not how it goes"),
        ("ex08", leaves, "got SystemExit: 3"),
        ("ex08", recurses, "got RecursionError"),
        ("ex08", contains_itself, "got RecursionError"),
        ("ex08", not_written, "gives nothing back"),
        ("ex08", lambda: 1.0, "it is called as perplexity(losses, n_tokens)"),
        ("ex08", lambda losses, n_tokens: None, "gives nothing back"),
        ("ex08", lambda losses, n_tokens: math.nan, "nan (not a number)"),
        ("ex08", lambda losses, n_tokens: math.inf, "not inf"),
        ("ex08", lambda losses, n_tokens: -(10**9999), "not -inf"),
        ("ex08", lambda losses, n_tokens: 1j, "a number is expected, not a complex"),
        ("ex08", lambda losses, n_tokens: object(), "got <object>"),
        ("ex08", lambda losses, n_tokens: {1: 2}.items(), "not a dict_items"),
        ("ex08", lambda losses, n_tokens: "54.6", "a number is expected, not a str"),
        ("ex08", lambda losses, n_tokens: [1.0], "a number is expected, not a list"),
        ("ex08", lambda losses, n_tokens: True, "a number is expected, not True"),
        ("ex05", lambda lr, n_groups, factor: lr, "a list is expected, not 1.0"),
        ("ex05", lambda lr, n_groups, factor: (lr for _ in range(n_groups)), "wrap it in list(...)"),
        ("ex05", lambda lr, n_groups, factor: [lr] * (n_groups + 1), "length 1 is expected, not 2"),
        ("ex05", lambda lr, n_groups, factor: [math.nan] * n_groups, "nan (not a number) at [0]"),
        ("ex05", lambda lr, n_groups, factor: {0: lr}, "a list is expected, not a dict"),
        ("ex06", lambda epoch, n_groups: ["yes"] * n_groups, "True is expected at [0], not a str"),
    ],
)  # fmt: skip
def test_strange_answers_are_one_line(name: str, fn: Function, told: str) -> None:
    text = said(name, fn)
    assert told in text
    assert "Traceback" not in text
    assert "expected" in text


def test_a_changed_input_is_a_fault_even_if_the_answer_is_right() -> None:
    def in_place(rows: np.ndarray, old_vocab: list[str], new_vocab: list[str]) -> Any:
        answer = by_transplant(rows, old_vocab, new_vocab).numpy().copy()
        rows[:] = 0
        return answer

    assert "rows was changed" in said("ex03", in_place)
    assert "work on a copy" in said("ex03", in_place)

    def popped(tokens: list[str], vocab: list[str]) -> list[int]:
        answer = by_vocab(tokens, vocab)
        tokens.clear()
        return plain(answer)

    assert "tokens was changed" in said("ex01", popped)


def test_what_a_function_prints_is_shown_once(capsys: Capture) -> None:
    def chatty(epoch: int, n_groups: int) -> list[bool]:
        print("epoch", epoch, "\n" * 9 + "end")
        return []

    text = said("ex06", chatty)
    assert capsys.readouterr().out.count("printed") == 1
    assert "printed epoch 1 / " in text


def test_a_slow_function_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ulmfit.exercises.trial._SECONDS", 0.0)
    calls = []
    text = said("ex06", lambda *given: calls.append(1) or by_unfreezing(*given))
    assert len(calls) == 1
    assert "TimeoutError" in text
    assert "got None" in said("ex06", lambda epoch, n_groups: None)


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (lambda: exercises.check("ex3", len), "did you mean 'ex03'"),
        (lambda: exercises.check("transplant", len), "there is: ex01, ex02"),
        (lambda: exercises.check("ex03", [1.0]), r"check\(\"ex03\", transplant\)"),
        (lambda: exercises.hint("ex0"), "no exercise 'ex0'"),
        (lambda: exercises.show_solution("ex10"), "no exercise 'ex10'"),
    ],
)
def test_what_was_asked_wrongly_is_one_line(call: Function, told: str) -> None:
    with pytest.raises(UserError, match=told):
        call()


def test_help_on_the_way(capsys: Capture) -> None:
    assert "mean" in exercises.hint("ex03")
    exercises.show_solution("ex03")
    assert capsys.readouterr().out.startswith("def transplant(rows, old_vocab, new_vocab):\n")


def test_a_check_in_a_notebook() -> None:
    result = exercises.check("ex06", by_unfreezing)
    shown = result._repr_html_()
    assert "ex06: passed" in shown
    assert shown.count("#2e7d32") == 1  # one of nine boxes
    assert repr(result) == "<ex06 passed>"


# --- the record


def pass_all() -> Iterator[str]:
    for name, exercise in EXERCISES.items():
        yield exercises.check(name, exercise.spec).text


def test_what_is_done_is_remembered(own_record: Path) -> None:
    assert load_record().passed == ()
    first, *_, last = pass_all()
    assert "1 of 9 done. Next: ex02" in first
    assert "9 of 9 done. That was the last one" in last
    assert load_record().passed == tuple(EXERCISES)
    said("ex01", lambda tokens, vocab: [])  # what has been passed stays passed
    assert load_record().passed == tuple(EXERCISES)
    assert json.loads(own_record.read_text("utf-8"))["passed"] == list(EXERCISES)
    assert [path.name for path in own_record.parent.iterdir()] == [own_record.name]


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", "null", '{"passed": 3}', '{"passed": [[1]], "answered": []}', "\udcff"],
)
def test_a_damaged_record_is_as_good_as_none(own_record: Path, content: str) -> None:
    own_record.write_bytes(content.encode("utf-8", "surrogateescape"))
    assert load_record().passed == ()
    assert exercises.check("ex06", by_unfreezing)
    assert load_record().passed == ("ex06",)


def test_a_record_that_cannot_be_written_does_not_matter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    for place in (tmp_path / "file" / "record.json", tmp_path, "off"):
        monkeypatch.setenv("ULMFIT_EXERCISES", str(place))
        assert exercises.check("ex06", by_unfreezing)


# --- the command line


def test_the_verb_shows_what_is_done_and_what_comes_next(capsys: Capture) -> None:
    exercises.check("ex01", EXERCISES["ex01"].spec)
    capsys.readouterr()
    assert cli.main(["exercises"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[:2] == ["ex01", "done"]
    assert lines[1].split()[:2] == ["ex02", "next"]
    assert lines[2].split()[:2] == ["ex03", "Transplant"]
    assert any('check("ex02", lm_batches)' in line for line in lines)
    for _ in pass_all():
        pass
    capsys.readouterr()
    assert cli.main(["exercises"]) == 0
    assert "all done" in capsys.readouterr().out


def test_the_verb_as_json_and_its_reset(capsys: Capture, own_record: Path) -> None:
    exercises.check("ex01", EXERCISES["ex01"].spec)
    exercises.answer("q18", 250)
    capsys.readouterr()
    assert cli.main(["exercises", "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert [row["done"] for row in content["exercises"]] == [True] + [False] * 8
    assert all((ROOT / row["notebook"]).is_file() for row in content["exercises"])
    assert content["next_exercise"] == "ex02"
    assert content["questions"]["q18"] is True
    assert content["questions"]["q01"] is None
    assert cli.main(["exercises", "--reset", "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert content["next_exercise"] == "ex01"
    assert not own_record.exists()
    assert cli.main(["exercises", "--rest"]) == 2


# --- the notebooks


def test_notebooks_are_those_of_the_data() -> None:
    for path, content in runpy.run_path(str(ROOT / "nbs" / "make_exercises.py"))["made"]().items():
        assert path.read_text("utf-8") == content, f"run python nbs/make_exercises.py: {path}"


@pytest.mark.parametrize("name", EXERCISES)
def test_a_notebook_runs_and_says_what_is_to_be_done(name: str, capsys: Capture) -> None:
    path = ROOT / "nbs" / "exercises" / f"{name}.ipynb"
    cells = json.loads(path.read_text("utf-8"))["cells"]
    code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    assert all(not cell["outputs"] for cell in cells if cell["cell_type"] == "code")
    space: dict[str, Any] = {}
    for source in code:
        exec(source, space)
    assert f"{name} not yet" in capsys.readouterr().out


def test_notebooks_are_valid() -> None:
    nbformat = pytest.importorskip("nbformat")
    for path in sorted((ROOT / "nbs" / "exercises").glob("*.ipynb")):
        nbformat.validate(nbformat.read(path, as_version=4))


def test_the_room_is_public() -> None:
    assert ulmfit.exercises is exercises
    assert "exercises" in dir(ulmfit)
