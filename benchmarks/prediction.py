"""Answers from raw text, in bulk and one by one: stock fastai's `get_preds` and `predict` against ours.

    python benchmarks/prediction.py [SOURCE] [--data-dir DIR] [--documents 48] [--stock-documents 48] [--rounds 3]
                                    [--singles 5] [--precision auto] [--threads 2]

SOURCE is a data set or a file, for example `imdb`; by default the embedded demo corpus. Both arms hold the same
random classifier (AWD-LSTM 400 / 1152 / 3 layers, 50 hidden units) over a vocabulary of documents that are not
classified; its batch norms have seen some of these, so that its labels divide the documents. Bulk: stock is
`learn.get_preds(dl=learn.dls.test_dl(texts))` of a `text_classifier_learner`, ours `Classifier.predict_proba(texts)` of
a saved folder; each round has documents of its own, so none has been read before. Single: `learn.predict(text)` against
`predict_proba([text])`, on documents of median length. Calls alternate A B A B ... in one process after a warm-up each;
every ratio is that of two neighbours. `--stock-documents` spares patience: stock then answers the first of a
round, and the ratio is that of seconds per character, each over what its arm read. `same_labels` is the share of the
documents that both answered alike, `largest_difference` that of a probability. One JSON line.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from fastai.data.block import CategoryBlock, DataBlock
from fastai.data.transforms import ColReader, RandomSplitter
from fastai.text.data import TextBlock
from fastai.text.learner import TextLearner, text_classifier_learner
from fastai.text.models.awdlstm import AWD_LSTM

from ulmfit import Classifier, TextConfig, Vocab
from ulmfit.models.classifier import Classifier as Module
from ulmfit.models.classifier_arch import ClassifierArch
from ulmfit.models.classifier_artefact import save_classifier
from ulmfit.models.label_set import LabelSet
from ulmfit.models.manifest import Provenance
from ulmfit.models.parts import TextPipeline
from ulmfit.models.precision import has_fast_bf16
from ulmfit.text.corpus import Corpus
from ulmfit.text.prepare import prepare
from ulmfit.text.sources import open_source

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
from stock_classifier import stock_classifier

LABELS = LabelSet("category", ("neg", "pos"))
N_VOCABULARY_DOCUMENTS, N_NORM_DOCUMENTS = 1_000, 32


@dataclass(frozen=True)
class Timed:
    """An arm's answers to some texts, and what they took."""

    seconds: float
    n_characters: int
    found: np.ndarray  # (n, n_labels) probabilities

    @property
    def pace(self) -> float:
        """Seconds per character."""
        return self.seconds / self.n_characters


Answer = Callable[[list[str]], np.ndarray]


def read_texts(options: argparse.Namespace) -> list[str]:
    """Take as many texts from the beginning of the source as all parts of the run need."""
    n_texts = N_VOCABULARY_DOCUMENTS + options.documents * options.rounds
    source = open_source(options.source, label=None, data_dir=options.data_dir)
    every = itertools.chain.from_iterable(batch.fields[0] for batch in source.batches())
    texts = list(itertools.islice(every, n_texts))
    if len(texts) < n_texts:
        raise SystemExit(f"{len(texts)} documents in {options.source}: fewer --documents, please")
    return texts


def make_vocab(corpus: Corpus, n_vocab: int) -> Vocab:
    """Take a corpus's tokens and fill up with words that nobody writes."""
    invented = (f"z{number}q" for number in itertools.count())
    new = (word for word in invented if word not in corpus.vocab)
    return Vocab(itertools.islice(itertools.chain(corpus.vocab, new), n_vocab))


@torch.no_grad()
def make_model(corpus: Corpus, n_vocab: int) -> Module:
    """Draw weights, and let the head's batch norms see some documents.

    At their usual start weights are so small that all documents leave nearly the same state, and labels hang on
    rounding; enlarged, states differ as a trained model's do.
    """
    model = Module(ClassifierArch(len(LABELS.names)), n_vocab).eval()
    model.encoder.embedding.weight *= 10
    for layer in model.encoder.rnns:
        layer.weight_ih *= 5
    for block in model.head.blocks:
        block.norm.train().momentum = 1.0
    documents = [torch.from_numpy(corpus[row].astype(np.int64)) for row in range(N_NORM_DOCUMENTS)]
    ids = torch.nn.utils.rnn.pad_sequence(documents, batch_first=True)
    model(ids, torch.tensor([len(document) for document in documents]))
    return model.eval()


def our_arm(model: Module, vocab: Vocab, folder: Path, precision: str) -> Answer:
    save_classifier(
        folder,
        {"forward": model.state_dict()},
        arch=model.arch,
        vocab=vocab,
        text=TextPipeline.build(TextConfig()),
        labels=LABELS,
        provenance=Provenance("random weights"),
    )
    classifier = Classifier.load(folder)
    return lambda texts: classifier.predict_proba(texts, precision=precision)


def stock_learner(model: Module, vocab: Vocab) -> TextLearner:
    frame = pd.DataFrame({"text": ["a text"] * 20, "label": [*LABELS.names] * 10})
    data = DataBlock(
        blocks=(TextBlock.from_df("text", vocab=list(vocab), n_workers=0), CategoryBlock),
        get_x=ColReader("text"),
        get_y=ColReader("label"),
        splitter=RandomSplitter(seed=0),
    )
    learn = text_classifier_learner(data.dataloaders(frame), AWD_LSTM, pretrained=False)
    learn.model = stock_classifier(model)
    return learn


def stock_bulk(learn: TextLearner) -> Answer:
    def answer(texts: list[str]) -> np.ndarray:
        with learn.no_bar():
            return learn.get_preds(dl=learn.dls.test_dl(texts))[0].numpy()

    return answer


def stock_single(learn: TextLearner) -> Answer:
    def answer(texts: list[str]) -> np.ndarray:
        with learn.no_bar():
            return torch.stack([learn.predict(text)[2] for text in texts]).numpy()

    return answer


def timed(answer: Answer, texts: list[str]) -> Timed:
    start = time.perf_counter()
    found = answer(texts)
    return Timed(time.perf_counter() - start, sum(map(len, texts)), found)


def summary(pairs: list[tuple[Timed, Timed]], *, n_own: int, n_stock: int) -> dict[str, object]:
    """Compare the two arms; stock's documents are the first of ours."""
    ratios = [stock.pace / own.pace for stock, own in pairs]
    theirs = np.concatenate([stock.found for stock, _ in pairs])
    ours = np.concatenate([own.found[: len(stock.found)] for stock, own in pairs])
    return {
        "ratio_median": round(statistics.median(ratios), 2),
        "ratio_min_max": [round(min(ratios), 2), round(max(ratios), 2)],
        "documents_a_call": {"stock": n_stock, "ours": n_own},
        "ms_per_document": {
            "stock": round(statistics.median(1e3 * s.seconds / n_stock for s, _ in pairs), 1),
            "ours": round(statistics.median(1e3 * o.seconds / n_own for _, o in pairs), 1),
        },
        "same_labels": round(float((theirs.argmax(1) == ours.argmax(1)).mean()), 4),
        "largest_difference": round(float(np.abs(theirs - ours).max()), 5),
        "share_of_second_label": round(float(ours.argmax(1).mean()), 3),
    }


def compare(options: argparse.Namespace, folder: Path) -> dict[str, object]:
    """Build both arms and let them answer in turn."""
    texts = read_texts(options)
    known, asked = texts[:N_VOCABULARY_DOCUMENTS], texts[N_VOCABULARY_DOCUMENTS:]
    frame = pd.DataFrame({"text": known})
    corpus = prepare(frame, folder / "corpus", label=None, config=TextConfig(min_freq=2))
    vocab = make_vocab(corpus, options.n_vocab)
    model = make_model(corpus, options.n_vocab)
    ours = our_arm(model, vocab, folder / "classifier", options.precision)
    learn = stock_learner(model, vocab)
    bulk, single = stock_bulk(learn), stock_single(learn)
    by_length = sorted(known, key=len)
    middle = by_length[len(by_length) // 2 :][: options.singles + 1]
    for answer in (bulk, single, ours):
        answer(middle[:1])
    n_stock = min(options.stock_documents or options.documents, options.documents)
    in_bulk = []
    for start in range(0, len(asked), options.documents):
        part = asked[start : start + options.documents]
        in_bulk.append((timed(bulk, part[:n_stock]), timed(ours, part)))
    alone = [(timed(single, [text]), timed(ours, [text])) for text in middle[1:]]
    return {
        "bulk": summary(in_bulk, n_own=options.documents, n_stock=n_stock),
        "single": summary(alone, n_own=1, n_stock=1),
        "characters_of_a_document": {
            "bulk": round(sum(map(len, asked)) / len(asked)),
            "single": len(middle[-1]),
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", nargs="?", default="demo", help="a data set's name or a file")
    parser.add_argument("--data-dir", help="where the data set's files lie")
    parser.add_argument("--documents", type=int, default=48, help="of a round")
    parser.add_argument("--stock-documents", type=int, default=48, help="of these for stock")
    parser.add_argument("--singles", type=int, default=5, help="documents asked one by one")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--n-vocab", type=int, default=30_000)
    parser.add_argument("--threads", type=int, help="of torch; default: its own choice")
    parser.add_argument("--precision", choices=["auto", "bf16", "fp32", "int8"], default="auto")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        found = compare(options, Path(folder))
    result: dict[str, object] = {
        "benchmark": "prediction",
        "source": options.source,
        "n_vocab": options.n_vocab,
        "threads": torch.get_num_threads(),
        "precision": options.precision,
        "native_bf16": has_fast_bf16(),
    }
    result |= found
    result["load_average"] = round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None
    print(json.dumps(result))


if __name__ == "__main__":
    main()
