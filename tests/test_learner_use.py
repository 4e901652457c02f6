"""What a fastai user does with a Learner: predictions, metrics of fastai's, saving, and what is refused with a reason."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from fastai.metrics import accuracy
from tiny_lm import write_tiny_lm
from torch.nn import functional as F

import ulmfit
from ulmfit.errors import UserError
from ulmfit.evaluation.documents import taught_rows
from ulmfit.text.batches import classifier_dataloaders
from ulmfit.text.corpus import Corpus
from ulmfit.training.classifier_learner import ClassifierLearner
from ulmfit.training.presets import CLASSIFIER_PRESETS, FINETUNE_PRESETS

pytestmark = pytest.mark.usefixtures("calm")

CONFIG = replace(
    CLASSIFIER_PRESETS["tiny"], bs=16, epochs=1, max_batches=3, linear=None, n_labels=80
)


@pytest.fixture(scope="module")
def lm(demo_corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> ulmfit.LanguageModel:
    return ulmfit.load(write_tiny_lm(tmp_path_factory.mktemp("use") / "lm", demo_corpus).folder)


@pytest.fixture(scope="module")
def learn(demo_corpus: Corpus, lm: ulmfit.LanguageModel) -> ClassifierLearner:
    learn = ulmfit.text_classifier_learner(demo_corpus, lm, config=CONFIG)
    with learn.no_bar(), learn.no_logging():
        learn.fit_phases()
    return learn


def test_get_preds_are_the_probabilities_in_the_order_of_the_documents(
    learn: ClassifierLearner, demo_corpus: Corpus, tmp_path: Path
) -> None:
    with learn.no_bar():
        found, truth, answers, losses = learn.get_preds(with_decoded=True, with_loss=True)
        loss, _ = learn.validate()
    saved = learn.save_model(tmp_path / "classifier")
    rows = learn.rows.valid
    logits = saved.encoder_logits([demo_corpus[row] for row in rows.tolist()], "forward")
    assert torch.allclose(found, torch.from_numpy(logits).softmax(1), atol=1e-5)
    assert demo_corpus.labels is not None
    assert truth.tolist() == demo_corpus.labels[rows].tolist()
    assert answers.tolist() == logits.argmax(1).tolist()
    assert losses.mean().item() == pytest.approx(loss, abs=1e-5)


def test_documents_without_label_are_answered_as_well(
    learn: ClassifierLearner, demo_corpus: Corpus
) -> None:
    labels = np.array(demo_corpus.labels)
    labels[demo_corpus.rows("test")] = -1
    unknown = replace(demo_corpus, labels=labels)
    known, others = (
        classifier_dataloaders(corpus, valid="test", device=learn.dls.device).valid
        for corpus in (demo_corpus, unknown)
    )
    with learn.no_bar(), learn.no_logging():
        assert torch.equal(learn.get_preds(dl=others)[0], learn.get_preds(dl=known)[0])
        assert math.isnan(learn.validate(dl=others)[0])


def test_what_some_documents_lack_is_not_counted(
    learn: ClassifierLearner, demo_corpus: Corpus
) -> None:
    rows, labels = demo_corpus.rows("test"), np.array(demo_corpus.labels)
    labels[rows[::3]] = -1
    partly = replace(demo_corpus, labels=labels)
    loader = classifier_dataloaders(partly, valid="test", device=learn.dls.device).valid
    known = np.arange(len(rows)) % 3 > 0
    with learn.no_bar(), learn.no_logging():
        answers, _, losses = learn.get_preds(dl=loader, with_loss=True)
        measured = learn.validate(dl=loader)
    assert len(answers) == len(rows) and losses.isnan().numpy().tolist() == (~known).tolist()
    truth = torch.from_numpy(np.array(demo_corpus.labels)[rows[known]]).long()
    chances = answers[torch.from_numpy(known)].log()
    is_right = chances.argmax(1) == truth
    expected = [F.nll_loss(chances, truth).item(), is_right.float().mean().item()]
    assert list(measured) == pytest.approx(expected, abs=1e-5)


def test_metrics_of_fastai_see_logits(learn: ClassifierLearner) -> None:
    own, learn.metrics = learn.metrics, [*learn.metrics, accuracy]
    with learn.no_bar(), learn.no_logging():
        _, ours, theirs = learn.validate()
    learn.metrics = own
    assert ours == pytest.approx(theirs)


def test_a_saved_learner_is_what_the_stage_makes(
    learn: ClassifierLearner, demo_corpus: Corpus, lm: ulmfit.LanguageModel, tmp_path: Path
) -> None:
    saved = learn.save_model(tmp_path / "saved")
    staged = ulmfit.train_classifier(
        lm, demo_corpus, tmp_path / "staged", config=CONFIG, progress=lambda _: None
    )
    assert (
        saved.temperature == pytest.approx(staged.temperature, rel=1e-6) and saved.temperature != 1
    )
    taught = taught_rows(saved, demo_corpus)
    assert taught is not None
    assert np.array_equal(taught.train, learn.rows.train)
    assert np.array_equal(taught.valid, learn.rows.valid)
    with pytest.raises(UserError, match="holds an artefact that no training made"):
        ulmfit.train_classifier(lm, demo_corpus, tmp_path / "saved", config=CONFIG)


def test_what_a_learner_does_not_do_says_who_does(
    learn: ClassifierLearner, demo_corpus: Corpus, lm: ulmfit.LanguageModel
) -> None:
    with pytest.raises(UserError, match=r"generate\(TEXT, n_tokens=40\)"):
        ulmfit.language_model_learner(demo_corpus, lm).predict("I liked this film", 40)
    with pytest.raises(UserError, match="save_model"):
        learn.predict("a fine film")
    with pytest.raises(UserError, match="save_model"):
        learn.export("model.pkl")
    assert learn.to_fp16() is learn


def test_a_direction_that_is_not_the_models_is_refused(
    demo_corpus: Corpus, lm: ulmfit.LanguageModel
) -> None:
    config = replace(FINETUNE_PRESETS["tiny"], direction="backward")
    with pytest.raises(UserError, match=r"--direction is backward and .* reads forward"):
        ulmfit.language_model_learner(demo_corpus, lm, config=config)


def test_a_pair_gives_the_direction_that_is_asked_for(
    demo_frame: pd.DataFrame, tmp_path: Path
) -> None:
    rows = demo_frame.head(200)
    corpus = ulmfit.prepare(rows, tmp_path / "corpus", config=ulmfit.PRESETS["tiny"])
    config = replace(FINETUNE_PRESETS["tiny"], direction="backward")
    pair = ulmfit.load_pretrained("en")
    for given in ("en", pair):
        learn = ulmfit.language_model_learner(corpus, given, config=config)
        assert learn.parent == pair.backward.parts.fingerprint  # type: ignore[union-attr]
    forward = ulmfit.language_model_learner(corpus, "en", config=FINETUNE_PRESETS["tiny"])
    assert forward.config.direction == "forward"


def test_numbers_have_no_accuracy(lm: ulmfit.LanguageModel, tmp_path: Path) -> None:
    frame = pd.DataFrame({"text": [f"{n} fine films" for n in range(40)], "label": range(40)})
    config = replace(lm.text_config(ulmfit.TextConfig()), label_kind="number")
    ulmfit.prepare(frame, tmp_path / "corpus", config=config)
    moved = ulmfit.finetune_lm(
        lm, tmp_path / "corpus", tmp_path / "lm", progress=lambda _: None,
        config=replace(FINETUNE_PRESETS["tiny"], bs=2, seq_len=8, min_batches=None, max_batches=1),
    )  # fmt: skip
    learn = ulmfit.text_classifier_learner(
        tmp_path / "corpus", moved, config=replace(CONFIG, n_labels=None)
    )
    with learn.no_bar(), learn.no_logging():
        learn.fit_phases()
        assert learn.get_preds()[0].shape == (len(learn.rows.valid), 1)
    assert math.isnan(learn.measured().accuracy) and math.isfinite(learn.measured().valid_loss)
    assert "accuracy" not in learn.provenance().metrics
    with pytest.raises(UserError, match="balanced weighs labels that are names"):
        ulmfit.text_classifier_learner(
            tmp_path / "corpus",
            moved,
            config=replace(CONFIG, n_labels=None, class_weight="balanced"),
        )


def test_tables_and_dicts_are_no_list_of_texts(
    learn: ClassifierLearner, lm: ulmfit.LanguageModel, tmp_path: Path
) -> None:
    saved = learn.save_model(tmp_path / "classifier")
    for wrong in (pd.DataFrame({"text": ["one", "two"]}), {"a": "one"}):
        for answer in (saved.predict, saved.predict_proba, lm.score, lm.embed):
            with pytest.raises(UserError, match="give texts alone"):
                answer(wrong)
        with pytest.raises(ValueError, match="texts in a table"):
            ulmfit.ULMFiTClassifier(preset="tiny").fit(wrong, [0, 1])


def test_arrays_in_cells_are_lists(tmp_path: Path) -> None:
    labels = [np.array(["a", "b"]), np.array(["b"]), np.array([], str), np.array(["a"])]
    frame = pd.DataFrame({"text": ["one", "two", "three", "four"], "label": labels})
    config = ulmfit.TextConfig(min_freq=1, label_delim=";")
    corpus = ulmfit.prepare(frame, tmp_path / "corpus", config=config)
    assert corpus.label_names == ("a", "b")
    assert corpus.labels is not None
    assert corpus.labels.tolist() == [[1, 1], [0, 1], [0, 0], [1, 0]]
    with pytest.raises(UserError, match="expected a text, found a list"):
        ulmfit.prepare(pd.DataFrame({"text": labels}), tmp_path / "other", label=None)


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[pd.DataFrame]:
    tables: list[pd.DataFrame] = []
    monkeypatch.setattr("ulmfit.text.display.show_table", tables.append)
    return tables


def test_a_classifier_shows_its_answers_beside_the_labels(
    learn: ClassifierLearner, shown: list[pd.DataFrame]
) -> None:
    with learn.no_bar():
        learn.show_results(max_n=4, shuffle=False)
        _, truth, answers = learn.get_preds(with_decoded=True)
    first = learn.dls.valid.get_idxs()[:4]
    names = learn.dls.vocab[1]
    assert shown[0]["label"].tolist() == [names[code] for code in truth[first].tolist()]
    assert shown[0]["answer"].tolist() == [names[code] for code in answers[first].tolist()]
    assert all(text.startswith("xxbos") for text in shown[0]["text"])


def test_a_language_model_shows_what_it_would_say(
    demo_corpus: Corpus, lm: ulmfit.LanguageModel, shown: list[pd.DataFrame]
) -> None:
    learn = ulmfit.language_model_learner(demo_corpus, lm, config=FINETUNE_PRESETS["tiny"])
    learn.show_results(max_n=3, shuffle=False)
    assert shown[0].shape == (3, 3)
    read, said = shown[0]["text"][0].split(), shown[0]["said"][0].split()
    ids = demo_corpus.vocab.encode(read)
    logits = learn.model(torch.from_numpy(ids)[None]).logits()[0]
    assert said == [learn.dls.vocab[i] for i in logits.argmax(1).tolist()]


def test_numbers_and_several_labels_are_shown_as_such(
    demo_frame: pd.DataFrame, lm: ulmfit.LanguageModel, tmp_path: Path, shown: list[pd.DataFrame]
) -> None:
    rows = demo_frame.head(60).assign(stars=2.5, tags="a;b")
    config = replace(lm.parts.text.config, label_kind="number", sp_model=None)
    for name, column, expected in (("number", "stars", "2.5"), ("category", "tags", "a, b")):
        corpus = ulmfit.prepare(
            rows,
            tmp_path / column,
            label=column,
            config=replace(
                config, label_kind=name, label_delim=";" if name == "category" else None
            ),
        )
        own = write_tiny_lm(tmp_path / f"lm-{column}", corpus).folder
        learn = ulmfit.text_classifier_learner(corpus, own, config=replace(CONFIG, n_labels=None))
        with learn.no_bar():
            learn.show_results(max_n=2)
        assert shown[-1]["label"].tolist() == [expected] * 2
        assert len(shown[-1]["answer"]) == 2
        worst = learn.top_losses(2)
        assert worst["label"].tolist() == [expected] * 2 and worst["loss"].is_monotonic_decreasing


def test_fastai_interprets_a_classifier(learn: ClassifierLearner) -> None:
    from fastai.interpret import ClassificationInterpretation
    from sklearn.metrics import confusion_matrix

    with learn.no_bar():
        found = ClassificationInterpretation.from_learner(learn)
        _, truth, answers = learn.get_preds(with_decoded=True)
        matrix = found.confusion_matrix()
        assert found.vocab == learn.corpus.label_names
        assert np.array_equal(matrix, confusion_matrix(truth, answers, labels=range(len(matrix))))


def test_a_summary_counts_all_weights_and_says_what_learns(learn: ClassifierLearner) -> None:
    learn.freeze()
    lines = str(learn.summary()).splitlines()
    n_groups = len(learn.model.layer_groups())
    assert [line.split()[-1] for line in lines[1:-1]] == [*["frozen"] * (n_groups - 1), "learns"]
    n_weights = sum(int(line.split()[4].replace(",", "")) for line in lines[1:-1])
    assert f"{n_weights:,} weights in all" == lines[-1]
    assert n_weights == sum(weight.numel() for weight in learn.model.parameters())
    learn.unfreeze()


def test_a_learner_does_not_replace_what_a_stage_has_made(
    learn: ClassifierLearner, demo_corpus: Corpus, lm: ulmfit.LanguageModel, tmp_path: Path
) -> None:
    config = replace(FINETUNE_PRESETS["tiny"], bs=4, seq_len=8, min_batches=None, max_batches=1)
    ulmfit.finetune_lm(lm, demo_corpus, tmp_path / "lm", config=config, progress=lambda _: None)
    before = (tmp_path / "lm" / "manifest.json").read_bytes()
    other = ulmfit.language_model_learner(demo_corpus, lm, config=config)
    for own in (other, learn):
        with pytest.raises(UserError, match="lm is what finetune_lm made: choose another folder"):
            own.save_model(tmp_path / "lm")
    assert (tmp_path / "lm" / "manifest.json").read_bytes() == before
    other.save_model(tmp_path / "own")
    other.save_model(tmp_path / "own")  # a Learner's own may be replaced


def test_what_fastai_users_know_points_to_what_takes_its_place(
    learn: ClassifierLearner, demo_corpus: Corpus, lm: ulmfit.LanguageModel
) -> None:
    for ask in (learn.load_encoder, learn.save_encoder):
        with pytest.raises(UserError, match=r"save_model\(OUT\), then ulmfit.text_classifier"):
            ask("finetuned")
    for ask in (lambda: learn.dls.test_dl(["a fine film"]), learn.tta):
        with pytest.raises(UserError, match=r"save_model\(OUT\)\.predict\(texts\)"):
            ask()
    assert learn.to_bf16() is learn and learn.to_fp16("a", loss_scale=1) is learn
    own = ulmfit.language_model_learner(demo_corpus, lm, config=FINETUNE_PRESETS["tiny"])
    with pytest.raises(UserError, match=r"show_results.*evaluate_lm.*score"):
        own.get_preds()


def test_another_loss_is_refused_in_one_line(demo_corpus: Corpus, lm: ulmfit.LanguageModel) -> None:
    for learn in (
        ulmfit.language_model_learner(demo_corpus, lm, config=FINETUNE_PRESETS["tiny"]),
        ulmfit.text_classifier_learner(demo_corpus, lm, config=CONFIG),
    ):
        learn.loss_func = torch.nn.functional.cross_entropy
        for ask in (learn.validate, lambda own=learn: own.fit(1)):
            with learn.no_bar(), learn.no_logging(), pytest.raises(UserError, match="its own loss"):
                ask()


def test_a_config_of_another_kind_is_named(
    demo_corpus: Corpus, lm: ulmfit.LanguageModel, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    for ask, found, stage in (
        (lambda: ulmfit.language_model_learner(demo_corpus, lm, config="tiny"), "str", "finetune"),
        (lambda: ulmfit.text_classifier_learner(demo_corpus, lm, config="tiny"), "str", "train"),
        (lambda: ulmfit.train_classifier(lm, demo_corpus, out, config="tiny"), "str", "train"),
        (lambda: ulmfit.pretrain_lm(demo_corpus, out, config="tiny"), "str", "pretrain_lm"),
        (
            lambda: ulmfit.finetune_lm(lm, demo_corpus, out, config=CONFIG),  # type: ignore[arg-type]
            "ClassifierConfig",
            "finetune_lm",
        ),
    ):
        with pytest.raises(UserError, match=rf"config is a {found}: .*stage_preset\('{stage}"):
            ask()
