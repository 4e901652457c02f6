"""The verb `predict`: the answers of the classifier itself, in order and beside their rows, for every kind of source."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import json
import subprocess
import sys
import tracemalloc
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tiny_classifier import write_tiny_classifier
from tiny_lm import write_tiny_lm

from ulmfit import cli
from ulmfit.errors import UserError
from ulmfit.inference.classifier import Classifier
from ulmfit.models.label_set import LabelSet
from ulmfit.text.corpus import Corpus

pytestmark = pytest.mark.usefixtures("calm")

ROOT = Path(__file__).resolve().parents[1]
Capture = pytest.CaptureFixture[str]
TEXTS = ["A fine film.", "", 'He said "no",\nand left', "x\ry", "z" * 3000, "naïve 𝔘 text", "   "]
NAMES = ["negative", "positive", "undecided"]


@pytest.fixture(scope="module")
def model(demo_corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> Classifier:
    out = tmp_path_factory.mktemp("model") / "classifier"
    write_tiny_classifier(out, demo_corpus, direction="both")
    return Classifier.load(out)


def write_csv(frame: pd.DataFrame, path: Path) -> None:
    """Write CSV; with other line ends pandas would leave a carriage return unquoted."""
    frame.to_csv(path, index=False, lineterminator="\r\n")


def answers(path: Path) -> list[dict[str, str]]:
    """Read CSV with the standard library, strictly."""
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, strict=True))


def require_same(rows: list[dict], model: Classifier, texts: list[str], **how: str) -> None:
    """Hold rows against the answers of the classifier itself, text by text."""
    assert len(rows) == len(texts)
    for row, text in zip(rows, texts):
        found = model.predict_proba([text], **{"precision": "fp32", **how})[0]
        assert [float(row[name]) for name in NAMES] == pytest.approx(found, abs=2e-5)
        assert row["label"] == NAMES[int(found.argmax())]
        assert float(row["confidence"]) == pytest.approx(found.max(), abs=2e-5)


def test_csv_in_csv_out_with_all_columns(model: Classifier, tmp_path: Path) -> None:
    ids = [f"n{i}" for i in range(len(TEXTS))]
    frame = pd.DataFrame({"id": ids, "text": TEXTS, "label": "given", "positive": 7})
    write_csv(frame, tmp_path / "in.csv")
    out = tmp_path / "out.csv"
    argv = ["predict", str(model.folder), str(tmp_path / "in.csv"), "--out", str(out)]
    assert cli.main([*argv, "--precision", "fp32"]) == 0
    rows = answers(out)
    assert list(rows[0]) == [
        "id", "text", "input_label", "input_positive", "label", "confidence", *NAMES,
    ]  # fmt: skip
    assert [row["id"] for row in rows] == ids
    assert [row["text"] for row in rows] == TEXTS
    assert {(row["input_label"], row["input_positive"]) for row in rows} == {("given", "7")}
    require_same(rows, model, TEXTS)
    assert b"\r\n" not in out.read_bytes()


@pytest.mark.parametrize("direction", ["forward", "backward"])
def test_one_direction_of_both(model: Classifier, direction: str, tmp_path: Path) -> None:
    write_csv(pd.DataFrame({"review": TEXTS}), tmp_path / "in.csv")
    argv = ["predict", str(model.folder), str(tmp_path / "in.csv"), "--text", "review"]
    argv += ["--out", str(tmp_path / "o.jsonl"), "--precision", "fp32", "--direction", direction]
    assert cli.main(argv) == 0
    rows = [json.loads(line) for line in (tmp_path / "o.jsonl").read_text("utf-8").splitlines()]
    require_same(rows, model, TEXTS, direction=direction)
    assert [row["review"] for row in rows] == TEXTS


@pytest.mark.parametrize("kind", ["tsv", "csv.gz", "jsonl", "jsonl.bz2", "parquet"])
def test_every_kind_of_file(model: Classifier, kind: str, tmp_path: Path) -> None:
    path, frame = tmp_path / f"in.{kind}", pd.DataFrame({"text": TEXTS})
    if kind == "parquet":
        frame.to_parquet(path)
    elif "jsonl" in kind:
        lines = "\n".join(json.dumps({"text": text}) for text in TEXTS).encode()
        path.write_bytes(bz2.compress(lines) if "bz2" in kind else lines)
    else:
        sep = "\t" if kind == "tsv" else ","
        text = frame.to_csv(index=False, sep=sep, lineterminator="\r\n").encode()
        path.write_bytes(gzip.compress(text) if "gz" in kind else text)
    argv = ["predict", str(model.folder), str(path), "--out", str(tmp_path / "o.csv")]
    assert cli.main([*argv, "--precision", "fp32"]) == 0
    require_same(answers(tmp_path / "o.csv"), model, TEXTS)


def test_a_folder_and_a_text_file_are_named_by_their_files(
    model: Classifier, tmp_path: Path, capsys: Capture
) -> None:
    for name, text in {"a/b.txt": "dull", "a/c.txt": "fine", "d/e.txt": ""}.items():
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / name).write_text(text)
    argv = ["predict", str(model.folder), "--json", "--precision", "fp32"]
    assert cli.main([*argv, str(tmp_path / "in")]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["file"] for row in rows] == ["a/b.txt", "a/c.txt", "d/e.txt"]
    assert [row["input_label"] for row in rows] == ["a", "a", "d"]
    assert "text" not in rows[0]
    require_same(rows, model, ["dull", "fine", ""])
    assert cli.main([*argv, str(tmp_path / "in/a/c.txt")]) == 0
    require_same([json.loads(capsys.readouterr().out)], model, ["fine"])


def feed(content: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(content)))


def test_stdin_has_one_text_a_line(
    model: Classifier, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    feed("\ufefffine film\r\n\nnaïve\x85 one\nlast".encode(), monkeypatch)
    assert cli.main(["predict", str(model.folder), "-", "--precision", "fp32"]) == 0
    said = capsys.readouterr()
    rows = list(csv.DictReader(io.StringIO(said.out)))
    texts = ["fine film", "", "naïve\x85 one", "last"]
    assert [row["text"] for row in rows] == texts
    assert list(rows[0]) == ["text", "label", "confidence", *NAMES]
    require_same(rows, model, texts)


def test_no_text_no_answer(
    model: Classifier, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    feed(b"", monkeypatch)
    assert cli.main(["predict", str(model.folder), "-"]) == 0
    assert capsys.readouterr().out == "text,label,confidence,negative,positive,undecided\n"


def test_missing_texts_are_answered(model: Classifier, tmp_path: Path, capsys: Capture) -> None:
    lines = [
        '{"text": null}',
        '{"id": 2}',
        '{"text": NaN, "id": 3}',
        '{"text": 12.0, "id": {"a": 1}}',
    ]
    (tmp_path / "in.jsonl").write_text("\n".join(lines))
    argv = ["predict", str(model.folder), str(tmp_path / "in.jsonl"), "--precision", "fp32"]
    assert cli.main([*argv, "--json"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["id"] for row in rows] == [None, 2, 3, {"a": 1}]
    require_same(rows, model, ["", "", "", "12"])
    assert cli.main(argv) == 0
    assert '"{""a"": 1}"' in capsys.readouterr().out


def test_several_text_columns_are_what_the_corpus_made_of_them(
    demo_frame: pd.DataFrame, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import ulmfit

    rows = demo_frame.sample(40, random_state=3).assign(title="A title")[["title", "text"]]
    corpus = ulmfit.prepare(
        rows, tmp_path / "c", text=["title", "text"], label=None, config=ulmfit.PRESETS["tiny"]
    )
    write_tiny_classifier(tmp_path / "m", corpus)
    model = Classifier.load(tmp_path / "m")
    rows.to_csv(tmp_path / "in.csv", index=False)
    argv = ["predict", str(model.folder), str(tmp_path / "in.csv"), "--precision", "fp32"]
    argv += ["--text", "title", "text", "--out", str(tmp_path / "o.csv")]
    assert cli.main(argv) == 0
    found = [[float(row[name]) for name in NAMES] for row in answers(tmp_path / "o.csv")]
    ids = [np.asarray(corpus[row]) for row in range(len(corpus))]
    np.testing.assert_allclose(found, model.probabilities(ids, precision="fp32"), atol=2e-5)

    pairs = rows.itertuples(index=False)
    np.testing.assert_allclose(found, model.predict_proba(pairs, precision="fp32"), atol=2e-5)
    assert model.predict_frame([("a", "b")])["text"].tolist() == [("a", "b")]
    assert "xxfld ▁2" in " ".join(model.tokens(("A title", "A text")))
    with pytest.raises(UserError, match="text 1 is not a tuple of 2 texts"):
        model.predict([("a", "b"), "a"])
    assert cli.main([*argv[:3], "--text", "text"]) == 2
    assert "has learnt from documents of 2 texts, and these have 1" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("labels", "columns"),
    [
        (LabelSet("multi", ("sci-fi", "label", "confidence")),
         ["text", "label", "confidence", "sci-fi", "label_label", "label_confidence"]),
        (LabelSet("number", ("number",)), ["text", "label"]),
    ],
)  # fmt: skip
def test_many_labels_and_numbers(
    labels: LabelSet, columns: list[str], demo_corpus: Corpus, tmp_path: Path, capsys: Capture
) -> None:
    write_tiny_classifier(tmp_path / "m", demo_corpus, labels=labels)
    model = Classifier.load(tmp_path / "m")
    texts = [f"a film of {word}" for word in ("love", "war", "nothing", "hotels", "boots")]
    pd.DataFrame({"text": texts}).to_csv(tmp_path / "in.csv", index=False)
    argv = ["predict", str(model.folder), str(tmp_path / "in.csv"), "--precision", "fp32"]
    expected = model.predict(texts, precision="fp32")
    assert cli.main(argv) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert list(rows[0]) == columns
    if labels.kind == "number":
        assert [float(row["label"]) for row in rows] == pytest.approx(expected.tolist(), rel=1e-4)
    else:
        assert [row["label"] for row in rows] == [";".join(names) for names in expected]
    assert cli.main([*argv, "--json"]) == 0
    first = json.loads(capsys.readouterr().out.splitlines()[0])
    assert first["label"] == (
        pytest.approx(expected[0], rel=1e-4) if labels.kind == "number" else list(expected[0])
    )


def test_out_has_a_summary(model: Classifier, tmp_path: Path, capsys: Capture) -> None:
    write_csv(pd.DataFrame({"text": TEXTS}), tmp_path / "in.csv")
    out = tmp_path / "deep" / "out.csv"
    argv = ["predict", str(model.folder), str(tmp_path / "in.csv"), "--out", str(out), "--json"]
    assert cli.main(argv) == 0
    said = capsys.readouterr()
    summary = json.loads(said.out)
    assert (summary["texts"], summary["out"]) == (len(TEXTS), str(out))
    labels = [row["label"] for row in answers(out)]
    assert summary["labels"] == {n: labels.count(n) for n in NAMES if n in labels}
    assert said.err == f"wrote {out}\n"


@settings(
    max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(st.text(st.characters(codec="utf-8"), max_size=30), min_size=1, max_size=8))
def test_what_was_read_is_written_again(
    model: Classifier, tmp_path: Path, texts: list[str]
) -> None:
    """Whatever stands in a cell, the table that comes out is one that any reader reads."""
    with open(tmp_path / "in.jsonl", "w") as file:
        file.writelines(json.dumps({"text": "x", "note": text}) + "\n" for text in texts)
    argv = ["predict", str(model.folder), str(tmp_path / "in.jsonl")]
    assert cli.main([*argv, "--out", str(tmp_path / "out.csv")]) == 0
    assert [row["note"] for row in answers(tmp_path / "out.csv")] == texts


def test_what_json_cannot_say_is_missing(model: Classifier, tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_text('{"text": "x", "a": {"b": [NaN, 1]}, "c": 1e999}\n')
    argv = ["predict", str(model.folder), str(tmp_path / "in.jsonl")]
    assert cli.main([*argv, "--out", str(tmp_path / "out.jsonl")]) == 0
    text = (tmp_path / "out.jsonl").read_text()
    found = json.loads(text, parse_constant=lambda word: pytest.fail(f"{word} is no JSON"))
    assert found["a"] == {"b": [None, 1]} and found["c"] is None


def test_a_mistake_late_in_the_file_leaves_the_old_answers(
    model: Classifier, tmp_path: Path, capsys: Capture
) -> None:
    (tmp_path / "in.jsonl").write_text('{"text": "fine"}\n{"text": ["a", "list"]}\n')
    (tmp_path / "out.csv").write_text("old")
    argv = ["predict", str(model.folder), str(tmp_path / "in.jsonl")]
    assert cli.main([*argv, "--out", str(tmp_path / "out.csv")]) == 2
    assert "in.jsonl, row 2: expected a text, found a list" in capsys.readouterr().err
    assert (tmp_path / "out.csv").read_text() == "old"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in.jsonl", "out.csv"]


def test_texts_are_looked_for_where_those_of_the_training_stood(
    demo_corpus: Corpus, tmp_path: Path
) -> None:
    folder = write_tiny_classifier(tmp_path / "clf", demo_corpus).folder
    path = folder / "tokenizer" / "config.json"
    content = json.loads(path.read_text())
    assert content["columns"] == ["text"]
    path.write_text(json.dumps(content | {"columns": ["review"]}))
    learnt = Classifier.load(folder)
    other = ["quite another text"] * len(TEXTS)
    frames = {
        "review": pd.DataFrame({"text": other, "review": TEXTS}),
        "text": pd.DataFrame({"text": TEXTS}),
    }
    for frame in frames.values():
        write_csv(frame, tmp_path / "in.csv")
        argv = ["predict", str(folder), str(tmp_path / "in.csv"), "--precision", "fp32"]
        assert cli.main([*argv, "--out", str(tmp_path / "out.csv")]) == 0
        require_same(answers(tmp_path / "out.csv"), learnt, TEXTS)
    write_csv(frames["review"], tmp_path / "in.csv")
    assert cli.main([*argv, "--text", "text", "--out", str(tmp_path / "out.csv")]) == 0
    require_same(answers(tmp_path / "out.csv"), learnt, other)
    path.write_text(json.dumps(content | {"columns": [1]}))
    with pytest.raises(UserError, match=r"does not describe a text pipeline \(columns is"):
        Classifier.load(folder)


def test_what_fails_at_once_writes_no_header(
    model: Classifier, tmp_path: Path, capsys: Capture
) -> None:
    (tmp_path / "in.jsonl").write_text('{"text": ["a", "list"]}\n')
    assert cli.main(["predict", str(model.folder), str(tmp_path / "in.jsonl")]) == 2
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        ("predict", "no MODEL: write it before the flags"),
        ("predict {model}", "no SOURCE: write it before the flags"),
        ("predict {model} {csv} --text reviw", "no column 'reviw': did you mean 'review'?"),
        ("predict {model} {csv}", "films.csv has no column 'text'"),
        ("predict {model} nowhere.csv", "no file, folder or data set 'nowhere.csv'"),
        ("predict {lm} {csv} --text review", "holds a language_model, not a classifier"),
        ("predict {corpus} {csv} --text review", "holds a corpus, not a classifier"),
        ("predict {csv} {model}", "films.csv is a file, and MODEL, a folder, comes first"),
        ("predict nowhere {csv} --text review", "nowhere is not a folder"),
        ("predict {model} {csv} --text review --out a.xlsx", "ends in .csv or .jsonl"),
        ("predict {model} {csv} --text review --out {csv}", "is what is read"),
        ("predict {model} {csv} --text review --precision fp8", "allowed: auto, fp32, bf16, int8"),
        ("predict {one} {csv} --text review --direction backward", "no backward direction"),
        ("predict {model} {csv} --text review --direction up", "allowed: forward, backward"),
        ("predict {model} twice.csv --text review", "twice.csv has 2 columns 'score': rename all but one"),
        ("predict {model} {csv} --txt review", "did you mean '--text'?"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_line(
    argv: str,
    says: str,
    model: Classifier,
    demo_corpus: Corpus,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Capture,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("films.csv").write_text("review\nfine film\n")
    Path("twice.csv").write_text("review,score,score\nfine film,1,2\n")
    places = {"model": str(model.folder), "corpus": str(demo_corpus.folder), "csv": "films.csv"}
    if "{lm}" in argv:
        places["lm"] = str(write_tiny_lm(tmp_path / "lm", demo_corpus).folder)
    if "{one}" in argv:
        places["one"] = str(write_tiny_classifier(tmp_path / "one", demo_corpus).folder)
    assert cli.main([word.format(**places) for word in argv.split()]) == 2
    said = capsys.readouterr()
    assert said.err.startswith("ulmfit: ") and said.err.count("\n") == 1
    assert says in said.err
    assert Path("films.csv").read_text() == "review\nfine film\n"
    assert not list(tmp_path.rglob("*.part"))


def test_a_run_answers_by_its_classifier(
    demo_corpus: Corpus, tmp_path: Path, capsys: Capture
) -> None:
    inner = write_tiny_classifier(tmp_path / "run" / "3_train_classifier", demo_corpus)
    assert Classifier.load(tmp_path / "run").folder == inner.folder
    films = tmp_path / "films.csv"
    films.write_text("text\nfine film\n")
    said = []
    for folder in (tmp_path / "run", inner.folder):
        assert cli.main(["predict", str(folder), str(films)]) == 0
        assert cli.main(["explain", str(folder), "fine film"]) == 0
        said.append(capsys.readouterr().out)
    assert said[0] == said[1] != ""


def test_bytes_of_another_encoding_are_named(
    model: Classifier, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    feed(b"fine\nna\xefve\n", monkeypatch)
    assert cli.main(["predict", str(model.folder), "-"]) == 2
    assert "stdin, line 2, byte offset 7: not UTF-8" in capsys.readouterr().err


def test_memory_does_not_grow_with_the_source(
    model: Classifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ulmfit.inference.texts.WINDOW_TEXTS", 50)

    def peak(n: int) -> int:
        path = tmp_path / f"{n}.csv"
        path.write_text("text,note\n" + f"fine,{'n' * 8000}\n" * n)
        argv = ["predict", str(model.folder), str(path), "--out", str(tmp_path / "out.csv")]
        tracemalloc.start()
        assert cli.main(argv) == 0
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak

    peak(50)  # whatever is imported or remembered once
    assert peak(500) < peak(100) + 1_000_000  # the larger file has 3.2 MB more


@pytest.mark.slow
def test_a_pipe_in_a_shell(model: Classifier) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "ulmfit", "predict", str(model.folder), "-"],
        cwd=ROOT,
        input=b"fine film\ndull film\n",
        capture_output=True,
        check=True,
    )
    lines = done.stdout.decode().split("\n")
    assert lines[0] == "text,label,confidence,negative,positive,undecided"
    assert [line.split(",")[0] for line in lines[1:]] == ["fine film", "dull film", ""]
