"""The published recipes of the three stages as values of their configs, and their differences.

What a source leaves open is taken from where the comment says. A field that is not named has the
default of its config, which is the paper's value, or that of its authors' scripts.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ulmfit.errors import UserError, nearest
from ulmfit.models.arch import ArchConfig
from ulmfit.training.classifier_config import ClassifierConfig
from ulmfit.training.config import FinetuneConfig, PretrainConfig, StageConfig

# fastai 1: OneCycleScheduler rises for 0.3 of the steps and ends at 1 / (div * 1e4).
_V1_CYCLE: dict[str, Any] = {
    "schedule": "one_cycle", "rise": 0.3, "div_final": 25e4, "moms": (0.8, 0.7, 0.8),
}  # fmt: skip
_V1_PRETRAIN = PretrainConfig(
    # fastai 1, examples/train_wt103.py; the published wikitext-103 weights of fastai 1 and 2 come from it.
    bs=256, seq_len=80, jitter=False, epochs=12, lr=1e-2, wd=0.1, decoupled_wd=True, clip=0.1,
    arch=ArchConfig(n_hid=1152, drop_mult=0.1), schedule="one_cycle", rise=0.3, div=10, div_final=1e5,
    moms=(0.8, 0.7, 0.8),
)  # fmt: skip
# MultiFiT, configurations.py: multifit_paper_version.
_MULTIFIT_DROPOUTS: dict[str, Any] = {
    "input_p": 0.2, "output_p": 0.25, "weight_p": 0.15, "embed_p": 0.02, "hidden_p": 0.1,
}  # fmt: skip
_MULTIFIT: dict[str, Any] = {
    "jitter": False, "factor": 1.0, "wd": 1e-7, "clip": 0.12, "label_smoothing": 0.0, **_V1_CYCLE,
}  # fmt: skip

PRETRAIN_PRESETS: dict[str, PretrainConfig] = {
    # Howard & Ruder 2018, 4.1 gives sizes and seq_len; everything else is taken from the authors' scripts,
    # but Adam's beta 1 is that of stage 2, 0.7.
    "paper": PretrainConfig(),
    # imdb_scripts/old/pretrain_lm.py and sampled_sm.py; epochs and lr of the README's command (the script's
    # defaults are 1 and 3e-4). Their sampled softmax is left out: ours is exact.
    "paper-code": PretrainConfig(
        schedule="clr", group_factors=(1 / 6, 1 / 3, 1.0, 1.0),
        arch=ArchConfig(n_hid=1150, drop_mult=0.5, out_bias=False),
    ),
    "fastai-v1": _V1_PRETRAIN,
    # fastbook starts from the weights of fastai 1.
    "fastbook": _V1_PRETRAIN,
    "multifit": PretrainConfig(
        bs=50, seq_len=70, epochs=10, lr=5e-3, **_MULTIFIT,
        arch=ArchConfig("qrnn", n_hid=1550, n_layers=4, drop_mult=0.0, **_MULTIFIT_DROPOUTS),
    ),
    # Ours: the size of this package's English model, en, whose first 7.7 M pieces were read with these values in one epoch
    # (docs/english-model.md).
    "laptop": replace(
        _V1_PRETRAIN, bs=64, seq_len=70, epochs=3, lr=5e-3, wd=0.01,
        arch=ArchConfig(emb_sz=256, n_hid=512, drop_mult=0.1),
    ),
    # Ours: the demo and the tests.
    "tiny": PretrainConfig(
        bs=16, seq_len=32, epochs=2, lr=1e-2, schedule="one_cycle", clip=0.3,
        arch=ArchConfig(emb_sz=64, n_hid=128, n_layers=2, drop_mult=0.2),
    ),
}  # fmt: skip

FINETUNE_PRESETS: dict[str, FinetuneConfig] = {
    # Howard & Ruder 2018, 3.2 and 4.1. Not in the text, so from imdb_scripts/finetune_lm.py: dropouts, clip, wd,
    # and epochs, which the paper tunes for each task.
    "paper": FinetuneConfig(),
    # imdb_scripts/finetune_lm.py; epochs of the README for IMDb (the script's default is 25).
    "paper-code": FinetuneConfig(
        schedule="clr", epochs=50, lr=4e-3, group_factors=(1 / 6, 1 / 3, 1.0, 1 / 2)
    ),
    # fastai 1, examples/ULMFit.ipynb.
    "fastai-v1": FinetuneConfig(
        bs=256, seq_len=80, jitter=False, frozen_epochs=1, frozen_lr=2e-2, epochs=10, lr=2e-3, factor=1.0,
        wd=0.1, decoupled_wd=True, clip=0.1, drop_mult=1.0, **_V1_CYCLE,
    ),
    # fastbook, chapter 10, with fastai 2.8's defaults. The text tutorial says wd 0.1.
    "fastbook": FinetuneConfig(
        bs=128, seq_len=80, jitter=False, frozen_epochs=1, frozen_lr=2e-2, epochs=10, lr=2e-3, factor=1.0,
        wd=0.01, decoupled_wd=True, clip=None, drop_mult=0.3, eps=1e-5, schedule="one_cycle", moms=(0.8, 0.7, 0.8),
    ),
    "multifit": FinetuneConfig(
        bs=20, seq_len=70, frozen_epochs=1, frozen_lr=1e-2, epochs=20, lr=1e-3, drop_mult=0.3,
        **_MULTIFIT, **_MULTIFIT_DROPOUTS,
    ),
    # Ours: one pass over at most 5.4 M tokens, which nobody overfits; short rows for more steps (docs/log.md).
    "laptop": FinetuneConfig(
        bs=64, seq_len=35, epochs=1, min_batches=100, max_batches=2400, max_valid=500, lr=8e-3, factor=1.0, wd=0.01,
        decoupled_wd=True, drop_mult=0.0, activation_reg=0.0, temporal_reg=0.0, eps=1e-5, schedule="one_cycle",
        moms=(0.8, 0.7, 0.8),
    ),
    # Ours: the demo and the tests. A few batches do: what the demo is about, stage 3 learns (docs/log.md).
    "tiny": FinetuneConfig(
        bs=32, seq_len=70, epochs=1, max_batches=40, max_valid=100, lr=5e-3, factor=1.0, schedule="one_cycle", drop_mult=0.2
    ),
}  # fmt: skip

# What fastai 1 and 2 did alike in stage 3: halved dropouts, one cycle for each of four phases.
_FASTAI_CLASSIFIER: dict[str, Any] = {
    "schedule": "fastai", "bs": 128, "epochs": 2, "drop_mult": 0.5, "decoupled_wd": True, "clip": None,
}  # fmt: skip

CLASSIFIER_PRESETS: dict[str, ClassifierConfig] = {
    # Howard & Ruder 2018, 3.3, 4.1 and 5. Not in the text, so from imdb_scripts/old/train_clas.py: wd, clip and max_len.
    "paper": ClassifierConfig(),
    # imdb_scripts/old/train_clas.py; its backward model takes half the rate.
    "paper-code": ClassifierConfig(
        schedule="paper_code", bs=32, epochs=50, div=8, div_final=8, rise=1 / 8, moms=(0.8, 0.8, 0.8),
        backward_lr=5e-3,
    ),
    # fastai 1, examples/ULMFit.ipynb, the forward model.
    "fastai-v1": ClassifierConfig(
        seq_len=70, max_len=1400, lr=0.1, wd=0.1, rise=0.3, div_final=25e4, moms=(0.8, 0.7, 0.8), **_FASTAI_CLASSIFIER
    ),
    # fastbook, chapter 10, with fastai 2.8's defaults.
    "fastbook": ClassifierConfig(
        seq_len=72, max_len=1440, lr=2e-2, wd=0.01, eps=1e-5, moms=(0.8, 0.7, 0.8), **_FASTAI_CLASSIFIER
    ),
    # MultiFiT, configurations.py: slice(1e-2 / 2.6**4, 2e-2) over its six layer groups is a factor of 2.47.
    "multifit": ClassifierConfig(
        schedule="one_cycle", bs=18, seq_len=70, epochs=8, lr=2e-2, factor=round((2 * 2.6**4) ** (1 / 5), 4), wd=0.01,
        decoupled_wd=True, clip=0.12, label_smoothing=0.1, drop_mult=0.5, rise=0.3, div_final=25e4, moms=(0.8, 0.7, 0.8),
    ),
    # Ours: all layers at once, at rates that hardly differ: a small encoder has more to learn than to forget (docs/log.md).
    "laptop": ClassifierConfig(
        schedule="one_cycle", bs=32, seq_len=72, epochs=6, min_batches=30, max_batches=200, max_valid=500, lr=1e-2,
        factor=1.3, wd=0.01, decoupled_wd=True, clip=1.0, drop_mult=0.2, eps=1e-5, moms=(0.8, 0.7, 0.8), max_len=360,
        reread_drop_mult=0.6, enough_tokens=100_000, few_labels=2000, linear=1.0,
    ),
    # Ours: the demo and the tests.
    "tiny": ClassifierConfig(
        schedule="full", bs=32, seq_len=70, epochs=2, lr=5e-3, drop_mult=0.2, clip=1.0, max_len=320, linear=1.0
    ),
}  # fmt: skip

STAGE_PRESETS: dict[str, dict[str, Any]] = {
    "pretrain_lm": PRETRAIN_PRESETS,
    "finetune_lm": FINETUNE_PRESETS,
    "train_classifier": CLASSIFIER_PRESETS,
}


def stage_preset(stage: str, name: str) -> StageConfig:
    """Look up the config of a stage, such as pretrain_lm, in a preset."""
    presets = STAGE_PRESETS[stage]
    if name not in presets:
        raise UserError(f"no preset {name!r}: {nearest(name, presets)}")
    return presets[name]
