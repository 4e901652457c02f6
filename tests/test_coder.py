"""Tokens from remembered chunks against stock fastai, text by text."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import fastai.text.core as stock
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ulmfit.config import TextConfig
from ulmfit.text import coder as coding
from ulmfit.text.coder import Coder
from ulmfit.text.rules import CONTROL_TOKENS, UNK, escape_controls
from ulmfit.text.tokenizers import Tokenizer

SPACES = [" "] * 8 + [
    "", "", "  ", "\n", "\t", "\r\n", " \n", "\n ", "\n\n", "\xa0", " \xa0 ", "\u2028", "\u3000", "\x1c", "\x85",
    "\u1680", "\u200a", "/",
]  # fmt: skip
WORDS = str.split(
    "a A so So SO the THE good it's DON'T cannot gonna U.S. Mr. 5 10 3 3.5 5km 10p.m. 5% $5 1990s 'em ain't xXx "
    "McDonald iPhone Été ΟΔΟΣ Σ İstanbul İİİ ß ﬁ 中文 שלום हिन्दी 😀 👨‍👩‍👧 ❤️ \u200b \ufeff e\u0301 \u0301 \x00 amp; &amp; &lt; "
    '&#39; #39; &nbsp; &#0; &#xD800; &bogus; quot; <br /> <br/> <unk> @-@ @.@ @,@ ... .... \\n \\" \\ www.x.com '
    "http://a.b/c?d=e#f a@b.com aaa AAA aaaa !!! ??? ((( --- 333 333 3 xxx b bb x :) :-( D: xD <3 (: >:( o.O ^_^ : ) ;) "
    "¯\\(ツ)/¯ (╯°□°）╯︵┻━┻ ಠ_ಠ ǅ K ſ",
    " ",
)
MARKS = list("\"'([`*.,!?;:)]-_–…/\\#@&%$€{}«»’")
TYPED = [
    form for w in CONTROL_TOKENS for form in (w, w.upper(), f"{w}'s", f"({w})", f"&#120;{w[1:]}")
]


@functools.cache
def cases() -> list[str]:
    """The special cases of spaCy's English."""
    rules = Tokenizer(TextConfig()).splitter._spacy.rules
    return sorted(case for case in rules if not any(map(str.isspace, case)))


def texts(*more: str) -> st.SearchStrategy[str]:
    part = st.sampled_from([*WORDS, *more]) | st.sampled_from(cases()) | st.sampled_from(MARKS)
    word = st.lists(part | st.text(max_size=3), min_size=1, max_size=4).map("".join) | part
    few = st.lists(
        part, min_size=1, max_size=2
    )  # so that words come again, as replace_wrep likes it
    again = few.flatmap(lambda words: st.lists(pairs(st.sampled_from(words)), max_size=8))
    return (st.lists(pairs(word), max_size=10) | again).map("".join)


def pairs(word: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.tuples(word, st.sampled_from(SPACES)).map("".join)


def encodable(batch: list[str]) -> bool:
    return all(text.encode("utf-8", "replace").decode() == text for text in batch)


@functools.cache
def word_tokenizer(lang: str) -> stock.WordTokenizer:
    return stock.WordTokenizer(lang)


def stock_tokens(batch: Iterable[str], lang: str = "en") -> list[list[str]]:
    """Tokenize as fastai does, but for the control words that users typed."""
    rules = [stock.fix_html, escape_controls, *stock.defaults.text_proc_rules[1:]]
    found = stock.tokenize_texts(list(batch), n_workers=0, rules=rules, tok=word_tokenizer(lang))
    return [list(tokens) for tokens in found]


def fresh(lang: str = "en", rules: str = "fastai") -> Tokenizer:
    """A tokenizer that has met no text yet; building the splitter is what takes time."""
    return _Fresh(tokenizer(lang, rules))


class _Fresh(Tokenizer):
    def __init__(self, other: Tokenizer) -> None:
        self.config, self.splitter, self.lock = other.config, other.splitter, other.lock


@functools.cache
def tokenizer(lang: str = "en", rules: str = "fastai") -> Tokenizer:
    return Tokenizer(TextConfig(lang=lang, rules=rules))


def check_parity(batch: list[str], lang: str = "en") -> None:
    if encodable(batch):
        expected = stock_tokens(batch, lang)
        assert list(tokenizer(lang).tokenize(batch)) == expected  # with a memory
        assert list(fresh(lang).tokenize(batch)) == expected


RELAXED = settings(deadline=None, suppress_health_check=list(HealthCheck))


@settings(RELAXED, max_examples=250)
@given(st.data())
def test_tokens_are_fastais(data: st.DataObject) -> None:
    check_parity(data.draw(st.lists(texts(), min_size=5, max_size=12)))


@pytest.mark.slow
@settings(RELAXED, max_examples=5_000)
@given(st.data())
def test_tokens_are_fastais_at_length(data: st.DataObject) -> None:
    check_parity(data.draw(st.lists(texts(*TYPED), min_size=5, max_size=30)))


@pytest.mark.parametrize("lang", ["de", "fr", "es", "it", "ru", "fi", "tr", "xx"])
def test_tokens_are_fastais_in_other_languages(lang: str) -> None:
    words = str.split(
        "z.B. Straße usw. geht's aujourd'hui l'a qu'il M. Été ¿Qué? ¡Sí! Sr. dell'arte г. т.е. Привет İş 'yi"
    )

    @settings(RELAXED, max_examples=15)
    @given(st.lists(texts(*words * 8), min_size=5, max_size=12))
    def check(batch: list[str]) -> None:
        check_parity(batch, lang)

    check()


@pytest.mark.parametrize(
    "text",
    [
        "", "   ", "\n", "so so so", "a\nSo So\tSo, so", "???bb bb bb`", "!!!v v v", "aaa a a", "333 3", "(((e e\u200ae",
        "so so sober", "a b:) ) c", "a:)) :) )", "x\n!!!", "\n!!! y", "a \n \n ... b", "<br /><br />I", "ΟΔΟΣ ΟΔΟΣ. Σ",
        "\x00 a\x00b", "it's 5km/h #tag\\n", "don't)) don't", "end.\"' (so)", "&amp;amp; <unk> @-@ b", "\xa0 \x85a",
    ],
)  # fmt: skip
def test_tokens_are_fastais_in_hard_cases(text: str) -> None:
    assert list(fresh().tokenize([text])) == [list(t) for t in stock.tokenize_texts([text], 0)]


@settings(RELAXED, max_examples=60)
@given(st.data())
def test_company_order_and_memory_change_nothing(data: st.DataObject) -> None:
    batch = [
        t for t in data.draw(st.lists(texts(*TYPED), min_size=1, max_size=8)) if encodable([t])
    ]
    alone = [next(fresh().tokenize([text])) for text in batch]
    warm = fresh()
    assert list(warm.tokenize(batch)) == alone
    assert list(warm.tokenize(batch[::-1])) == alone[::-1]
    assert list(warm.tokenize(batch * 2)) == alone * 2
    restored = fresh()
    list(restored.tokenize(["other words, first"]))
    restored.coder.forget()
    restored.coder.restore(warm.coder.memory())
    known = len(restored.coder.chunks)
    assert list(restored.tokenize(batch)) == alone
    assert len(restored.coder.chunks) == known  # nothing was learnt anew


def test_many_short_batches_are_one_long_one(monkeypatch: pytest.MonkeyPatch) -> None:
    batch = ["so so so\n!!! it's", "", "a b c:)", "x " * 50] * 5
    expected = list(fresh().tokenize(batch))
    monkeypatch.setattr(coding, "_BATCH", 7)
    assert list(fresh().tokenize(batch)) == expected == stock_tokens(batch)


def test_forgetting_changes_no_token(monkeypatch: pytest.MonkeyPatch) -> None:
    batch = [f"word{i} so so so, {i}km\n!!! it's :) )" for i in range(40)]
    expected = stock_tokens(batch)
    monkeypatch.setattr(coding, "MAX_CHUNKS", 20)
    forgetful = fresh()
    assert [next(forgetful.tokenize([text])) for text in batch] == expected
    assert len(forgetful.coder.chunks) < 40


def test_an_interruption_leaves_a_coder_that_works(monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(spans: list[str]) -> None:
        raise KeyboardInterrupt

    warm = fresh()
    list(warm.tokenize(["some words"]))
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(warm.splitter, "split", stop)
        list(warm.tokenize(["new words, others"]))
    assert list(warm.tokenize(["new words, others"])) == stock_tokens(["new words, others"])


def test_broken_memories_are_refused() -> None:
    known = fresh()
    list(known.tokenize(["some words, and a word of more than fifteen bytes"]))
    memory = known.coder.memory()
    for name in ("words", "lengths", "counts", "flags"):
        with pytest.raises(ValueError):
            fresh().coder.restore({**memory, name: memory[name][:-1]})


@pytest.mark.parametrize("n_fields", [1, 2, 3])
def test_fields_are_joined_as_fastai_joins_them(n_fields: int) -> None:
    rows = [("a title", "Some  text!!!\n", "x"), ("", "so so so", " "), ("1 1", "2:)", "IT'S")]
    frame = pd.DataFrame([row[:n_fields] for row in rows])
    expected, _ = stock.tokenize_df(frame, list(frame.columns), n_workers=0)
    coded = fresh().code([frame[column].tolist() for column in frame])
    assert coded.lengths.tolist() == expected["text_length"].tolist()
    whole = fresh()
    codes = whole.code([frame[column].tolist() for column in frame]).codes
    assert [whole.coder.tokens[i] for i in codes] == [t for row in expected["text"] for t in row]


def test_fields_must_be_equally_long() -> None:
    with pytest.raises(ValueError):
        fresh().code([["a"], []])


def test_a_long_run_is_cut_and_stays_quick() -> None:
    run = "ab.-" * 5_000
    pieces = [run[i : i + coding.MAX_CHUNK] for i in range(0, len(run), coding.MAX_CHUNK)]
    assert list(fresh().tokenize([f"so {run} it's"])) == stock_tokens(
        [f"so {' '.join(pieces)} it's"]
    )


def test_beside_a_cut_run_words_are_not_counted() -> None:
    tokens = next(fresh().tokenize([f"{'ab' * coding.MAX_CHUNK} so so so"]))
    assert tokens[-3:] == ["so", "so", "so"]  # patterns never see such a text whole


def test_a_run_is_cut_only_beyond_the_limit() -> None:
    run = "x-" * (coding.MAX_CHUNK // 2)
    assert list(fresh().tokenize([run])) == stock_tokens([run])
    assert list(fresh().tokenize([run + "xy"])) == stock_tokens([run + " xy"])


@settings(RELAXED, max_examples=60)
@given(st.data())
def test_no_control_token_comes_from_a_text_without_capitals_and_repeats(
    data: st.DataObject,
) -> None:
    typed = texts(*TYPED * 9).map(str.lower).filter(lambda text: encodable([text]))
    made = {"xxrep", "xxwrep", "xxbos", UNK}  # by the rules, or by `<unk>`
    for tokens in fresh().tokenize([data.draw(typed) for _ in range(8)]):
        assert tokens[0] == "xxbos"
        assert "xxbos" not in tokens[1:]
        assert not set(tokens) & (set(CONTROL_TOKENS) - made)


@pytest.mark.parametrize("rules", ["fastai", "none"])
@pytest.mark.parametrize("typed", [*TYPED, "xx&#112;ad", "x&#120;bos", "<b>xxpad</b>", "xxrep 3 a"])
def test_a_typed_control_word_is_none(typed: str, rules: str) -> None:
    text = f"we say {typed} here"
    made = {UNK, "xxup", "xxmaj"} if rules == "fastai" and typed != typed.lower() else {UNK}
    tokens = next(fresh(rules=rules).tokenize([text]))
    assert set(tokens[1:]) & set(CONTROL_TOKENS) <= made


def test_lone_surrogates_are_replaced() -> None:
    assert next(fresh().tokenize(["a \ud800 b \ud83d\ude00"])) == [
        "xxbos",
        "a",
        "\ufffd",
        "b",
        "😀",
    ]


def test_control_tokens_have_the_first_codes() -> None:
    assert fresh().coder.tokens == list(CONTROL_TOKENS)
    assert isinstance(fresh().coder, Coder)


def labelled_reviews(folder: Path) -> list[str]:
    return pd.read_csv(folder / "imdb" / "imdb_labeled.csv.xz", keep_default_na=False)[
        "text"
    ].tolist()


@pytest.mark.slow
@pytest.mark.timeout(1_200)
def test_all_labelled_reviews_get_fastais_tokens_and_ids(real_data: Path) -> None:
    from fastai.text.data import Numericalize

    from ulmfit.text.vocab import Vocab

    reviews = labelled_reviews(real_data)
    assert len(reviews) == 50_000
    ours = tokenizer()
    expected: list[list[str]] = []
    counts: Counter[str] = Counter()
    for i in range(0, len(reviews), 2_000):
        coded = ours.code([reviews[i : i + 2_000]])
        found = [
            list(t)
            for t in stock.tokenize_texts(
                reviews[i : i + 2_000], n_workers=0, tok=word_tokenizer("en")
            )
        ]
        names = ours.coder.tokens
        tokens = [names[code] for code in coded.codes]
        assert tokens == [token for row in found for token in row]
        counts.update(tokens)  # in the order of their appearance, as ties want it
        expected += found
    numericalize = Numericalize()
    numericalize.setup(expected)
    vocab = Vocab.build(counts, fake_tokens=True)
    assert list(vocab) == numericalize.vocab
    for row in expected[::10]:
        assert vocab.encode(row).tolist() == numericalize(row).tolist()
