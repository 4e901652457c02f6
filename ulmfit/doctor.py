"""What this installation and this machine can do. In: nothing but the place of the data. Out: a `Health` to print."""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import subprocess
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

LIBRARIES = (
    "torch", "fastai", "fastcore", "spacy", "sentencepiece", "numpy", "pandas", "scikit-learn",
    "safetensors", "tyro", "pooch",
)  # fmt: skip
_LOW_DISK_GB = 5.0


@dataclass(frozen=True)
class Extra:
    """Optional packages, and what they are good for."""

    modules: tuple[str, ...]
    enables: str = ""


# The extras of pyproject.toml. Those of later stages are named already, so that one installation lasts; nothing uses them
# yet, so that nothing is missing without them.
EXTRAS: dict[str, Extra] = {
    "nb": Extra(("jupyterlab",), "JupyterLab, for the notebooks"),
    "dist": Extra(("accelerate",), "`accelerate launch` beside torchrun, which torch brings"),
    "hf": Extra(("transformers", "tokenizers", "huggingface_hub")),
    "explain": Extra(("captum",)),
    "serve": Extra(("fastapi", "uvicorn")),
    "export": Extra(("onnx", "onnxruntime")),
    "track": Extra(("tensorboard",)),
    "tune": Extra(("optuna",)),
    "data": Extra(("pyarrow", "zstandard"), "Parquet files and .zst compression"),
    "docs": Extra(("mkdocs", "mkdocstrings"), "building this documentation as a site"),
    "dev": Extra(("pytest", "hypothesis", "ruff", "ty"), "the tests and linters of this project"),
}


@dataclass(frozen=True)
class MissingExtra:
    """An extra that is not installed as a whole."""

    name: str
    modules: tuple[str, ...]
    enables: str


@dataclass(frozen=True)
class Health:
    """What was found."""

    ulmfit: str
    python: str
    system: str
    versions: dict[str, str]
    """Of the libraries that ulmfit stands on; "" for a missing one."""
    device: str
    n_cores: int
    """Those that this process may use."""
    n_threads: int
    """Those that torch computes with."""
    load: float
    """Processes that wanted a core in the last minute, as the system counts them; 0 where it does not."""
    cpu_features: tuple[str, ...]
    """Of avx2, avx512, bf16, amx: what makes training and inference on a processor fast."""
    native: str
    """"compiled", or why the small operations of the bf16 path run in torch."""
    data_dir: str
    cache_dir: str
    """Where the tokenizers' memory of words lives; "" when it is switched off."""
    free_disk_gb: float
    language_models: tuple[str, ...]
    """The pretrained ones that are at hand, by name."""
    missing_extras: tuple[MissingExtra, ...]
    problems: tuple[str, ...]

    def __str__(self) -> str:
        versions = ", ".join(
            f"{name} {number or 'MISSING'}" for name, number in self.versions.items()
        )
        lines = [
            f"ulmfit     {self.ulmfit} on Python {self.python}, {self.system}",
            f"libraries  {versions}",
            f"device     {self.device}",
            f"processor  {self.n_cores} cores to use, {self.n_threads} torch threads; "
            f"{', '.join(self.cpu_features) or 'no vector extension that we know of'}"
            f"{'' if 'bf16' in self.cpu_features else ' (no bf16: products in float32)'}",
            f"kernels    {self.native}",
            f"data       {self.data_dir} ({self.free_disk_gb:,.1f} GB free)",
            f"cache      {self.cache_dir or 'off'}",
            f"models     {', '.join(self.language_models) or 'no pretrained language model is at hand'}",
        ]
        if self.n_threads > 1 and self.load > self.n_cores / 2:
            lines.append(
                f"busy       load {self.load} on {self.n_cores} cores: {self.n_threads} threads of a training wait "
                "for each other then, and `--threads 1` may be faster"
            )
        for extra in self.missing_extras:
            install = f'pip install "ulmfit[{extra.name}]"'
            lines.append(f"extra      {extra.name:8} not installed: {extra.enables}; {install}")
        return "\n".join(lines + [f"problem    {problem}" for problem in self.problems])

    def to_json(self) -> dict[str, Any]:
        """Return everything as JSON-able values."""
        return asdict(self)


def examine(*, data_dir: str | Path | None = None) -> Health:
    """Look at the libraries, the processor and the disk."""
    from ulmfit import __version__
    from ulmfit.models.catalogue import describe
    from ulmfit.text.locate import data_folder
    from ulmfit.text.memo import cache_folder

    folder = data_folder(data_dir)
    versions = {name: _version(name) for name in LIBRARIES}
    n_cores = usable_cores()
    device, n_threads = _torch() if versions["torch"] else ("unknown: torch is missing", 0)
    free_disk_gb = round(shutil.disk_usage(_existing(folder)).free / 1e9, 1)
    return Health(
        ulmfit=__version__,
        python=platform.python_version(),
        system=f"{platform.system()} {platform.release()} {platform.machine()}",
        versions=versions,
        device=device,
        n_cores=n_cores,
        n_threads=n_threads,
        load=round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else 0.0,
        cpu_features=features(_cpu_flags()),
        native=_native() if versions["torch"] else "torch is missing",
        data_dir=str(folder),
        cache_dir=str(cache_folder() or ""),
        free_disk_gb=free_disk_gb,
        language_models=tuple(row.name for row in describe(data_dir) if row.present),
        missing_extras=_missing_extras(),
        problems=_problems(versions, n_cores, n_threads, free_disk_gb),
    )


def usable_cores() -> int:
    """Count the cores that this process may run on, which in a container or batch job are not all."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def features(flags: set[str]) -> tuple[str, ...]:
    """Name what matters among the flags that a processor reports, whatever its maker calls them."""
    marks = {
        "avx2": {"avx2"},
        "avx512": {"avx512f"},
        "bf16": {"avx512_bf16", "amx_bf16", "bf16", "hw.optional.arm.feat_bf16"},
        "amx": {"amx_tile", "hw.optional.amx_version"},
    }
    return tuple(name for name, names in marks.items() if names & flags)


def _cpu_flags() -> set[str]:
    """Return the flags of the processor on Linux and macOS; elsewhere what torch found out by itself."""
    info = Path("/proc/cpuinfo")
    if info.is_file():
        lines = info.read_text(errors="replace").lower().splitlines()
        flags = next((line for line in lines if line.startswith(("flags", "features"))), "")
        return set(flags.partition(":")[2].split())
    if platform.system() == "Darwin":
        said = subprocess.run(["sysctl", "-a"], capture_output=True, text=True, check=False).stdout
        pairs = (line.lower().partition(": ") for line in said.splitlines())
        return {name for name, _, value in pairs if value not in ("", "0")}
    import torch

    name = torch.backends.cpu.get_cpu_capability().lower()
    return {"avx512": {"avx512f", "avx2"}, "avx2": {"avx2"}}.get(name, set())


def _torch() -> tuple[str, int]:
    """Name the device that torch would train on, and count its threads."""
    import torch

    if torch.cuda.is_available():
        gb = torch.cuda.get_device_properties(0).total_memory / 1e9
        device = f"cuda: {torch.cuda.get_device_name(0)}, {gb:.0f} GB"
    else:
        device = "cpu"
    return device, torch.get_num_threads()


def _native() -> str:
    """Say whether the kernels are compiled, which is tried here if it was not before."""
    from ulmfit.models import native

    return native.state()


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


def _missing_extras() -> tuple[MissingExtra, ...]:
    found = []
    for name, extra in EXTRAS.items():
        modules = tuple(m for m in extra.modules if importlib.util.find_spec(m) is None)
        if modules and extra.enables:
            found.append(MissingExtra(name, modules, extra.enables))
    return tuple(found)


def _problems(
    versions: dict[str, str], n_cores: int, n_threads: int, free_disk_gb: float
) -> tuple[str, ...]:
    found = [
        f"{name} is missing: install ulmfit again"
        for name, number in versions.items()
        if not number
    ]
    if n_threads > n_cores:
        found.append(
            f"torch uses {n_threads} threads on {n_cores} cores: set OMP_NUM_THREADS={n_cores}"
        )
    if free_disk_gb < _LOW_DISK_GB:
        found.append(
            f"{free_disk_gb} GB of disk are free where the data go: choose another --data-dir"
        )
    return tuple(found)


def _existing(folder: Path) -> Path:
    """Return the folder, or the nearest one above it that exists."""
    return next((path for path in (folder, *folder.parents) if path.exists()), Path())
