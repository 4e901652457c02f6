"""Folders and files of other ULMFiT programs -> artefact folders, and ours -> files that stock fastai loads.

The only place where foreign files come in. `foreign.py` reads what is in them; here they are found and named.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from ulmfit.config import TextConfig
from ulmfit.errors import UserError
from ulmfit.files import atomic_file
from ulmfit.models.artefact import LanguageModelParts, TextPipeline, save_language_model
from ulmfit.models.classifier_arch import PoolingConfig
from ulmfit.models.classifier_artefact import ClassifierParts, save_classifier
from ulmfit.models.foreign import read_foreign, read_tensors
from ulmfit.models.foreign_classifier import is_classifier, read_foreign_classifier
from ulmfit.models.manifest import Provenance, require_no_stage
from ulmfit.models.pickles import write_strings
from ulmfit.models.weights import DECODER_BIAS, DECODER_WEIGHT, EMBEDDING
from ulmfit.text.lm_stream import is_backward
from ulmfit.text.pieces import SubwordSplitter
from ulmfit.text.vocab import FAKE, Vocab

# Where the parts lie, the first match counts: MultiFiT; floleuerer's fastai_ulmfit; fastai's own archives.
_WEIGHTS = ("lm_best.pth", "*_model.pth", "*.pth", "*.h5")
_VOCABS = ("itos.pkl", "*vocab.pkl", "*itos*.pkl", "*.pkl", "vocab.json")
_SUBWORDS = ("spm.model", "spm/spm.model", "*.model")
_LSTM_PARTS = ("weight_ih", "bias_ih", "bias_hh")


@dataclass(frozen=True)
class ForeignFiles:
    """The files that make up a language model of others."""

    weights: Path
    vocab: Path
    subword_model: Path | None = None


@dataclass(frozen=True)
class FastaiFiles:
    """What stock fastai loads: `LMLearner.load`, `load_encoder`, and `load_pretrained(model, vocab)`."""

    model: Path
    encoder: Path
    vocab: Path


def convert(
    source: str | Path,
    out: str | Path,
    *,
    vocab: str | Path | None = None,
    direction: str | None = None,
    config: TextConfig | None = None,
    origin: str | None = None,
) -> LanguageModelParts:
    """Turn weights of fastai, MultiFiT or fastai_ulmfit into a language model's folder.

    `source` is a .pth or .h5 file with `vocab` beside it, or a folder. Without `direction`, a path that says
    `bwd` is backward. Without `config`, text is split into words as fastai does, or by the
    folder's spm.model if that made the vocabulary.
    """
    require_no_stage(out)
    direction = direction or guess_direction(Path(source))
    is_backward(direction)  # refuses what is neither
    files = find_files(Path(source), vocab=vocab, direction=direction)
    model = read_foreign(files.weights, files.vocab)
    provenance = Provenance(
        origin=origin or f"converted from {files.weights.name}",
        direction=direction,
        notes=model.notes,
    )
    return save_language_model(
        out,
        model.weights,
        arch=model.arch,
        vocab=model.vocab,
        text=TextPipeline.build(config or _text_config(files, model.vocab)),
        provenance=provenance,
    )


def holds_classifier(
    source: str | Path, *, vocab: str | Path | None = None, direction: str | None = None
) -> bool:
    """Tell a classifier's weights from a language model's."""
    direction = direction or guess_direction(Path(source))
    files = find_files(Path(source), vocab=vocab, direction=direction)
    return files.weights.suffix == ".pth" and is_classifier(read_tensors(files.weights))


def convert_classifier(
    source: str | Path,
    out: str | Path,
    *,
    vocab: str | Path | None = None,
    labels: Sequence[str] | None = None,
    label_kind: str | None = None,
    direction: str | None = None,
    config: TextConfig | None = None,
    pooling: PoolingConfig | None = None,
    origin: str | None = None,
) -> ClassifierParts:
    """Turn a classifier that `text_classifier_learner(...).save` wrote into a classifier's folder.

    `vocab` is a file of `learn.dls.vocab`, tokens and labels, unless `labels` are given. `pooling` is for a
    learner with a seq_len or max_len of its own, which its file does not tell. The rest is as for `convert`.
    """
    require_no_stage(out)
    direction = direction or guess_direction(Path(source))
    is_backward(direction)  # refuses what is neither
    files = find_files(Path(source), vocab=vocab, direction=direction)
    model = read_foreign_classifier(
        files.weights, files.vocab, labels=labels, label_kind=label_kind
    )
    provenance = Provenance(
        origin=origin or f"converted from {files.weights.name}",
        direction=direction,
        notes=model.notes,
    )
    return save_classifier(
        out,
        {direction: model.weights},
        arch=replace(model.arch, pooling=pooling) if pooling else model.arch,
        vocab=model.vocab,
        text=TextPipeline.build(config or _text_config(files, model.vocab)),
        labels=model.labels,
        provenance=provenance,
    )


def _text_config(files: ForeignFiles, vocab: Vocab) -> TextConfig:
    """Split text into words, or by the SentencePiece model that made the vocabulary."""
    is_subword = files.subword_model is not None and _made(files.subword_model, vocab)
    return TextConfig(
        tokenizer="subword" if is_subword else "word",
        sp_model=str(files.subword_model) if is_subword else None,
        max_vocab=max(16, len(vocab)),
        fake_tokens=FAKE in tuple(vocab),
    )


def _made(subword_model: Path, vocab: Vocab) -> bool:
    """Tell whether a vocabulary comes from a SentencePiece model that lies near: most of it are then its pieces."""
    pieces = set(SubwordSplitter(subword_model).vocabulary())
    return 2 * sum(token in pieces for token in vocab) > len(vocab)


def guess_direction(path: Path) -> str:
    """Read the direction off a path: the published backward models say so in their names."""
    name = "/".join(path.parts[-2:]).casefold()
    return "backward" if "bwd" in name or "backward" in name else "forward"


def find_files(
    source: Path, *, vocab: str | Path | None = None, direction: str = "forward"
) -> ForeignFiles:
    """Find weights, vocabulary and, if there is one, the SentencePiece model."""
    if not source.exists():
        raise UserError(f"there is no {source}: give a .pth or .h5 file, or the folder of a model")
    folder = source if source.is_dir() else source.parent
    inner = folder / ("bwd" if direction == "backward" else "fwd")
    if source.is_dir() and inner.is_dir():
        folder = inner
    weights = _one(_WEIGHTS, [folder]) if source.is_dir() else source
    if weights is None:
        raise UserError(f"{folder} holds no weights: expected one of {', '.join(_WEIGHTS)}")
    around = [
        folder,
        folder.parent,
    ]  # fastai_ulmfit and MultiFiT keep what two models share above them
    found = Path(vocab) if vocab else _one(_VOCABS, around[:1]) or _one(_VOCABS[:1], around)
    if found is None:
        raise UserError(
            f"no vocabulary lies beside {weights}: give the file of its tokens with --vocab"
        )
    is_own = source.is_dir() or folder.name in ("fwd", "bwd")
    return ForeignFiles(weights, found, _one(_SUBWORDS, around[: 1 + is_own]))


def _one(patterns: Iterable[str], folders: Iterable[Path]) -> Path | None:
    """Return the file that the first matching pattern finds, and refuse to choose among several."""
    for folder in folders:
        for pattern in patterns:
            found = sorted(p for p in folder.glob(pattern) if not p.name.startswith("."))
            if len(found) > 1:
                names = ", ".join(path.name for path in found[:5])
                raise UserError(
                    f"{folder} holds several candidates ({names}): name one, as in `ulmfit convert FILE --vocab FILE`"
                )
            if found:
                return found[0]
    return None


def export_fastai(lm: LanguageModelParts, out: str | Path) -> FastaiFiles:
    """Write lm_model.pth, lm_encoder.pth and lm_vocab.pkl into the folder `out`, for stock fastai 2.

    fastai's vocabularies are pickles; this one is written byte by byte and holds a list of strings.
    """
    out = Path(out)
    if lm.arch.backbone != "awd_lstm":
        raise UserError(
            f"{lm.folder} is a {lm.arch.backbone}, and fastai 2 has no such model: only awd_lstm can be exported"
        )
    files = FastaiFiles(out / "lm_model.pth", out / "lm_encoder.pth", out / "lm_vocab.pkl")
    encoder = OrderedDict(_fastai_encoder(lm))
    model = OrderedDict((f"0.{name}", tensor) for name, tensor in encoder.items())
    embedding = lm.weights[EMBEDDING]
    model["1.decoder.weight"] = lm.weights.get(DECODER_WEIGHT, embedding)
    if lm.arch.out_bias:
        model["1.decoder.bias"] = lm.weights[DECODER_BIAS]
    for path, tensors in ((files.encoder, encoder), (files.model, model)):
        with atomic_file(path) as part:
            torch.save(tensors, part)
    write_strings(files.vocab, lm.vocab)
    return files


def _fastai_encoder(lm: LanguageModelParts) -> Iterator[tuple[str, Tensor]]:
    """Yield the encoder's tensors under fastai's names, in its order: `load_pretrained` goes by position."""
    embedding = lm.weights[EMBEDDING]
    yield "encoder.weight", embedding
    yield "encoder_dp.emb.weight", embedding
    for depth in range(lm.arch.n_layers):
        own = f"encoder.rnns.{depth}"
        yield f"rnns.{depth}.weight_hh_l0_raw", lm.weights[f"{own}.weight_hh"]
        for part in _LSTM_PARTS:
            yield f"rnns.{depth}.module.{part}_l0", lm.weights[f"{own}.{part}"]
