"""Weights and vocabularies of fastai v0.7, v1 and v2, MultiFiT and their kin -> our names and our order.

In: a torch file and a list of tokens. Out: a `ForeignModel` whose vocabulary begins with our control tokens.
Tensors are read with torch's `weights_only`, vocabularies by `pickles.read_strings`: no code of the file runs.
"""

from __future__ import annotations

import re
import warnings
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ulmfit.errors import UserError
from ulmfit.files import read_json
from ulmfit.models.arch import ArchConfig
from ulmfit.models.pickles import read_strings
from ulmfit.models.transplant import ROWS_PER_TOKEN, take_rows
from ulmfit.models.weights import DECODER_BIAS, DECODER_WEIGHT, EMBEDDING, infer_arch, require_fit
from ulmfit.text.pieces import WORD_START
from ulmfit.text.rules import BOS, CONTROL_TOKENS, FLD, PAD, REP, UNK, UP, WREP
from ulmfit.text.vocab import FAKE, Vocab

# How fastai v0.7 wrote our control tokens. It had no xxeos, and no xxmaj: it did not mark capitals.
OLD_MARKERS = {
    UNK: "_unk_", PAD: "_pad_", BOS: "xbos", FLD: "xfld", REP: "tk_rep", WREP: "tk_wrep", UP: "t_up",
}  # fmt: skip
_NAMES = (
    (re.compile(r"(?:0\.)?encoder\.weight"), EMBEDDING),
    (re.compile(r"(?:0\.)?(?:encoder_dp\.emb|encoder_with_dropout\.embed)\.weight"), ""),  # a copy
    (
        re.compile(
            r"(?:0\.)?rnns\.(\d+)\.(?:module\.)?(weight_ih|weight_hh|bias_ih|bias_hh)_l0(?:_raw)?"
        ),
        r"encoder.rnns.\1.\2",
    ),
    (
        re.compile(
            r"(?:0\.)?rnns\.(\d+)\.(?:layers\.0\.)?linear\.(?:module\.)?(weight|bias)(?:_raw)?"
        ),
        r"encoder.rnns.\1.\2",
    ),
    (re.compile(r"1\.decoder\.(weight|bias)"), r"decoder.\1"),
)
# The types in a saved optimiser's state. None is built: `_Skipped` takes the place of each.
_OPTIMISER_TYPES = (
    "fastcore.foundation.L",
    "numpy.dtype",
    "numpy.core.multiarray.scalar",
    "numpy._core.multiarray.scalar",
)


class _Skipped:
    """Stand for a value that nobody reads."""

    def __new__(cls, *_: object) -> _Skipped:
        return object.__new__(cls)

    def __setstate__(self, _: object) -> None: ...


@dataclass(frozen=True, eq=False)
class ForeignModel:
    """A language model of others in our terms."""

    weights: dict[str, Tensor]
    vocab: Vocab
    arch: ArchConfig
    notes: tuple[str, ...]
    """What was renamed, filled in or left out."""


def read_foreign(weights: str | Path, vocab: str | Path) -> ForeignModel:
    """Read a .pth or .h5 file and the vocabulary that belongs to it."""
    named = own_names(read_tensors(weights), where=str(weights))
    notes = _settle_decoder(named)
    own = {name: tensor.detach().float().contiguous() for name, tensor in named.items()}
    tokens = read_tokens(vocab)
    arch = infer_arch(own)
    require_fit(own, arch, n_vocab=len(tokens), where=f"{weights} with {vocab}")
    require_numbers(own, where=str(weights))
    ordered = order_tokens(tokens)
    rows = torch.tensor(ordered.rows)
    moved = {
        name: take_rows(tensor, rows, n_vocab=len(tokens)) if name in ROWS_PER_TOKEN else tensor
        for name, tensor in own.items()
    }
    return ForeignModel(moved, Vocab(ordered.tokens), arch, (*notes, *ordered.notes))


def read_tensors(path: str | Path) -> dict[str, Tensor]:
    """Read the tensors of a torch file; what an optimiser left there is passed over."""
    if not Path(path).is_file():
        raise UserError(f"there are no weights {path}: give a .pth or .h5 file of fastai")
    stand_ins: list[Any] = [(_Skipped, name) for name in _OPTIMISER_TYPES]
    try:
        _require_uncompressed(Path(path))
        with torch.serialization.safe_globals(stand_ins), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's, about pickles that are refused right after
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        # A file that is not torch's raises whatever its bytes happen to mean.
        reason = re.split(r"\n|\. ", str(error).strip())[0][:120]
        raise UserError(
            f"{path} is not a file of tensors alone ({type(error).__name__}: {reason}): it is refused; "
            "save the weights with learn.save(NAME), not learn.export()"
        ) from error
    if isinstance(content, Mapping) and isinstance(content.get("model"), Mapping):
        content = content["model"]
    if not isinstance(content, Mapping) or not all(
        isinstance(name, str) and isinstance(tensor, Tensor) for name, tensor in content.items()
    ):
        raise UserError(f"{path} holds no named tensors: give a file that learn.save(NAME) wrote")
    for name, tensor in content.items():
        _require_stored(tensor, where=f"{path}: {name}")
    return {**content}


def read_tokens(path: str | Path) -> list[str]:
    """Read a vocabulary: a pickled list of strings, or a JSON list."""
    tokens = read_json(Path(path)) if Path(path).suffix == ".json" else read_strings(path)
    if not isinstance(tokens, list) or not all(isinstance(token, str) for token in tokens):
        raise UserError(f"{path} is not a list of tokens")
    return tokens


def own_names(weights: Mapping[str, Tensor], *, where: str) -> dict[str, Tensor]:
    """Give tensors our names. Of a weight with dropout the raw one counts, and copies are left out."""
    own = {}
    for foreign in sorted(weights, key=lambda name: name.endswith("_raw")):  # the raw one wins
        name = _own_name(foreign)
        if name is None:
            kind = "a classifier's" if _is_classifier(weights) else "no known language model's"
            raise UserError(
                f"{where}: the tensor {foreign!r} is {kind}: "
                "give the weights that LMLearner.save or save_encoder wrote"
            )
        own[name] = weights[foreign]
    own.pop("", None)
    return dict(sorted(own.items()))


def _own_name(foreign: str) -> str | None:
    """Translate a name: empty for a copy of another tensor, None if it is unknown."""
    name = foreign.removeprefix("module.")
    for pattern, own in _NAMES:
        if match := pattern.fullmatch(name):
            return match.expand(own)
    return None


def _is_classifier(weights: Mapping[str, Tensor]) -> bool:
    return any(name.startswith(("0.module.", "1.layers.")) for name in weights)


def _settle_decoder(own: dict[str, Tensor]) -> list[str]:
    """Leave out a decoder that is the embedding once more; give an encoder alone a bias of zeros."""
    if EMBEDDING in own and not {DECODER_WEIGHT, DECODER_BIAS} & set(own):
        own[DECODER_BIAS] = own[EMBEDDING].new_zeros(own[EMBEDDING].shape[:1])
        return ["an encoder alone: the decoder's bias begins at zero"]
    if DECODER_WEIGHT in own and torch.equal(
        own[DECODER_WEIGHT], own.get(EMBEDDING, torch.empty(0))
    ):
        del own[DECODER_WEIGHT]
    return []


@dataclass(frozen=True)
class OrderedTokens:
    """A vocabulary that begins with the control tokens."""

    tokens: tuple[str, ...]
    rows: tuple[int, ...]
    """Per token its place in the list before; the length of that list where it had none."""
    notes: tuple[str, ...]


def order_tokens(tokens: Sequence[str]) -> OrderedTokens:
    """Bring our nine control tokens to the front, under our names, and leave the others in their order."""
    places: dict[str, int] = {}
    for i, token in enumerate(tokens):
        places.setdefault(token, i)
    controls = {control: _find_control(control, places) for control in CONTROL_TOKENS}
    taken = {name for name in controls.values() if name is not None}
    others = [
        i
        for i, token in enumerate(tokens)
        if token == FAKE or (places[token] == i and token not in taken and token not in controls)
    ]
    front = [len(tokens) if name is None else places[name] for name in controls.values()]
    renamed = [
        f"{name} is {control}" for control, name in controls.items() if name not in (None, control)
    ]
    missing = [control for control, name in controls.items() if name is None]
    lost = [
        token
        for i, token in enumerate(tokens)
        if token != FAKE and token not in taken and (token in controls or places[token] != i)
    ]
    notes = {
        f"renamed: {', '.join(renamed)}": renamed,
        f"without a row of their own, given the mean row: {' '.join(missing)}": missing,
        f"left out, as they stand there twice: {' '.join(lost[:10])}": lost,
    }
    return OrderedTokens(
        (*CONTROL_TOKENS, *(tokens[i] for i in others)),
        (*front, *others),
        tuple(note for note, holds in notes.items() if holds),
    )


def _find_control(control: str, places: Mapping[str, int]) -> str | None:
    """Find the name under which a vocabulary keeps a control token.

    A SentencePiece vocabulary of fastai v2 has most of them twice: text brings the piece `▁xxbos`, and the plain
    token is never seen. Only `xxunk` and `xxpad` do not come from text.
    """
    piece = WORD_START + control
    names = (control, piece) if control in (UNK, PAD) else (piece, control)
    old = OLD_MARKERS.get(control, "")
    is_old = OLD_MARKERS[UNK] in places and UNK not in places
    return next((name for name in (*names, *([old] if is_old else [])) if name in places), None)


def _require_uncompressed(path: Path) -> None:
    """Refuse an archive that is larger inside than outside: torch compresses nothing, a bomb does."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            if sum(part.file_size for part in archive.infolist()) > path.stat().st_size:
                raise ValueError("its parts are compressed")


def _require_stored(tensor: Tensor, *, where: str) -> None:
    """Refuse a tensor that claims to be larger than what the file holds of it."""
    is_plain = tensor.layout == torch.strided and tensor.device.type == "cpu"
    stored = tensor.untyped_storage().nbytes() if is_plain else -1
    if tensor.numel() * tensor.element_size() > stored:
        raise UserError(f"{where} is larger than its data: the file is damaged")


def require_numbers(weights: Mapping[str, Tensor], *, where: str) -> None:
    """Refuse weights of a training that diverged."""
    for name, tensor in weights.items():
        if not bool(torch.isfinite(tensor).all()):
            raise UserError(
                f"{where}: {name} holds numbers that are not finite: the training diverged"
            )
