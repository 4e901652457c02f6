"""The questions: every answer that can be computed is computed, every reply is graded and explained."""

from __future__ import annotations

import html
import itertools
import json
import math
import re
import types
from pathlib import Path

import numpy as np
import pytest
import torch

from ulmfit import exercises
from ulmfit.config import TextConfig
from ulmfit.errors import UserError
from ulmfit.exercises import QUESTIONS, Choice, Number
from ulmfit.exercises.record import load_record

ROOT = Path(__file__).resolve().parents[1]
Capture = pytest.CaptureFixture[str]
CHOICES = [name for name, q in QUESTIONS.items() if isinstance(q, Choice)]
NUMBERS = [name for name, q in QUESTIONS.items() if isinstance(q, Number)]


@pytest.fixture(autouse=True)
def own_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "record.json"
    monkeypatch.setenv("ULMFIT_EXERCISES", str(path))
    return path


def choice(name: str) -> Choice:
    question = QUESTIONS[name]
    assert isinstance(question, Choice)
    return question


def right_reply(name: str) -> str:
    return next(reply.says for reply in choice(name).replies if reply.is_right)


def accepts(name: str, value: float) -> None:
    """Hold a computed value against a question: it is right, and no usual mistake is."""
    question = QUESTIONS[name]
    assert isinstance(question, Number)
    assert question.grade(value).is_right, value
    assert not any(question.grade(usual.value).is_right for usual in question.usual)


# --- the facts, computed


def first_batches(n_tokens: int, bs: int, seq_len: int) -> list[np.ndarray]:
    """Cut a stream of numbered tokens with the library."""
    from ulmfit.text.lm_stream import LMStream

    documents = np.array([0, n_tokens // 3, n_tokens])  # the cut does not care where documents end
    stream = LMStream(
        np.arange(n_tokens), documents, rows=np.array([0, 1]), bs=bs, seq_len=seq_len, shuffle=False
    )
    assert stream.bs == bs
    return list(stream.batches(0))


def test_rows_of_the_stream() -> None:
    question = exercises.QUESTIONS["q18"].text
    n_tokens, bs, seq_len = (
        int(n.replace(",", "")) for n in re.findall(r"[\d,]*\d(?=[ `])", question) if n != "0"
    )
    assert bs != seq_len
    batches = first_batches(n_tokens, bs, seq_len)
    accepts("q18", batches[0][1, 0])
    accepts("q19", batches[1][0, 0])
    accepts("q20", len(batches))
    # q22: every row goes on where it ended, so the label of its last column comes next.
    for before, after in itertools.pairwise(batches):
        assert (before[:, -1] == after[:, 0]).all()


def test_rows_of_fastais_default_batch() -> None:
    batches = first_batches(46_081, 64, 72)
    assert batches[0][0, :72].tolist() == list(range(72))
    assert f"Tokens {batches[0][1, 0]} and {batches[1][0, 0]}:" in right_reply("q21")
    assert batches[0].shape == (64, 72 + 1)


def test_no_question_has_rows_and_columns_of_one_size() -> None:
    for name, question in QUESTIONS.items():
        for bs, seq_len in re.findall(r"bs=(\d+)` and `seq_len=(\d+)", question.text):
            assert bs != seq_len, name


def test_tokens() -> None:
    from ulmfit.text.tokenizers import build_tokenizer

    shouted, marks = build_tokenizer(TextConfig()).tokenize(["It was GREAT", "!!!!!"])
    assert f"`{' '.join(shouted[1:])}`" == right_reply("q13")
    assert "It was GREAT" in choice("q13").text
    accepts("q14", len(marks[1:]))
    assert shouted[0] == marks[0] == "xxbos"  # q12


def test_unknown_words_are_rare_or_beyond_the_vocabulary() -> None:
    from ulmfit.text.vocab import Vocab

    counts = {"film": 9, "plot": 5, "joy": 4, "bore": 2}
    assert "bore" not in Vocab.build(counts, min_freq=3)
    assert "joy" not in Vocab.build(counts, min_freq=1, max_vocab=11)
    assert "bore" in Vocab.build(counts, min_freq=2)
    assert "`min_freq`" in right_reply("q17")
    assert "`max_vocab`" in right_reply("q17")


def test_shape_of_the_embedding() -> None:
    from ulmfit.models.arch import ArchConfig

    n_vocab = TextConfig().max_vocab
    assert right_reply("q24") == f"{n_vocab:,} x {ArchConfig().emb_sz}"


def test_new_words_get_the_mean_row() -> None:
    from ulmfit.models.transplant import transplant
    from ulmfit.models.weights import EMBEDDING

    text = QUESTIONS["q26"].text
    rows = {word: json.loads(row) for word, row in re.findall(r"(\w+) = (\[.*?\])", text)}
    old = torch.tensor(list(rows.values()), dtype=torch.float64)
    new = transplant({EMBEDDING: old}, list(rows), ["film", "joy", "dull"]).weights[EMBEDDING]
    assert new[0].tolist() == rows["film"]
    accepts("q26", float(new[2, 1]))
    assert "mean" in right_reply("q25")


def test_perplexities() -> None:
    from ulmfit.training.metrics import TokenSums, perplexity

    accepts("q28", perplexity(TokenSums(4.0 * 100, 0, 100)))
    accepts("q29", perplexity(TokenSums(4.0 * 1000, 0, 1000) + TokenSums(8.0 * 10, 0, 10)))
    uniform = -torch.log_softmax(torch.zeros(60_000, dtype=torch.float64), 0)[0]
    accepts("q30", round(perplexity(TokenSums(float(uniform), 0, 1)), 3))
    assert right_reply("q27").startswith("exp")


def test_mistaken_perplexities_are_what_they_are_said_to_be() -> None:
    question = QUESTIONS["q29"]
    assert isinstance(question, Number)
    low, high = math.exp(4), math.exp(8)
    mistakes = [math.exp(6), (low + high) / 2, (1000 * low + 10 * high) / 1010, low]
    assert [usual.value for usual in question.usual] == pytest.approx(mistakes, abs=0.05)


def test_the_rate_of_the_lowest_group() -> None:
    from ulmfit.training.schedules import SHAPES, Phase

    accepts("q33", Phase(1, 0.01, "stlr", SHAPES["stlr"], factor=2.6).peaks(5)[0])


def test_unfreezing_goes_down_and_keeps_what_is_unfrozen() -> None:
    from ulmfit.training.schedules import CLASSIFIER_SCHEDULES, Plan

    phases = CLASSIFIER_SCHEDULES["freez_discr_stlr"].phases(Plan(epochs=1, lr=1.0, n_groups=4))
    assert [sum(phase.is_trainable(4)) for phase in phases] == [1, 2, 3, 4]
    assert phases[0].is_trainable(4) == (False, False, False, True)
    assert "one layer group more" in right_reply("q32")


def test_reviews_that_a_language_model_may_read() -> None:
    numbers = [int(n.replace(",", "")) for n in re.findall(r"\d+,\d+", QUESTIONS["q08"].text)]
    train, _test, unsup = numbers
    accepts("q08", train + unsup)


def test_vocabularies_of_one_size_are_not_enough() -> None:
    """What q31 says of a permuted vocabulary: same shape, other words."""
    from ulmfit.models.transplant import transplant
    from ulmfit.models.weights import EMBEDDING

    rows = torch.eye(3)
    moved = transplant({EMBEDDING: rows}, ["film", "plot", "joy"], ["joy", "film", "plot"])
    assert moved.weights[EMBEDDING].shape == rows.shape
    assert not torch.equal(moved.weights[EMBEDDING], rows)
    assert "Row i" in right_reply("q31")


# --- grading


@pytest.mark.parametrize("name", CHOICES)
def test_choices(name: str) -> None:
    question = choice(name)
    grades = [exercises.answer(name, letter) for letter in question.letters]
    assert sum(map(bool, grades)) == 1
    assert len({reply.says for reply in question.replies}) == len(question.replies) >= 3
    for grade, reply in zip(grades, question.replies):
        assert grade.why == reply.why
        assert len(reply.why) >= 8


def test_right_replies_are_spread_over_the_letters() -> None:
    places = [[r.is_right for r in choice(name).replies].index(True) for name in CHOICES]
    assert all(places.count(i) >= len(CHOICES) / 6 for i in range(3)), places


@pytest.mark.parametrize("name", NUMBERS)
def test_numbers(name: str) -> None:
    question = QUESTIONS[name]
    assert isinstance(question, Number)
    assert exercises.answer(name, question.value)
    assert exercises.answer(name, f" {question.value:,} ")
    assert len(question.usual) >= 2
    for usual in question.usual:
        graded = exercises.answer(name, usual.value)
        assert not graded
        assert graded.why == usual.why
    assert "usual mistakes" in exercises.answer(name, question.value * 1.37 + 0.77).why


@pytest.mark.parametrize(
    ("name", "reply", "told"),
    [
        ("qu05", "a", "did you mean 'q05'"),
        ("q99", "a", "no question 'q99'"),
        ("q01", "z", "there is: a, b, c"),
        ("q01", "ab", "no reply 'ab'"),
        ("q01", "", "no reply ''"),
        ("q01", 1, "no reply 1"),
        ("q18", "the second", "the answer is a number"),
        ("q18", None, "the answer is a number"),
    ],
)
def test_what_is_no_answer(name: str, reply: str, told: str, own_record: Path) -> None:
    with pytest.raises(UserError, match=told):
        exercises.answer(name, reply)
    assert not own_record.exists()


def test_letters_as_people_write_them() -> None:
    letter = choice("q01").letters[[r.is_right for r in choice("q01").replies].index(True)]
    for reply in (letter, letter.upper(), f" {letter}) "):
        assert exercises.answer("q01", reply)


def test_not_a_number_is_wrong() -> None:
    assert not exercises.answer("q18", "nan")
    assert not exercises.answer("q18", math.inf)


def test_asking_and_going_on(capsys: Capture) -> None:
    exercises.quiz()
    assert capsys.readouterr().out.startswith("q01 ")
    graded = exercises.answer("q18", 10)
    out = capsys.readouterr().out
    assert out.startswith("q18 wrong: ")
    assert 'Try again: ulmfit.exercises.quiz("q18")' in out
    assert repr(graded) == "<q18 wrong>"
    exercises.answer("q18", 250)
    assert 'Next: ulmfit.exercises.quiz("q19")' in capsys.readouterr().out
    assert load_record().answered == {"q18": True}


def test_the_last_answer_counts_and_the_end_is_said(capsys: Capture) -> None:
    for name, question in QUESTIONS.items():
        exercises.answer(
            name, question.answer[0] if isinstance(question, Choice) else question.value
        )
    assert capsys.readouterr().out.endswith("All questions are answered right.\n")
    assert exercises.quiz().name == "q01"
    exercises.answer("q05", "a")
    assert exercises.quiz().name == "q05"


def test_a_notebook_draws_instead_of_printing(
    capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    shell = types.SimpleNamespace(kernel=object())
    fake = types.SimpleNamespace(get_ipython=lambda: shell)
    monkeypatch.setitem(__import__("sys").modules, "IPython", fake)
    asked, graded = exercises.quiz("q14"), exercises.answer("q14", 5)
    assert capsys.readouterr().out == ""
    assert "<code>!!!!!</code>" in asked._repr_html_()
    assert "wrong" in graded._repr_html_()
    for name in QUESTIONS:
        drawn = exercises.quiz(name)._repr_html_()
        assert "`" not in drawn
        assert "**" not in drawn
        assert html.unescape(drawn)


# --- the page


def test_the_page_is_that_of_the_data() -> None:
    page = (ROOT / "docs" / "questionnaire.md").read_text("utf-8")
    assert page == exercises.questionnaire(), "run python nbs/make_exercises.py"
    assert page.count("<details") == page.count("</details>") == len(QUESTIONS)
    assert all(f"**{name}.**" in page for name in QUESTIONS)


def test_names_count_up() -> None:
    assert list(QUESTIONS) == [f"q{i:02}" for i in range(1, len(QUESTIONS) + 1)]
