"""The doctor's report agrees with what can be found out another way."""

from __future__ import annotations

import json
import re
import shutil
import sys
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import pytest

from ulmfit import doctor

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def health(tmp_path_factory: pytest.TempPathFactory) -> doctor.Health:
    return doctor.examine(data_dir=tmp_path_factory.mktemp("data") / "not" / "there" / "yet")


def test_versions_and_device(health: doctor.Health) -> None:
    import torch

    assert health.versions["torch"] == version("torch")
    assert health.python == ".".join(map(str, sys.version_info[:3]))
    assert health.n_threads == torch.get_num_threads()
    assert health.device.startswith("cuda") == torch.cuda.is_available()


def test_kernels_are_reported_and_can_be_switched_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ULMFIT_NATIVE", "off")
    found = doctor.examine()
    assert "ULMFIT_NATIVE" in found.native and found.native in str(found)


def test_free_disk_of_a_folder_that_is_not_there_yet(health: doctor.Health, tmp_path: Path) -> None:
    assert health.free_disk_gb == pytest.approx(shutil.disk_usage(tmp_path).free / 1e9, abs=1)


def test_extras_are_those_of_pyproject() -> None:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    section = text.partition("[project.optional-dependencies]")[2].partition("\n[")[0]
    assert set(re.findall(r"^(\w+) = \[", section, re.MULTILINE)) == set(doctor.EXTRAS)
    for name, extra in doctor.EXTRAS.items():
        for module in extra.modules:
            assert module in section, f"{name} does not install {module}"


def test_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    extra = doctor.Extra(("json", "no_such_module"), "nothing at all")
    monkeypatch.setattr(doctor, "EXTRAS", {"data": doctor.Extra(("json",), "JSON"), "x": extra})
    found = doctor.examine()
    assert found.missing_extras == (
        doctor.MissingExtra("x", ("no_such_module",), "nothing at all"),
    )
    assert 'pip install "ulmfit[x]"' in str(found)


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        ("fpu sse2 avx avx2", ("avx2",)),
        ("avx2 avx512f avx512_bf16", ("avx2", "avx512", "bf16")),
        ("avx2 avx512f avx512_bf16 amx_bf16 amx_tile", ("avx2", "avx512", "bf16", "amx")),
        ("fp asimd bf16", ("bf16",)),
        ("hw.optional.arm.feat_bf16 hw.memsize", ("bf16",)),
        ("sse2", ()),
    ],
)
def test_cpu_features(flags: str, named: tuple[str, ...]) -> None:
    assert doctor.features(set(flags.split())) == named


@pytest.mark.parametrize("found", [("avx2",), ("avx2", "avx512", "bf16")])
def test_a_processor_without_bf16_is_told(health: doctor.Health, found: tuple[str, ...]) -> None:
    told = str(replace(health, cpu_features=found))
    assert ("(no bf16: products in float32)" in told) == ("bf16" not in found)


@pytest.mark.parametrize(("load", "n_threads"), [(0.9, 2), (1.1, 2), (1.1, 1)])
def test_a_busy_machine_is_told(health: doctor.Health, load: float, n_threads: int) -> None:
    told = str(replace(health, load=load, n_cores=2, n_threads=n_threads))
    assert ("--threads 1" in told) == (load > 1 and n_threads > 1)


def test_problems(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "LIBRARIES", ("torch", "no-such-library"))
    monkeypatch.setattr(doctor, "usable_cores", lambda: 0)
    monkeypatch.setattr(doctor, "_LOW_DISK_GB", 1e9)
    problems = doctor.examine().problems
    assert len(problems) == 3
    assert "no-such-library is missing" in problems[0]
    assert "OMP_NUM_THREADS" in problems[1]
    assert "--data-dir" in problems[2]


def test_json(health: doctor.Health) -> None:
    assert json.loads(json.dumps(health.to_json()))["versions"] == health.versions
