"""What the verbs before and beside training do: flags in, one public function called, its result on stdout.

To add a verb: its flags in verb_flags.py, a function here, a line in `cli.VERBS`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ulmfit.config import TextConfig
from ulmfit.errors import UserError
from ulmfit.flags import parse
from ulmfit.output import print_result, say, say_written, written_at
from ulmfit.progress import Progress
from ulmfit.verb_flags import (
    CheckFlags,
    ConvertFlags,
    DataFlags,
    DoctorFlags,
    GenerateFlags,
    PrepareFlags,
)


def prepare(argv: Sequence[str]) -> None:
    """Write a corpus folder, or show every step that a text goes through."""
    flags = parse(PrepareFlags, "prepare", argv)
    default = PrepareFlags.of_preset(flags.preset).config
    if flags.show:
        config, _ = _as_read_by(flags, default=default)
        return _show(flags.show, config, is_json=flags.json)
    flags.require_source("ulmfit prepare reviews.csv --out runs/reviews/corpus")
    if flags.out is None:
        raise UserError(
            "prepare: no --out: name the folder to write, such as --out runs/demo/corpus"
        )
    from ulmfit.text.prepare import prepare as prepare_corpus

    config, words = _as_read_by(flags, default=default)
    before = written_at(flags.out)
    with contextlib.closing(Progress()) as progress:
        corpus = prepare_corpus(
            flags.documents(),
            flags.out,
            text=flags.text_columns(),
            label=flags.label_columns(),
            split=flags.split or None,
            config=config,
            data_dir=flags.data_dir,
            columns=flags.columns or None,
            n_workers=flags.workers,
            progress=lambda documents, _tokens: progress("documents", documents),
            restart=flags.restart,
            known=words if flags.vocab == "union" else (),
        )
    say_written(flags.out, before=before)
    print_result(corpus.summary() if flags.json else str(corpus))


def check(argv: Sequence[str]) -> None:
    """Report on a data set; what must be repaired before training makes the exit code 2."""
    flags = parse(CheckFlags, "check", argv)
    flags.require_source("ulmfit check reviews.csv")
    from ulmfit.text.check import check as check_source
    from ulmfit.training.presets import CLASSIFIER_PRESETS

    report = check_source(
        flags.documents(),
        text=flags.text_columns(),
        label=flags.label_columns(),
        split=flags.split or None,
        config=flags.config,
        data_dir=flags.data_dir,
        columns=flags.columns or None,
        window=CLASSIFIER_PRESETS[flags.preset].max_len,
    )
    print_result(report.to_json() if flags.json else str(report))
    if errors := report.errors():
        raise UserError(f"{report.name}: {errors[0].what}: {errors[0].detail}; {errors[0].action}")


def generate(argv: Sequence[str]) -> None:
    """Print what a language model writes after a prompt."""
    flags = parse(GenerateFlags, "generate", argv)
    if not flags.lm:
        raise UserError('no LM: write it before the flags, as in `ulmfit generate LM "prompt"`')
    from ulmfit.inference.pair import open_one

    text = open_one(flags.lm).generate(
        flags.prompt,
        flags.n_tokens,
        temperature=flags.temperature,
        top_k=flags.top_k,
        top_p=flags.top_p,
        min_p=flags.min_p,
        seed=flags.seed,
        stop_at_document=flags.stop_at_document,
    )
    settings = {name: value for name, value in asdict(flags).items() if name != "json"}
    print_result({**settings, "text": text} if flags.json else text)


def convert(argv: Sequence[str]) -> None:
    """Write the folder of a language model or classifier from foreign weights, or fastai's files from such a folder."""
    flags = parse(ConvertFlags, "convert", argv)
    usage = "`ulmfit convert LM.pth --vocab VOCAB.pkl --out FOLDER`"
    if not flags.source:
        raise UserError(f"no SOURCE: write it before the flags, as in {usage}")
    if flags.out is None:
        raise UserError(f"convert: no --out: name the folder to write, as in {usage}")
    if flags.to not in ("ulmfit", "fastai", "int8", "fp16"):
        raise UserError(f"--to is {flags.to!r}; allowed: ulmfit, fastai, int8, fp16")
    if flags.to != "ulmfit" and (flags.vocab or flags.direction):
        raise UserError(
            f"--to {flags.to} takes --out alone: the folder knows vocabulary and direction"
        )
    if flags.to == "fastai":
        return _export(flags, flags.out)
    if flags.to != "ulmfit":
        return _compact(flags, flags.out)
    from ulmfit.inference.classifier import Classifier
    from ulmfit.inference.language_model import LanguageModel
    from ulmfit.models.convert import convert as convert_lm
    from ulmfit.models.convert import convert_classifier, holds_classifier
    from ulmfit.models.manifest import to_json

    chosen: dict[str, Any] = {"vocab": flags.vocab, "direction": flags.direction or None}
    if holds_classifier(flags.source, **chosen):
        parts = convert_classifier(flags.source, flags.out, **chosen)
        shown = str(Classifier(parts))
    else:
        parts = convert_lm(flags.source, flags.out, **chosen)
        shown = str(LanguageModel(parts))
    say(f"wrote {flags.out}")
    print_result(to_json(parts.manifest) if flags.json else shown)


def _export(flags: ConvertFlags, out: Path) -> None:
    """Write the files that stock fastai loads."""
    from ulmfit.models.artefact import load_language_model
    from ulmfit.models.convert import export_fastai

    files = export_fastai(load_language_model(flags.source), out)
    paths = {name: str(path) for name, path in asdict(files).items()}
    print_result(paths if flags.json else "\n".join(paths.values()))


def _compact(flags: ConvertFlags, out: Path) -> None:
    """Write a model's folder again in fewer bytes."""
    import ulmfit
    from ulmfit.models.compact import compact

    before = written_at(out)
    made = ulmfit.load(compact(flags.source, out, storage=flags.to))
    say_written(out, before=before)
    print_result({"folder": str(out)} if flags.json else str(made))


def doctor(argv: Sequence[str]) -> None:
    """Report on the installation and the machine."""
    flags = parse(DoctorFlags, "doctor", argv)
    from ulmfit.doctor import examine

    health = examine(data_dir=flags.data_dir)
    print_result(health.to_json() if flags.json else str(health))


def data(argv: Sequence[str]) -> None:
    """List the registered data sets and the pretrained language models."""
    flags = parse(DataFlags, "data", argv)
    from ulmfit.models.catalogue import describe as describe_models
    from ulmfit.text.datasets import describe
    from ulmfit.text.locate import data_folder, is_present

    rows = [
        {
            "name": row.name,
            "title": row.title,
            "licence": row.licence,
            "size_mb": round(row.size_mb, 1),
            "present": is_present(row.name, flags.data_dir),
        }
        for row in describe()
    ]
    models = [asdict(row) for row in describe_models(flags.data_dir)]
    folder = str(data_folder(flags.data_dir))
    if flags.json:
        return print_result({"data_dir": folder, "data_sets": rows, "language_models": models})
    titled = [
        row
        | {
            "title": f"{row['origin']}, {'forward and backward' if row['direction'] == 'both' else row['direction']}"
        }
        for row in models
    ]
    lines = [*_lines(rows), "language models:", *_lines(titled), f"data folder: {folder}"]
    print_result("\n".join(lines))


def _lines(rows: list[dict[str, Any]]) -> list[str]:
    """Say of each data set or model where it is and what it is."""
    wide = max(len(row["name"]) for row in rows)
    lines = []
    for row in rows:
        size = "" if not row["size_mb"] else f"{row['size_mb']:,.1f} MB"
        state = "here" if row["present"] else "to fetch"
        lines.append(
            f"{row['name']:{wide}}  {state:8}  {size:>8}  {row['title']}; licence: {row['licence']}"
        )
    return lines


def _as_read_by(flags: PrepareFlags, *, default: TextConfig) -> tuple[TextConfig, Sequence[str]]:
    """Take tokenizer and rules from a language model, if one is named, and the words that it knows."""
    if not flags.lm:
        return flags.config, ()
    from ulmfit.inference.pair import open_lm
    from ulmfit.recipe import config_for

    opened = open_lm(flags.lm, data_dir=flags.data_dir)
    return config_for(opened, flags.config, default=default), opened.vocab


def _show(text: str, config: TextConfig, *, is_json: bool) -> None:
    """Print the text after every rule, and at last its tokens."""
    from ulmfit.text.tokenizers import build_tokenizer

    steps = build_tokenizer(config).steps(text)
    if is_json:
        print_result([{"rule": rule, "text": after} for rule, after in steps])
        return
    wide = max(len(rule) for rule, _ in steps)
    shown = ((rule, after.replace("\n", "\\n")) for rule, after in steps)
    print_result("\n".join(f"{rule:{wide}}  {after}" for rule, after in shown))
