"""What a language model's folder can do, against stock fastai's logits and loops that read everything again."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from stock_files import TOKENS, stock_logits, stock_model, write_vocab
from stock_lm import stock_language_model
from tiny_lm import write_tiny_lm

import ulmfit
from ulmfit import cli
from ulmfit.errors import UserError
from ulmfit.history import EpochRow, StepRow, steps_csv, write_history
from ulmfit.inference import reading
from ulmfit.inference.language_model import NEVER_GENERATED, LanguageModel
from ulmfit.inference.reading import BS, PIECE
from ulmfit.models import pretrained
from ulmfit.models.weights import DECODER_BIAS
from ulmfit.text.corpus import Corpus

PROMPT = "The film was GREAT, and"
TEXTS = [
    "A fine film!",
    "",
    "Not so good, " * (PIECE // 2),
    "dull",
    "xxpad xxbos \n\n Sooooo BORING 10/10 \N{PILE OF POO}",
    "word " * (PIECE - 1),
]


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Keep operations this small on one thread: on a busy machine several wait for each other."""
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(n_threads)


@pytest.fixture(
    scope="module",
    params=[("forward", "awd_lstm"), ("backward", "awd_lstm"), ("forward", "qrnn")],
    ids="-".join,
)
def lm(
    request: pytest.FixtureRequest,
    demo_corpus: Corpus,
    tmp_path_factory: pytest.TempPathFactory,
) -> LanguageModel:
    direction, backbone = request.param
    out = tmp_path_factory.mktemp("lm") / "lm"
    return LanguageModel(write_tiny_lm(out, demo_corpus, direction=direction, backbone=backbone))


@pytest.fixture(scope="module")
def folder(demo_corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_lm(tmp_path_factory.mktemp("forward") / "lm", demo_corpus).folder


def read_ids(lm: LanguageModel, text: str) -> list[int]:
    """Give a text's ids in the order in which the model reads them."""
    ids = lm.vocab.encode(next(lm.tokenizer.tokenize([text]))).tolist()
    return ids[::-1] if lm.direction == "backward" else ids


def whole(lm: LanguageModel, ids: list[int]) -> torch.Tensor:
    """Give the log-probabilities after each id, from one pass over all of them."""
    with torch.no_grad():
        return lm.parts.model(precision="fp32")(torch.tensor([ids])).logits()[0].log_softmax(-1)


# --- logits


def test_logits_are_those_of_stock_fastai(folder: Path) -> None:
    lm = LanguageModel.load(folder)
    ids = np.random.default_rng(0).integers(0, len(lm.vocab), (3, 11))
    stock = stock_language_model(lm.parts.model())
    expected = stock_logits(stock, torch.tensor(ids))
    for _ in range(2):  # a fresh state each time
        torch.testing.assert_close(lm.logits(ids), expected, atol=1e-5, rtol=0)
    assert lm.logits(ids.astype(np.int32)).dtype == torch.float32
    assert not lm.logits(ids).requires_grad


@pytest.mark.parametrize("ids", [[1, 2], np.empty((0, 3)), [[-1]], [[10**6]]])
def test_ids_that_cannot_be_read(folder: Path, ids: list[int]) -> None:
    with pytest.raises(UserError, match="ids"):
        LanguageModel.load(folder).logits(torch.tensor(np.asarray(ids)))


# --- generation


def brute_force(
    lm: LanguageModel, prompt: str, n_tokens: int, *, temperature: float, seed: int
) -> str:
    """Write token by token, reading the whole text again for each."""
    backward = lm.direction == "backward"
    ids = read_ids(lm, prompt)
    if backward and len(ids) > 1:
        ids = ids[:-1]
    never = [i for i, token in enumerate(lm.vocab) if token in (*NEVER_GENERATED, "xxbos")]
    generator, new = torch.Generator().manual_seed(seed), []
    for _ in range(n_tokens):
        logits = whole(lm, ids + new)[-1].double()
        logits[never] = -math.inf
        if temperature:
            probabilities = (logits / temperature).softmax(-1)
            new.append(int(torch.multinomial(probabilities, 1, generator=generator)))
        else:
            new.append(int(logits.argmax()))
    return lm.tokenizer.decode(lm.vocab.decode(new[::-1] if backward else new))


@pytest.mark.parametrize("prompt", [PROMPT, "", "so " * (PIECE + 5)], ids=["text", "empty", "long"])
@pytest.mark.parametrize("temperature", [0.0, 0.8])
def test_generate_is_the_loop_that_reads_everything_again(
    lm: LanguageModel, prompt: str, temperature: float
) -> None:
    expected = brute_force(lm, prompt, 12, temperature=temperature, seed=4)
    assert lm.generate(prompt, 12, temperature=temperature, seed=4) == expected
    assert expected


def test_each_token_is_read_once(lm: LanguageModel, monkeypatch: pytest.MonkeyPatch) -> None:
    read, forward = [], type(lm._model).forward

    def counted(self: torch.nn.Module, ids: torch.Tensor, state: object = None) -> object:
        read.append(ids.shape[1])
        return forward(self, ids, state)

    monkeypatch.setattr(type(lm._model), "forward", counted)
    lm.generate(PROMPT, 30, seed=0)
    n_prompt = len(read_ids(lm, PROMPT)) - (lm.direction == "backward")
    assert read == [n_prompt, *[1] * 29]


def test_a_seed_decides_and_no_global_generator_moves(lm: LanguageModel) -> None:
    state = torch.get_rng_state()
    texts = [lm.generate(PROMPT, 20, seed=seed) for seed in (1, 1, 2)]
    assert texts[0] == texts[1] != texts[2]
    assert lm.generate(PROMPT, 20) != lm.generate(PROMPT, 20)
    assert torch.equal(state, torch.get_rng_state())


def biased(lm: LanguageModel, token: str) -> LanguageModel:
    """Make a token all but certain everywhere."""
    bias = lm.parts.weights[DECODER_BIAS].clone()
    bias[lm.vocab.id(token)] = 100.0
    return LanguageModel(replace(lm.parts, weights=lm.parts.weights | {DECODER_BIAS: bias}))


@pytest.mark.parametrize("token", ["xxunk", "xxpad", "xxbos", "xxeos", "xxfld"])
def test_control_tokens_do_not_come(lm: LanguageModel, token: str) -> None:
    likely = biased(lm, token)
    free = lm.generate(PROMPT, 8, seed=0)
    assert likely.generate(PROMPT, 8, seed=0) == free != ""
    stopped = likely.generate(PROMPT, 8, seed=0, stop_at_document=True)
    assert (stopped == "") == (token == "xxbos")


def test_control_tokens_that_are_carried_out(
    lm: LanguageModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert biased(lm, "xxup").generate(PROMPT, 1, temperature=0) == ""  # a mark alone is no text
    new = [lm.vocab.id(token) for token in ("xxmaj", "film", "xxmaj", "film")]
    new = new[::-1] if lm.direction == "backward" else new
    monkeypatch.setattr(lm, "_continue", lambda *_, **__: new)
    assert lm.generate(PROMPT, 4) == "Film Film"


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"n_tokens": 0}, "--n-tokens is 0"),
        ({"n_tokens": 2.5}, "--n-tokens is 2.5; allowed: a whole number"),
        ({"temperature": -1.0}, "--temperature is -1"),
        ({"top_p": 2.0}, "--top-p is 2"),
        ({"seed": -1}, "--seed is -1"),
    ],
)
def test_wrong_arguments_are_named(folder: Path, wrong: dict[str, float], says: str) -> None:
    with pytest.raises(UserError, match=says):
        LanguageModel.load(folder).generate(PROMPT, **wrong)


def test_a_number_of_tokens_may_be_numpys(folder: Path) -> None:
    lm = LanguageModel.load(folder)
    found = lm.generate(PROMPT, np.int64(3), seed=0)  # type: ignore[arg-type]
    assert found == lm.generate(PROMPT, 3, seed=0)


def test_threads_do_not_meet(lm: LanguageModel) -> None:
    jobs = [(f"{PROMPT} {word}", seed) for seed, word in enumerate(["good", "bad", "dull", "fine"])]

    def work(job: tuple[str, int]) -> tuple[str, float]:
        return lm.generate(job[0], 40, seed=job[1]), lm.score([job[0]])[0].nats

    alone = [work(job) for job in jobs]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(work, jobs * 3)) == alone * 3


def test_a_tokenizer_that_forgets_changes_nothing(folder: Path) -> None:
    lm = LanguageModel.load(folder)
    lm.score(["dull film"])
    lm.tokenizer.forget()
    assert lm.score([PROMPT]) == LanguageModel.load(folder).score([PROMPT])


def test_an_autocast_around_changes_nothing(lm: LanguageModel) -> None:
    ids = torch.tensor([read_ids(lm, PROMPT)])

    def answers() -> tuple:
        scores = [score.nats for score in lm.score(TEXTS)]
        return lm.logits(ids).tolist(), scores, lm.embed(TEXTS).tolist(), lm.generate("", 9, seed=0)  # fmt: skip

    expected = answers()
    with torch.autocast("cpu", torch.bfloat16):
        assert repr(answers()) == repr(expected)


# --- scores and embeddings


def test_score_is_the_sum_over_the_full_softmax(lm: LanguageModel) -> None:
    for text, score in zip(TEXTS, lm.score(TEXTS)):
        ids = read_ids(lm, text)
        table = whole(lm, ids).double()
        expected = -sum(float(table[t, after]) for t, after in enumerate(ids[1:]))
        assert score.nats == pytest.approx(expected, abs=1e-5 * len(ids))
        assert (score.n_tokens, score.n_characters) == (len(ids) - 1, len(text))
        if text:
            assert score.perplexity == pytest.approx(math.exp(expected / (len(ids) - 1)), rel=1e-4)
            bits = expected / math.log(2) / len(text)
            assert score.bits_per_character == pytest.approx(bits, rel=1e-4)
    assert math.isnan(lm.score([""])[0].perplexity)
    assert math.isnan(lm.score([""])[0].bits_per_character)


def test_embed_pools_the_last_layer(lm: LanguageModel) -> None:
    vectors = lm.embed(TEXTS)
    assert vectors.shape == (len(TEXTS), 3 * lm.arch.emb_sz) and vectors.dtype == np.float32
    for text, vector in zip(TEXTS, vectors):
        with torch.no_grad():
            hidden = lm.parts.model(precision="fp32")(torch.tensor([read_ids(lm, text)])).raw[0]
        expected = torch.cat([hidden[-1], hidden.amax(0), hidden.mean(0)])
        np.testing.assert_allclose(vector, expected.numpy(), atol=1e-5, rtol=0)


WORDS = st.sampled_from(["film", "The", "GREAT", "!!!!", "so", "unheardof", "10", "xxpad"])
DOCUMENTS = st.builds(
    lambda words, n: " ".join(words * n), st.lists(WORDS, max_size=6), st.sampled_from([1, 2, 40])
)


@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(texts=st.lists(DOCUMENTS, min_size=1, max_size=6), order=st.randoms(use_true_random=False))
def test_company_and_order_change_nothing(lm: LanguageModel, texts: list[str], order) -> None:
    shuffled = [*texts, *TEXTS[:2]]
    order.shuffle(shuffled)
    scores, vectors = lm.score(shuffled), lm.embed(shuffled)
    for text, score, vector in zip(shuffled, scores, vectors):
        (alone,) = lm.score([text])
        assert abs(score.nats - alone.nats) <= 1e-5 * max(1, alone.n_tokens)
        assert score.n_tokens == alone.n_tokens
        np.testing.assert_allclose(vector, lm.embed([text])[0], atol=1e-5, rtol=0)


def test_one_long_document_does_not_widen_the_short_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    shapes = []
    monkeypatch.setattr(
        reading, "_read_batch", lambda _, batch: shapes.append(batch.ids.shape) or ()
    )
    documents = [np.zeros(n, np.int64) for n in [400_000, *[3] * (BS - 1), 5_000, 6_000]]
    list(reading.read_pieces(None, documents, direction="forward"))  # ty: ignore[invalid-argument-type]
    assert sum(n for n, _ in shapes) == len(documents)
    assert all(n == 1 or n * width <= reading.BATCH_TOKENS for n, width in shapes)


def test_more_texts_than_a_batch_keep_their_order(folder: Path) -> None:
    lm = LanguageModel.load(folder)
    texts = [f"{'so ' * (i * 7 % 11)}film {i}" for i in range(BS * 2 + 3)]
    alone = [lm.score([text])[0].nats for text in texts]
    assert [score.nats for score in lm.score(iter(texts))] == pytest.approx(alone, abs=1e-4)
    assert lm.score([]) == [] and lm.embed([]).shape == (0, 48)


def test_what_only_looks_like_a_list_of_texts(folder: Path) -> None:
    lm = LanguageModel.load(folder)
    for method in (lm.score, lm.embed):
        with pytest.raises(UserError, match="list of texts"):
            method("one text")
        with pytest.raises(UserError, match="text 1 is a float"):
            method(["fine", 3.5])


# --- the folder


def test_load_gives_a_language_model_that_says_what_it_is(folder: Path) -> None:
    lm = ulmfit.load(folder)
    assert type(lm) is ulmfit.LanguageModel is LanguageModel
    assert (lm.folder, lm.direction, lm.arch.emb_sz) == (folder, "forward", 16)
    assert lm.vocab is lm.parts.vocab and lm.manifest.n_vocab == len(lm.vocab)
    size = sum(p.numel() for p in lm.parts.model().parameters())
    for shown in (str(lm), lm._repr_html_()):
        assert all(
            fact in shown
            for fact in (f"{size:,}", f"{len(lm.vocab):,}", "forward", "perplexity 12.5", "a test")
        )


def test_the_history_is_a_table_and_a_picture(demo_corpus: Corpus, tmp_path: Path) -> None:
    lm = LanguageModel(write_tiny_lm(tmp_path / "lm", demo_corpus))
    assert lm.history.empty
    with pytest.raises(UserError, match=r"history\.csv is missing"):
        lm.plot_history()
    rows = [EpochRow(e, 1, 0.1, 4.0 / e, 4.5 / e, 0.1 / 3, 9.0, 2.0, 10, 5.0, 2.0) for e in (1, 2)]
    write_history(lm.folder / "history.csv", rows)
    assert lm.history.to_dict("records") == [asdict(row) for row in rows]
    assert lm.plot_history().axes[0].get_xlabel() == "epoch"
    steps = [StepRow(n, 4.0, (0.1,), 0.7) for n in (1, 2, 3, 4)]
    (lm.folder / "steps.csv").write_text(steps_csv(steps))
    validation = lm.plot_history().axes[0].get_lines()[1]
    assert validation.get_xydata().tolist() == [[2, 4.5], [4, 2.25]]


def test_pretrained_comes_as_a_language_model(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def fake(name: str, *, data_dir: object) -> object:
        asked.append((name, data_dir))
        return LanguageModel.load(folder).parts

    monkeypatch.setattr(pretrained, "load_pretrained", fake)
    assert ulmfit.load_pretrained("wt103-fwd", data_dir="here").folder == folder
    assert asked == [("wt103-fwd", "here")]


def test_bf16_is_near(folder: Path) -> None:
    exact, fast = LanguageModel.load(folder), LanguageModel.load(folder, precision="bf16")
    for one, other in zip(exact.score(TEXTS), fast.score(TEXTS)):
        assert other.nats == pytest.approx(one.nats, rel=0.02)


# --- the verbs


def test_generate_on_the_command_line(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    argv = ["generate", str(folder), PROMPT, "--n-tokens", "9", "--top-p", "0.9", "--seed", "3"]
    expected = LanguageModel.load(folder).generate(PROMPT, 9, top_p=0.9, seed=3)
    assert cli.main(argv) == 0
    assert capsys.readouterr() == (expected + "\n", "")
    assert cli.main([*argv, "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["text"], said["prompt"], said["seed"]) == (expected, PROMPT, 3)
    assert cli.main([*argv, "--temperature", "-1"]) == 2
    said = capsys.readouterr()
    assert (said.out, said.err.count("\n")) == ("", 1) and "--temperature is -1" in said.err


def test_generate_refuses_a_corpus(demo_corpus: Corpus, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["generate", str(demo_corpus.folder), "a"]) == 2
    assert "holds a corpus, not a language model" in capsys.readouterr().err


def test_convert_there_and_back(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stock = stock_model(len(TOKENS))
    torch.save(stock.state_dict(), tmp_path / "lm.pth")
    vocab = write_vocab(tmp_path / "v" / "tokens.pkl", TOKENS)
    argv = ["convert", str(tmp_path / "lm.pth"), "--vocab", str(vocab), "--direction", "backward"]
    assert cli.main([*argv, "--out", str(tmp_path / "lm"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["direction"] == "backward"
    lm = ulmfit.load(tmp_path / "lm")
    ids = torch.randint(0, len(TOKENS), (2, 9), generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(lm.logits(ids), stock_logits(stock, ids), atol=1e-5, rtol=0)
    back = tmp_path / "fastai"
    assert cli.main(["convert", str(lm.folder), "--out", str(back), "--to", "fastai"]) == 0
    model, encoder, tokens = capsys.readouterr().out.split()
    assert [Path(encoder).name, Path(tokens).name] == ["lm_encoder.pth", "lm_vocab.pkl"]
    for name, tensor in torch.load(model, weights_only=True).items():
        assert torch.equal(tensor, stock.state_dict()[name]), name
