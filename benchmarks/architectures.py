"""What a training step of a language model costs, by architecture and vocabulary.

    python benchmarks/architectures.py [--threads 1] [--steps 4] BACKBONE/EMB_SZ/N_HID/N_LAYERS/N_VOCAB/BS ...

A step reads random ids, BS rows of 70, and is: forward, loss over the whole vocabulary, activation and
temporal regularisation, backward, clipping, fused AdamW. The fastest step after the first one counts:
the machine may be shared. One JSON line for each architecture.
"""

from __future__ import annotations

import argparse
import json
import time

import torch
from torch.nn.utils import clip_grad_norm_

from ulmfit.models.arch import ArchConfig
from ulmfit.models.language_model import LanguageModel
from ulmfit.models.regularisation import activation_reg, temporal_reg
from ulmfit.models.state import State, detach

SEQ_LEN = 70
DEFAULT = (
    "awd_lstm/256/768/3/30000/64", "awd_lstm/256/768/3/12000/64", "awd_lstm/256/512/3/12000/64",
    "qrnn/256/768/4/12000/64", "awd_lstm/400/1152/3/12000/64",
)  # fmt: skip


def measure(spec: str, n_steps: int) -> dict[str, object]:
    backbone, *sizes = spec.split("/")
    emb_sz, n_hid, n_layers, n_vocab, bs = map(int, sizes)
    arch = ArchConfig(backbone, emb_sz=emb_sz, n_hid=n_hid, n_layers=n_layers, drop_mult=0.1)
    model = LanguageModel(arch, n_vocab).train()
    parameters = list(model.parameters())
    optimizer = torch.optim.AdamW(parameters, 1e-3, fused=True)
    state: State | None = None
    seconds = []
    for _ in range(n_steps):
        window = torch.randint(9, n_vocab, (bs, SEQ_LEN + 1))
        start = time.perf_counter()
        output = model(window[:, :-1].contiguous(), state)
        state = detach(output.state)
        loss = output.losses(window[:, 1:].contiguous()).mean()
        (loss + 2 * activation_reg(output.dropped) + temporal_reg(output.raw)).backward()
        clip_grad_norm_(parameters, 0.1)
        optimizer.step()
        optimizer.zero_grad()
        seconds.append(time.perf_counter() - start)
    return {
        "architecture": spec,
        "tokens_per_s": round(bs * SEQ_LEN / min(seconds[1:])),
        "million_parameters": round(sum(p.numel() for p in parameters) / 1e6, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("architectures", nargs="*", default=DEFAULT)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--steps", type=int, default=4)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    for spec in options.architectures:
        print(json.dumps(measure(spec, options.steps) | {"threads": options.threads}), flush=True)


if __name__ == "__main__":
    main()
