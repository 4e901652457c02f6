"""Every finding of `check` on data that was made to have it, and none on data that was not."""

from __future__ import annotations

import json
import random
from collections import Counter
from pathlib import Path

import pandas as pd
import pytest

from ulmfit import cli
from ulmfit.config import TextConfig
from ulmfit.errors import UserError
from ulmfit.text import survey
from ulmfit.text.check import check
from ulmfit.text.findings import CheckReport, Finding
from ulmfit.text.language import looks_like

GERMAN = (
    "Das ist ein sehr schöner Film, und ich habe ihn mit meiner Frau im Kino gesehen. Wir waren beide nicht "
    "sicher, ob er uns gefallen würde, aber am Ende sind wir zufrieden nach Hause gegangen, weil alles stimmt."
)
ENGLISH = (
    "This is a very fine film, and I have seen it with my wife at the cinema. We were both not sure that it would "
    "please us, but in the end we went home content, because there is nothing in it that we would want to change."
)


def frame(train: list[tuple[str, str]], test: list[tuple[str, str]] = ()) -> pd.DataFrame:
    rows = [(*row, "train") for row in train] + [(*row, "test") for row in test]
    return pd.DataFrame(rows, columns=["text", "label", "split"])


def clean(n: int = 60) -> list[tuple[str, str]]:
    return [(f"{ENGLISH} It was number {i}.", ("pos", "neg")[i % 2]) for i in range(n)]


def report_on(data: pd.DataFrame | list[str], config: TextConfig = TextConfig()) -> CheckReport:
    return check(data, split=None if isinstance(data, list) else "split", config=config)


def one(report: CheckReport, what: str) -> Finding:
    """Return the finding of that kind, which has to be the only one."""
    found = [row for row in report.rows if row.what == what]
    assert len(found) == 1, f"{what}: {report}"
    return found[0]


def test_nothing_is_wrong_with_clean_data() -> None:
    report = report_on(frame(clean(), [(text + " Twice.", label) for text, label in clean(10)]))
    assert {row.level for row in report.rows} == {"ok"}, str(report)
    assert one(report, "documents").detail == "70 (60 train, 10 test)"


def test_empty_texts() -> None:
    report = report_on(frame([*clean(), ("  ", "pos"), (None, "neg")]))
    assert "2 empty texts" in one(report, "reading").detail
    assert one(report, "documents").detail.startswith("60 ")
    with pytest.raises(UserError, match="2 empty texts"):
        report_on(frame([*clean(), ("  ", "pos"), (None, "neg")]), TextConfig(on_empty="error"))


def test_repeated_texts_and_overlap() -> None:
    rows = clean(30)
    report = report_on(
        frame([*rows, rows[3], rows[3], rows[8]], [rows[0], rows[1], ("Quite new, it is.", "pos")])
    )
    repeated = one(report, "repeated texts")
    assert (
        repeated.detail
        == "3 of 33 train texts repeat another (row 31 = row 4, row 32 = row 4, row 33 = row 9)"
    )
    overlap = one(report, "overlap")
    assert (overlap.level, overlap.detail) == (
        "warn",
        "2 of 3 different test texts are also in train",
    )


def test_contradicting_labels() -> None:
    rows = clean(30)
    (first, one_label), (second, other) = rows[3], rows[4]
    assert one_label != other
    twice = [*rows, (first, one_label), (first, other), (second, one_label), (first, other)]
    found = one(report_on(frame(twice)), "contradicting labels")
    assert (found.level, found.detail) == (
        "warn",
        "3 train texts stand there with another label, too (row 32 and row 4, row 33 and row 5, row 34 and row 4)",
    )


def test_what_contradicts_has_labels_and_other_ones() -> None:
    rows = pd.DataFrame(
        {"text": ["fine"] * 3 + ["so"] * 2, "label": [None, "pos", "neg", "1", "1.0"]}
    )
    found = one(check(rows), "contradicting labels")
    assert found.detail.startswith("1 train texts") and found.detail.endswith("(row 3 and row 2)")


def test_one_label_of_several_can_be_learnt() -> None:
    rows = pd.DataFrame({"text": [text for text, _ in clean()], "label": ["spam", ""] * 30})
    assert not check(rows, config=TextConfig(label_delim=";")).errors()


def test_a_repeated_text_is_named_by_where_it_stands(tmp_path: Path) -> None:
    """By rows of its table, those without text counted, and by the table where there are several."""
    (tmp_path / "a.csv").write_text("text,label\n,pos\nfine,pos\n,neg\nfine,pos\ndull,neg\n")
    said = one(check(tmp_path / "a.csv"), "repeated texts").detail
    assert said.endswith("(row 4 = row 2)")
    for name in ("pos/1.txt", "pos/2.txt", "neg/1.txt"):
        path = tmp_path / "train" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("fine" if name.startswith("pos") else "dull")
    said = one(check(tmp_path / "train"), "repeated texts").detail
    assert said.endswith("(pos/2.txt = pos/1.txt)")
    both = {"train": tmp_path / "train", "test": tmp_path / "a.csv"}
    said = [row.detail for row in check(both).rows if row.what == "repeated texts"]
    assert said[0].endswith("(train/pos/2.txt = train/pos/1.txt)")
    assert said[1].endswith("(a.csv row 4 = a.csv row 2)")


def test_labels() -> None:
    rows = [(text, "pos") for text, _ in clean(300)] + [
        ("Dull.", "neg"),
        ("Bad.", "Neg "),
        ("Poor.", "neg"),
    ]
    report = report_on(frame(rows, [("It was fine.", "neutral"), ("Dull, that.", "neg")]))
    assert one(report, "labels").level == "note"
    assert one(report, "labels").detail == "3 in train: 'pos' 300, 'neg' 2, 'Neg' 1"
    assert one(report, "rare labels").detail.endswith("'neg', 'Neg'")
    assert one(report, "label spelling").detail == "'Neg' / 'neg'"
    assert one(report, "unseen labels").detail == "in test but not in train: 'neutral'"


def test_columns_that_are_hardly_labels_or_texts() -> None:
    dates = [(text, f"2026-01-{1 + i // 2:02}") for i, (text, _) in enumerate(clean(40))]
    found = one(report_on(frame(dates)), "labels")
    assert (found.level, found.action[:35]) == ("warn", "is this the column of the labels? f")
    names = [(f"n{i} b", label) for i, (_, label) in enumerate(clean(40))]
    found = one(report_on(frame(names)), "length")
    assert (found.level, found.action) == ("warn", "is this the column of the texts?")


def test_one_label_cannot_be_learnt() -> None:
    report = report_on(frame([(text, "pos") for text, _ in clean()]))
    assert [row.what for row in report.errors()] == ["labels"]


def test_unlabelled_texts_are_fine_for_a_language_model() -> None:
    report = report_on([text for text, _ in clean()])
    assert not report.errors()
    assert not [row for row in report.rows if "label" in row.what]


def test_lengths() -> None:
    # Every document begins with xxbos.
    report = report_on([*["a b c"] * 9, "word " * 1500], TextConfig(rules="none"))
    assert one(report, "length").level == "note"
    assert "median 4 tokens" in one(report, "length").detail
    assert "longest 1,501; 1 of 10 longer than 1,400" in one(report, "length").detail
    assert one(check(["word " * 1500], window=None), "length").level == "ok"


@pytest.mark.parametrize(("preset", "window"), [("laptop", 360), ("fastbook", 1440)])
def test_the_verb_knows_how_much_the_preset_pools(
    preset: str, window: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "long.csv").write_text(
        "text,label\n" + f"{'word ' * 1500},a\n" * 9, encoding="utf-8"
    )
    cli.main(["check", str(tmp_path / "long.csv"), "--preset", preset, "--rules", "none"])
    assert f"9 of 9 longer than {window:,}" in capsys.readouterr().out


def test_unknown_tokens() -> None:
    train = ["alpha beta"] * 3 + ["gamma"]
    rows = [(text, "ab"[i % 2]) for i, text in enumerate(train)]
    report = report_on(frame(rows, [("alpha gamma delta alpha", "a")]), TextConfig(rules="none"))
    found = one(report, "unknown tokens")
    # Of xxbos and four words, gamma is too rare and delta is new.
    assert (found.level, found.detail) == ("warn", "40.0% of test, such as 'gamma', 'delta'")
    other = TextConfig(rules="none", vocab_splits=("test",))  # where alpha stands twice, too rare
    report = report_on(frame(rows, [("alpha gamma delta alpha", "a")]), other)
    assert one(report, "unknown tokens").detail.startswith("80.0% of test")


def test_markup_control_and_long_tokens() -> None:
    texts = [f"{ENGLISH} {i}" for i in range(20)]
    texts += [
        "A line<br />break",
        "An <i>odd</i> film",
        "typed xxbos here",
        "axxbosb is a word",
        "x" * 99,
    ]
    report = report_on(texts, TextConfig(rules="none"))
    assert one(report, "HTML").detail == "tags such as <i> in 1 documents"
    assert "typed in 1 documents" in one(report, "control tokens").detail
    assert "1 of over 50 characters" in one(report, "long tokens").detail


def test_language() -> None:
    report = report_on([GERMAN] * 5)
    assert one(report, "language").detail == "looks like German, not 'en'"
    assert not [
        r for r in report_on([GERMAN] * 5, TextConfig(lang="de")).rows if r.what == "language"
    ]


@pytest.mark.parametrize(
    ("texts", "expected", "found"),
    [
        ([ENGLISH], "en", None),
        ([ENGLISH], "de", "en"),
        ([ENGLISH], "xx", "en"),
        ([GERMAN], "en", "de"),
        (
            [
                "Это очень хороший фильм, и я посмотрел его вместе с женой, но мы не были в этом уверены. "
            ]
            * 5,
            "en",
            "ru",
        ),
        (["これはとても良い映画でした。妻と一緒に見ました。"] * 3, "en", "ja"),
        (["这是一部很好的电影，我和妻子一起看的。"] * 3, "en", "zh"),
        (["이것은 아주 좋은 영화였다. 아내와 함께 보았다."] * 3, "ko", None),
        (["zug zug"], "en", None),
        ([], "en", None),
    ],
)
def test_looks_like(texts: list[str], expected: str, found: str | None) -> None:
    assert looks_like(texts, expected) == found


def test_a_column_of_labels_that_nobody_has_is_named() -> None:
    rows = pd.DataFrame({"text": [text for text, _ in clean()], "toxic": [0, 1] * 30, "zero": 0})
    report = check(rows, label=["toxic", "zero"])
    assert one(report, "labels").detail == "2 in train: 'toxic' 30, 'zero' 0"
    assert one(report, "rare labels").detail == "fewer than 10 train documents: 'zero'"
    tested = pd.concat([rows.assign(split="train"), rows.assign(zero=1, split="test")])
    found = one(check(tested, label=["toxic", "zero"], split="split"), "unseen labels")
    assert found.detail == "in test but not in train: 'zero'"


def test_sample_is_bounded_and_fair() -> None:
    """Of 10 times as many documents as fit, every tenth of the stream keeps about its share."""
    part, chance = survey.SplitSurvey(), random.Random(1)
    n = 10 * survey.SAMPLE
    for i in range(n):
        part.n_documents += 1
        survey._add_sample(part, str(i), chance)
    assert len(set(part.sample)) == survey.SAMPLE
    shares = Counter(int(text) * 10 // n for text in part.sample)
    assert (
        min(shares.values()) > 0.7 * survey.SAMPLE / 10
    )  # more than four standard deviations below the mean


def test_the_three_faces_of_a_report() -> None:
    report = report_on(frame([("<b>&</b>", "pos"), ("Dull.", "neg")]))
    assert json.loads(json.dumps(report.to_json()))["findings"][0]["what"] == "documents"
    assert len(str(report).splitlines()) == 1 + len(report.rows)
    assert "&lt;b&gt;" in report._repr_html_()
    assert "<b>" not in report._repr_html_()


@pytest.mark.slow
def test_overlap_of_trec(real_data: Path) -> None:
    """Agree with plain sets of texts on a real corpus, and take English for English."""
    from ulmfit.text.sources import open_source

    source = open_source("trec", data_dir=real_data)
    texts: dict[str, set[str]] = {"train": set(), "test": set()}
    for batch in source.batches():
        for text, split in zip(batch.fields[0], batch.splits):
            texts[split].add(text)
    shared = len(texts["train"] & texts["test"])
    report = check("trec", data_dir=real_data)
    assert one(report, "overlap").detail.startswith(f"{shared} of {len(texts['test'])} ")
    assert not [row for row in report.rows if row.what == "language"]
