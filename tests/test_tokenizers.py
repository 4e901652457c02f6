"""Every registered tokenizer by the same tests."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from ulmfit.config import TextConfig
from ulmfit.errors import UserError
from ulmfit.text.pieces import train_subwords
from ulmfit.text.rules import BOS, RULES
from ulmfit.text.tokenizers import TOKENIZERS, Tokenizer, build_tokenizer

TEXT = "The film was so so so good, they say!!!"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    out = tmp_path_factory.mktemp("pieces") / "words.model"
    return str(train_subwords([TEXT.lower()] * 20, out, n_pieces=45, kind="bpe"))


@pytest.fixture(params=sorted(TOKENIZERS))
def config(request: pytest.FixtureRequest, model: str) -> TextConfig:
    return TextConfig(tokenizer=request.param, sp_model=model)


def test_every_configurable_tokenizer_is_registered() -> None:
    for name in TOKENIZERS:
        assert TextConfig(tokenizer=name).tokenizer == name


def test_texts_become_tokens_and_come_back(config: TextConfig) -> None:
    tokenizer = build_tokenizer(config)
    tokens = next(tokenizer.tokenize([TEXT]))
    assert tokens[0] == BOS
    assert {"xxmaj", "xxwrep", "xxrep"} <= set(tokens)
    assert tokenizer.decode(tokens).replace(" ", "") == TEXT.replace(" ", "")


def test_texts_stream_in_order(config: TextConfig) -> None:
    tokenizer = build_tokenizer(config)
    texts = [f"a {i} b" if i % 3 else "" for i in range(2_500)]
    taken: list[str] = []
    stream = tokenizer.tokenize(taken.append(text) or text for text in texts)
    first = next(stream)
    assert len(taken) < len(texts)  # no more is read than is needed soon
    alone = build_tokenizer(config)
    found = [first, *stream]
    assert len(found) == len(texts)
    for i in (0, 1, 999, 1_000, 1_001, 2_499):
        assert found[i] == next(alone.tokenize([texts[i]]))
    assert found[0] == [BOS]


def test_no_texts(config: TextConfig) -> None:
    assert list(build_tokenizer(config).tokenize([])) == []


def test_codes_name_the_tokens(config: TextConfig) -> None:
    tokenizer = build_tokenizer(config)
    coded = tokenizer.code([[TEXT, ""]])
    names = [tokenizer.coder.tokens[code] for code in coded.codes]
    assert [names, [BOS]] == [[*next(tokenizer.tokenize([TEXT])), BOS], names[-1:]]
    assert coded.lengths.tolist() == [len(names) - 1, 1]


def test_fingerprints_are_stable_and_tell_configurations_apart(config: TextConfig) -> None:
    fingerprint = build_tokenizer(config).fingerprint
    assert build_tokenizer(config).fingerprint == fingerprint
    assert build_tokenizer(replace(config, min_freq=9)).fingerprint == fingerprint
    others = [replace(config, rules="none")]
    others += [replace(config, tokenizer=name) for name in TOKENIZERS if name != config.tokenizer]
    assert fingerprint not in [build_tokenizer(other).fingerprint for other in others]


def test_a_fingerprint_knows_the_language_and_the_model(model: str, tmp_path: Path) -> None:
    english, german = (Tokenizer(TextConfig(lang=lang)).fingerprint for lang in ("en", "de"))
    assert english != german
    other = train_subwords([TEXT.lower()] * 20, tmp_path / "m", n_pieces=40, kind="bpe")
    one, two = (
        Tokenizer(TextConfig("subword", sp_model=str(m))).fingerprint for m in (model, other)
    )
    assert one != two


def test_steps_show_each_rule(config: TextConfig) -> None:
    tokenizer = build_tokenizer(config)
    steps = tokenizer.steps(TEXT)
    rules = [rule.__name__ for rule in RULES["fastai"]]
    assert [name for name, _ in steps] == ["text", *rules, config.tokenizer, "decode"]
    shown = dict(steps)
    assert shown["text"] == shown["fix_html"] == TEXT
    assert "xxrep 3 !" in shown["replace_rep"]
    assert "xxwrep" in shown["replace_wrep"]
    assert shown["lowercase"] == shown["lowercase"].lower()
    assert shown[config.tokenizer].split() == next(tokenizer.tokenize([TEXT]))


def test_an_unknown_language_is_the_users_mistake() -> None:
    with pytest.raises(UserError, match="--lang 'qq'"):
        build_tokenizer(TextConfig(lang="qq"))


def test_subwords_need_a_model() -> None:
    with pytest.raises(UserError, match="--sp-model"):
        build_tokenizer(TextConfig(tokenizer="subword"))


def test_an_unknown_tokenizer_is_the_users_mistake() -> None:
    with pytest.raises(UserError, match="--tokenizer"):
        TextConfig(tokenizer="morphemes")


def test_one_text_is_not_taken_for_many() -> None:
    with pytest.raises(UserError, match="put it in a list"):
        list(build_tokenizer(TextConfig(tokenizer="char")).tokenize("one text"))
