"""All stages in one run folder: which of them run, what is skipped, resumed and refused, and the verbs that call them."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from tiny_lm import write_tiny_lm

import ulmfit
from ulmfit import cli
from ulmfit.config import PRESETS, TextConfig
from ulmfit.errors import Stopped, UserError
from ulmfit.files import CLASSIFIER, CORPUS
from ulmfit.flags import parse
from ulmfit.history import TrainingProgress
from ulmfit.models.arch import ArchConfig
from ulmfit.models.transplant import transplant
from ulmfit.recipe import FINETUNED, PRETRAINED, RECIPE, config_for
from ulmfit.stage_flags import ClassifierFlags
from ulmfit.stage_verbs import _configs
from ulmfit.text.corpus import Corpus
from ulmfit.training.classifier_config import ClassifierConfig
from ulmfit.training.presets import CLASSIFIER_PRESETS, FINETUNE_PRESETS, PRETRAIN_PRESETS
from ulmfit.usage import usage
from ulmfit.verb_flags import FitFlags

pytestmark = pytest.mark.usefixtures("calm")

Capture = pytest.CaptureFixture[str]
TEXT = TextConfig(min_freq=1)
PRETRAIN = replace(
    PRETRAIN_PRESETS["tiny"], bs=8, epochs=1, arch=ArchConfig(emb_sz=16, n_hid=24, n_layers=1)
)
FINETUNE = replace(FINETUNE_PRESETS["tiny"], bs=8, epochs=1)
CLASSIFY = replace(CLASSIFIER_PRESETS["tiny"], bs=8, epochs=2, schedule="full", drop_mult=0.1)


@pytest.fixture(scope="module")
def reviews() -> pd.DataFrame:
    rows = [
        (f"the {n} film was {mood} indeed", mood) for n in range(30) for mood in ("fine", "dull")
    ]
    return pd.DataFrame(rows, columns=["text", "label"])


def fit(source: Any, out: Path, **changes: Any) -> ulmfit.Classifier:
    configs = {"config": TEXT, "pretrain": PRETRAIN, "finetune": FINETUNE, "classifier": CLASSIFY}
    return ulmfit.fit(
        source, out, preset="tiny", **{"progress": lambda _: None, **configs, **changes}
    )


@pytest.fixture(scope="module")
def made(reviews: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> ulmfit.Classifier:
    return fit(reviews, tmp_path_factory.mktemp("run") / "run")


def run_of(classifier: ulmfit.Classifier) -> Path:
    return classifier.folder.parent


def weights(classifier: ulmfit.Classifier) -> dict[str, torch.Tensor]:
    return classifier.parts.weights["forward"]


def require_same(one: ulmfit.Classifier, other: ulmfit.Classifier) -> None:
    for name, tensor in weights(one).items():
        assert torch.equal(tensor, weights(other)[name]), name


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_without_a_model_stage_one_learns_from_the_texts(made: ulmfit.Classifier) -> None:
    run = run_of(made)
    assert names(run) == {RECIPE, CORPUS, PRETRAINED, CLASSIFIER}
    corpus, lm = ulmfit.load(run / CORPUS), ulmfit.load(run / PRETRAINED)
    assert made.manifest.provenance.parent == lm.parts.fingerprint
    assert lm.manifest.provenance.parent == corpus.fingerprint
    assert made.predict(["a fine film"]).shape == (1,)
    recipe = json.loads((run / RECIPE).read_text())
    expected = {
        "text": TEXT,
        "pretrain_lm": PRETRAIN,
        "finetune_lm": FINETUNE,
        "train_classifier": CLASSIFY,
    }
    assert recipe == json.loads(
        json.dumps({"ulmfit": ulmfit.__version__, **{n: asdict(c) for n, c in expected.items()}})
    )


def test_it_is_the_three_calls(
    made: ulmfit.Classifier, reviews: pd.DataFrame, tmp_path: Path
) -> None:
    quiet = {"progress": lambda _: None}
    corpus = ulmfit.prepare(reviews, tmp_path / "c", config=TEXT)
    lm = ulmfit.pretrain_lm(corpus, tmp_path / "lm", config=PRETRAIN, **quiet)
    require_same(
        made, ulmfit.train_classifier(lm, corpus, tmp_path / "clf", config=CLASSIFY, **quiet)
    )


def test_the_same_call_again_trains_nothing(made: ulmfit.Classifier, reviews: pd.DataFrame) -> None:
    heard: list[TrainingProgress] = []
    before = {p: p.stat().st_mtime_ns for p in run_of(made).rglob("*.safetensors")}
    require_same(made, fit(reviews, run_of(made), progress=heard.append))
    assert not [progress for progress in heard if not progress.notice]
    assert before == {p: p.stat().st_mtime_ns for p in before}


def test_other_settings_are_refused_by_the_stage_they_change(
    made: ulmfit.Classifier, reviews: pd.DataFrame, tmp_path: Path
) -> None:
    changed = replace(CLASSIFY, lr=0.5)
    with pytest.raises(UserError, match=rf"{CLASSIFIER} was made with other settings: lr 0.5"):
        fit(reviews, run_of(made), classifier=changed)
    with pytest.raises(UserError, match=rf"{PRETRAINED} was made with other .* seed 3 \(was 0\)"):
        fit(reviews, run_of(made), seed=3)
    with pytest.raises(UserError, match="is an artefact, and a run is a folder of several"):
        fit(reviews, made.folder)


def test_other_texts_do_not_replace_those_that_were_learnt_from(
    reviews: pd.DataFrame, tmp_path: Path
) -> None:
    first = fit(reviews, tmp_path / "run")
    corpus = Corpus.load(tmp_path / "run" / CORPUS).fingerprint
    with pytest.raises(
        UserError, match=rf"is another corpus than these texts, and {PRETRAINED} has"
    ):
        fit(reviews[:-4], tmp_path / "run")
    assert Corpus.load(tmp_path / "run" / CORPUS).fingerprint == corpus
    require_same(first, fit(reviews, tmp_path / "run"))
    fit(reviews[:-4], tmp_path / "run", restart=True)
    assert Corpus.load(tmp_path / "run" / CORPUS).fingerprint != corpus


def test_restart_trains_anew(
    reviews: pd.DataFrame, made: ulmfit.Classifier, tmp_path: Path
) -> None:
    fit(reviews, tmp_path / "run", seed=5)
    require_same(made, fit(reviews, tmp_path / "run", restart=True))


def test_stopped_by_the_clock_it_ends_as_if_it_never_was(
    made: ulmfit.Classifier, reviews: pd.DataFrame, tmp_path: Path
) -> None:
    n_stops = 0
    for _ in range(40):
        try:
            found = fit(reviews, tmp_path / "run", max_minutes=0.005)
            break
        except Stopped as stop:
            assert stop.exit_code == 3
            n_stops += 1
    else:
        found = fit(reviews, tmp_path / "run")
    assert n_stops
    require_same(made, found)
    assert names(tmp_path / "run") == names(run_of(made))


def test_a_given_model_is_fine_tuned_unless_it_knows_the_texts(
    made: ulmfit.Classifier, reviews: pd.DataFrame, demo_corpus: Corpus, tmp_path: Path
) -> None:
    lm = write_tiny_lm(tmp_path / "lm", demo_corpus)
    found = fit(reviews, tmp_path / "run", lm=lm.folder)
    assert names(tmp_path / "run") == {RECIPE, CORPUS, FINETUNED, CLASSIFIER}
    tuned = ulmfit.load(tmp_path / "run" / FINETUNED)
    assert tuned.manifest.provenance.parent == lm.fingerprint
    assert found.manifest.provenance.parent == tuned.parts.fingerprint
    known = fit(reviews, tmp_path / "known", lm=ulmfit.load(run_of(made) / PRETRAINED))
    assert names(tmp_path / "known") == {RECIPE, CORPUS, CLASSIFIER}
    require_same(made, known)


@pytest.mark.slow
def test_both_directions(reviews: pd.DataFrame, tmp_path: Path) -> None:
    found = fit(reviews, tmp_path / "run", direction="both")
    assert found.directions == ("forward", "backward")
    again = fit(reviews, tmp_path / "again", lm=tmp_path / "run" / PRETRAINED)
    assert again.directions == found.directions and PRETRAINED not in names(tmp_path / "again")


def test_unlabelled_texts_are_read_too(reviews: pd.DataFrame, tmp_path: Path) -> None:
    found = fit(reviews, tmp_path / "run", unlabelled=["zebras and more zebras"])
    assert "zebras" in found.vocab
    assert ulmfit.load(tmp_path / "run" / CORPUS).manifest.splits["unsup"].documents == 1
    source = {"train": reviews, "unsup": ["a yak"]}
    found = fit(source, tmp_path / "both", unlabelled=["zebras and more zebras"])
    assert {"yak", "zebras"} <= set(found.vocab)


def test_the_test_split_is_never_read(reviews: pd.DataFrame, tmp_path: Path) -> None:
    held_out = pd.DataFrame(
        {"text": ["zebras are fine"] * 9, "label": ["dull"] * 9, "split": "test"}
    )
    rows = pd.concat([reviews.assign(split="train"), held_out])
    found = fit(rows, tmp_path / "run", split="split")
    others = rows.assign(text=np.where(rows.split == "test", "quite other words", rows.text))
    require_same(found, fit(others, tmp_path / "others", split="split"))
    assert "zebras" not in found.vocab


# --- what is refused before a model is trained


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"label": "sentiment"}, "no column 'sentiment'"),
        ({"text": "txt"}, "did you mean 'text'"),
        ({"preset": "tinny"}, "did you mean 'tiny'"),
        ({"lm": "wt103-fw"}, "did you mean 'wt103-fwd'"),
        ({"direction": "up"}, "--direction is 'up'"),
        ({"max_minutes": 0}, "--max-minutes is 0"),
        ({"label": None}, "has no labels"),
    ],
)
def test_a_mistake_leaves_nothing(
    changes: dict[str, Any], says: str, reviews: pd.DataFrame, tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=says):
        ulmfit.fit(reviews, tmp_path / "run", **{"preset": "tiny", **changes})
    assert not names(tmp_path)


def test_texts_without_labels_are_refused(reviews: pd.DataFrame, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="if it is 'sentiment', pass label='sentiment'"):
        fit(reviews.rename(columns={"label": "sentiment"}), tmp_path / "run")
    with pytest.raises(UserError, match="list of texts has no labels"):
        fit(list(reviews.text), tmp_path / "run")
    assert not names(tmp_path)


def test_labels_that_teach_nothing_cost_no_training(reviews: pd.DataFrame, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="a classifier needs two labels"):
        fit(reviews.assign(label="fine"), tmp_path / "one")
    with pytest.raises(UserError, match="needs at least 3"):
        fit(reviews[:2], tmp_path / "few")
    with pytest.raises(UserError, match="--n-labels is 500"):
        fit(reviews, tmp_path / "many", classifier=replace(CLASSIFY, n_labels=500))
    numbers = replace(TEXT, label_kind="number")
    weighed = replace(CLASSIFY, class_weight="balanced")
    with pytest.raises(UserError, match="weighs labels that are names"):
        scored = reviews.assign(label=range(len(reviews)))
        fit(scored, tmp_path / "numbers", config=numbers, classifier=weighed)
    assert not list(tmp_path.rglob(f"{PRETRAINED}*"))


# --- the verbs


@pytest.fixture
def csv(reviews: pd.DataFrame, tmp_path: Path) -> str:
    reviews.rename(columns={"text": "review", "label": "stars"}).to_csv(
        tmp_path / "films.csv", index=False
    )
    return str(tmp_path / "films.csv")


def test_fit_in_a_shell_is_fit_in_python(csv: str, tmp_path: Path, capsys: Capture) -> None:
    out = tmp_path / "run"
    argv = [
        "fit",
        csv,
        "--out",
        str(out),
        "--preset",
        "tiny",
        "--text",
        "review",
        "--label",
        "stars",
    ]
    argv += ["--min-freq", "1", "--seed", "4", "--threads", "1"]
    assert cli.main(argv) == 0
    said = capsys.readouterr()
    assert said.out == f"{ulmfit.load(out / CLASSIFIER)}\n"
    *_, wrote, hint = said.err.splitlines()
    assert wrote == f"wrote {out / CLASSIFIER}"
    evaluate, predict = (shlex.split(asked) for asked in re.findall("`ulmfit (.*?)`", hint))
    assert predict.pop() == "TEXTS.csv"
    assert cli.main([*evaluate, "--no-baselines"]) == 0
    assert capsys.readouterr().out.count("accuracy") == 1
    assert cli.main([*predict, csv, "--text", "review"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 1 + len(pd.read_csv(csv))
    python = ulmfit.fit(
        csv, tmp_path / "python", preset="tiny", text="review", label="stars", seed=4,
        config=replace(ulmfit.PRESETS["tiny"], min_freq=1), progress=lambda _: None,
    )  # fmt: skip
    require_same(ulmfit.load(out / CLASSIFIER), python)
    assert cli.main([*argv, "--json"]) == 0
    said = capsys.readouterr()
    assert json.loads(said.out) == json.loads((out / CLASSIFIER / "manifest.json").read_text())
    assert said.err.endswith(f"up to date: {out / CLASSIFIER}\n")


def test_fit_sets_what_a_stage_is_to_do(csv: str, tmp_path: Path, capsys: Capture) -> None:
    argv = ["fit", csv, "--preset", "tiny", "--text", "review", "--label", "stars", "--lm", "none"]
    argv += ["--threads", "1", "--out", str(tmp_path / "run")]
    words = ("text.tokenizer=word", "text.sp_model=none", "stage1.epochs=1")
    flags = parse(FitFlags, "fit", [csv, *(part for each in words for part in ("--set", each))])
    assert _configs(flags)["pretrain"].epochs == 1  # of words, so not from the English model
    settings = ["--set", "stage1.epochs=1", "--set", "stage3.epochs=3", "--set", "text.min_freq=2"]
    assert cli.main([*argv, *settings]) == 0
    capsys.readouterr()
    recipe = json.loads((tmp_path / "run" / "recipe.json").read_text())
    assert recipe["pretrain_lm"]["epochs"] == 1
    assert recipe["train_classifier"]["epochs"] == 3
    assert recipe["text"]["min_freq"] == 2
    untouched = json.loads(json.dumps(asdict(FINETUNE_PRESETS["tiny"])))
    assert recipe["finetune_lm"] == untouched
    assert cli.main([*argv, "--set", "stage3.epoch=3"]) == 2
    assert "no field 'epoch': did you mean 'epochs'" in capsys.readouterr().err


def test_train_classifier_passes_everything_on(
    made: ulmfit.Classifier, tmp_path: Path, capsys: Capture
) -> None:
    lm, corpus = run_of(made) / PRETRAINED, run_of(made) / CORPUS
    argv = [
        "train-classifier",
        str(lm),
        str(corpus),
        "--out",
        str(tmp_path / "clf"),
        "--threads",
        "1",
    ]
    argv += [
        "--preset",
        "tiny",
        "--bs",
        "8",
        "--epochs",
        "2",
        "--schedule",
        "full",
        "--drop-mult",
        "0.1",
    ]
    assert cli.main([*argv, "--json"]) == 0
    found = ulmfit.load(tmp_path / "clf")
    assert json.loads(capsys.readouterr().out)["parent"] == ulmfit.load(lm).parts.fingerprint
    require_same(made, found)


# A value for every field that only this stage has, other than that of any preset, and as it is typed.
OTHER = {
    "schedule": ("chain_thaw", "chain_thaw"), "max_len": ("77", 77), "input_p": ("0.31", 0.31),
    "output_p": ("0.32", 0.32), "hidden_p": ("0.33", 0.33), "embed_p": ("0.34", 0.34), "weight_p": ("0.35", 0.35),
    "drop_mult": ("0.9", 0.9), "head_p": ("0.36", 0.36), "hidden_sizes": ("40 30", (40, 30)),
    "class_weight": ("balanced", "balanced"), "n_labels": ("9", 9), "lr": ("0.03", 0.03), "clip": ("none", None),
    "direction": ("both", "both"), "epochs": ("11", 11), "bs": ("7", 7),
}  # fmt: skip


@pytest.mark.parametrize("name", OTHER)
def test_a_field_of_stage_three_is_a_flag(name: str) -> None:
    typed, value = OTHER[name]
    flag = f"--{name.replace('_', '-')}"
    flags = parse(ClassifierFlags, "train-classifier", ["lm", "corpus", flag, *typed.split()])
    assert flags.config == replace(CLASSIFIER_PRESETS["laptop"], **{name: value})


def test_help_and_presets_of_stage_three() -> None:
    said = usage(ClassifierFlags(), "train-classifier")
    for field in fields(ClassifierConfig):
        flag = field.name.replace("_", "-")
        assert f"  --{flag} " in said or f"  --[no-]{flag} " in said
    for name, config in CLASSIFIER_PRESETS.items():
        argv = ["lm", "corpus", "--preset", name, "--from-scratch"]
        flags = parse(ClassifierFlags, "train-classifier", argv)
        assert flags.config == replace(config, from_scratch=True)


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        ("fit", "no SOURCE: write it before the flags"),
        ("fit {csv}", "fit: no --out: name the folder of the run"),
        ("fit {csv} --out o", "films.csv has no column 'text'"),
        ("fit {csv} --out o --text review", "pass label='stars'"),
        ("fit {csv} --out o --text review --label star", "did you mean 'stars'?"),
        ("fit {csv} --out o --text review --label none", "--label none leaves nothing to learn"),
        ("fit {csv} --out o --text review --label review", "is asked for twice"),
        ("fit {csv} --out o --text review --label stars --lm nowhere", "nowhere is neither"),
        ("fit {csv} --out o --text review --label stars --lm {corpus}", "holds a corpus"),
        ("fit {csv} --out o --preset labtop", "did you mean 'laptop'?"),
        ("fit {csv} --out o --direction up", "allowed: forward, backward, both"),
        ("fit {csv} --out o --seed -1", "--seed is -1; allowed: 0 or more"),
        ("fit {csv} --out o --threads -1", "--threads is -1"),
        ("fit {csv} --out o --max-minutes 0", "--max-minutes is 0.0"),
        ("fit {csv} --out o --lable stars", "did you mean '--label'?"),
        ("fit {csv} --out o --set stage1.lr=0.1", "stage 1 is not run, since the language model is en"),
        ("fit {csv} --out o --lm none --set stage2.lr=0.1", "stage 2 is not run, since a new language model"),
        ("fit nowhere.csv --out o", "no file, folder or data set 'nowhere.csv'"),
        ("train-classifier", "no LM: write it before the flags"),
        ("train-classifier {lm}", "no CORPUS: write it before the flags"),
        ("train-classifier {corpus} {lm} --out o", "is a corpus, and LM comes first"),
        ("train-classifier {lm} {corpus}", "no --out"),
        ("train-classifier {lm} {corpus} --out {lm}", "is what is read"),
        ("train-classifier {clf} {corpus} --out o", "holds a classifier, not a language model"),
        ("train-classifier {lm} {other} --out o", "vocabular"),
        ("train-classifier {lm} {corpus} --out o --schedule stlr", "--schedule is 'stlr'"),
        ("train-classifier {lm} {corpus} --out o --bs 1", "--bs is 1; allowed: 2 or more"),
        ("train-classifier {lm} {corpus} --out o --class-weights balanced", "did you mean '--class-weight'?"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_line(
    argv: str,
    says: str,
    made: ulmfit.Classifier,
    demo_corpus: Corpus,
    csv: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Capture,
) -> None:
    monkeypatch.chdir(Path(csv).parent)
    places = {
        "csv": csv, "lm": run_of(made) / PRETRAINED, "corpus": run_of(made) / CORPUS, "clf": made.folder,
        "other": demo_corpus.folder,
    }  # fmt: skip
    assert cli.main([word.format(**places) for word in argv.split()]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    lines = said.err.splitlines()
    assert lines[-1].startswith("ulmfit: ") and says in lines[-1]
    assert "Traceback" not in said.err
    assert not list(Path().rglob(f"{PRETRAINED}*"))


def test_a_corpus_that_nothing_has_learnt_from_gives_way(
    reviews: pd.DataFrame, tmp_path: Path
) -> None:
    ulmfit.prepare(reviews[:8], tmp_path / "run" / CORPUS, config=TEXT)
    assert len(ulmfit.load(fit(reviews, tmp_path / "run").folder.parent / CORPUS)) == len(reviews)


def test_the_corpus_is_read_as_its_language_model_reads(
    reviews: pd.DataFrame, tmp_path: Path
) -> None:
    subwords = TextConfig(tokenizer="subword", max_vocab=60)
    corpus = ulmfit.prepare(reviews, tmp_path / "corpus", config=subwords)
    lm = write_tiny_lm(tmp_path / "lm", corpus)
    made = fit(reviews, tmp_path / "run", lm=lm.folder, config=None)
    run = run_of(made)
    assert made.vocab == corpus.vocab == ulmfit.load(run / CORPUS).vocab
    assert str(tmp_path) not in (run / RECIPE).read_text()
    chars = TextConfig(tokenizer="char")
    with pytest.raises(
        UserError, match=r"--tokenizer is 'char' and the language model .* 'subword'"
    ):
        fit(reviews, tmp_path / "other", lm=lm.folder, config=chars)
    text = [str(tmp_path / "lm"), "--show", "a fine film", "--preset", "tiny"]
    assert cli.main(["prepare", "--lm", *text]) == 0


@pytest.mark.parametrize(("n_asked", "n_words"), [(12_000, 60_000), (500, 500)])
def test_a_language_model_of_words_is_not_cut_at_the_number_of_pieces(
    made: ulmfit.Classifier, n_asked: int, n_words: int
) -> None:
    lm = ulmfit.load(run_of(made) / "1_pretrain_lm")
    laptop = PRESETS["laptop"]
    found = config_for(lm, replace(laptop, max_vocab=n_asked), default=laptop)
    assert (found.tokenizer, found.sp_model, found.max_vocab) == ("word", None, n_words)


def test_the_data_folder_holds_language_models_too(
    made: ulmfit.Classifier, tmp_path: Path, capsys: Capture
) -> None:
    shutil.copytree(run_of(made) / PRETRAINED, tmp_path / "models" / "wt103-fwd")
    argv = ["prepare", "--lm", "wt103-fwd", "--data-dir", str(tmp_path), "--show", "a film"]
    assert cli.main(argv) == 0
    assert "film" in capsys.readouterr().out


def test_a_vocabulary_of_both(
    reviews: pd.DataFrame, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    general = ulmfit.prepare(["a word nobody reviews"] * 2, tmp_path / "general", config=TEXT)
    lm = write_tiny_lm(tmp_path / "lm", general)
    csv, out = tmp_path / "reviews.csv", tmp_path / "corpus"
    reviews.to_csv(csv, index=False)
    argv = ["prepare", str(csv), "--out", str(out), "--min-freq", "1", "--vocab", "union"]
    assert cli.main(argv) == 2
    assert "name it with --lm" in capsys.readouterr().err
    assert cli.main([*argv, "--lm", str(lm.folder)]) == 0
    corpus = ulmfit.load(out)
    assert transplant(lm.weights, lm.vocab, corpus.vocab).report.dropped.count == 0
    assert "nobody" in corpus.vocab and len(corpus.vocab) > len(general.vocab)
    assert cli.main([*argv[:-1], "all", "--lm", str(lm.folder)]) == 2
    assert "--vocab is 'all'; allowed: texts, union" in capsys.readouterr().err
