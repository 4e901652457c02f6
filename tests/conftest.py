"""What several test files share: real corpora if there are any, and one small corpus that is prepared once."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    import pandas as pd

    from ulmfit.text.corpus import Corpus

ROOT = Path(__file__).resolve().parents[1]
DEMO_ROWS = 300

# A busy machine is no mistake of the code: no example has to be quick. Where a change is judged, it gets the examples of the
# last one, and luck plays no part; everywhere else there are new ones each time.
settings.register_profile("patient", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("patient")

# Nor are threads that wait to keep other programs from the cores, and the tests themselves from theirs (docs/training.md).
os.environ.setdefault("GOMP_SPINCOUNT", "1000")
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")

# A shell's background job ignores Ctrl-C, and so would all programs that the tests start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Keep the tests out of the user's cache folder, and the user's settings out of the tests."""
    os.environ["ULMFIT_CACHE"] = str(tmp_path_factory.mktemp("cache"))
    os.environ.pop("ULMFIT_DATA", None)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real corpora; without one, its tests are skipped."""
    folder = Path(os.environ.get("ULMFIT_TEST_DATA") or ROOT.parent / "shared" / "data")
    if not folder.is_dir():
        pytest.skip(f"no real corpora in {folder}: set ULMFIT_TEST_DATA to a folder that has some")
    return folder


@pytest.fixture(scope="session")
def demo_frame() -> pd.DataFrame:
    """The embedded corpus, whole, as its file says."""
    import pandas as pd

    return pd.read_csv(ROOT / "data" / "demo.csv.gz", keep_default_na=False)


@pytest.fixture(scope="session")
def demo_corpus(demo_frame: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    """Some rows of the embedded corpus, drawn from all of its splits and prepared."""
    import ulmfit

    rows = demo_frame.sample(n=min(DEMO_ROWS, len(demo_frame)), random_state=0)
    out = tmp_path_factory.mktemp("demo") / "corpus"
    return ulmfit.prepare(
        rows, out, split="split", config=ulmfit.TextConfig(max_vocab=8_000, min_freq=2)
    )


@pytest.fixture(scope="module")
def calm() -> Iterator[None]:
    """Tiny products on two threads of a busy machine mostly wait for each other."""
    from ulmfit.models.threads import one_thread  # which imports torch

    with one_thread():
        yield


@pytest.fixture
def tiny_frame() -> pd.DataFrame:
    """Twelve labelled reviews, a third of them held out."""
    import pandas as pd

    texts = [
        f"{mood} film number {i}, {mood} indeed" for i in range(6) for mood in ("fine", "dull")
    ]
    return pd.DataFrame(
        {"text": texts, "label": ["pos", "neg"] * 6, "split": ["train"] * 8 + ["test"] * 4}
    )


@pytest.fixture(params=["native", "torch"])
def compiled_or_not(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run a test with the compiled functions and with torch's."""
    from ulmfit.models import native

    if request.param == "torch":
        monkeypatch.setenv("ULMFIT_NATIVE", "off")
    elif native.kernels() is None:
        pytest.skip(native.state())
