"""The documentation tells the truth: links lead somewhere, examples run, quoted messages and generated pages are current."""

from __future__ import annotations

import ast
import contextlib
import importlib.util
import io
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import pytest

from ulmfit.cli import VERBS, main

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.glob("*.md"))
# In the order of the navigation: an example may use what an earlier page has made.
WITH_EXAMPLES = (
    "index.md", "text.md", "pretraining.md", "fine-tuning.md", "classifier.md", "prediction-and-evaluation.md",
    "how-to.md",
)  # fmt: skip
FENCE = re.compile(
    r"^<!-- example -->\n```(?P<language>bash|python)\n(?P<code>.*?)^```\n"
    r"(?:<!-- output -->\n```text\n(?P<output>.*?)^```$)?",
    re.MULTILINE | re.DOTALL,
)
LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)")
HOSTS = {"arxiv.org", "docs.fast.ai", "keepachangelog.com", "semver.org", "example.org"}


@dataclass(frozen=True)
class Example:
    """A block of a page that is marked as one that runs."""

    page: str
    line: int
    language: str
    code: str
    output: str | None

    @property
    def argvs(self) -> list[list[str]]:
        return [shlex.split(line) for line in self.code.splitlines()]


def examples(page: str) -> list[Example]:
    text = (DOCS / page).read_text(encoding="utf-8")
    return [
        Example(
            page, text[: m.start("code")].count("\n") + 1, m["language"], m["code"], m["output"]
        )
        for m in FENCE.finditer(text)
    ]


EXAMPLES = [example for page in WITH_EXAMPLES for example in examples(page)]
marked = pytest.mark.parametrize(
    "example", EXAMPLES, ids=lambda example: f"{example.page}:{example.line}"
)
every = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
# A diary may speak of what is gone, and of other programs.
named = pytest.mark.parametrize(
    "page", [page for page in PAGES if page.name != "log.md"], ids=lambda page: page.name
)


def read(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def make_pages() -> ModuleType:
    """Import docs/make_pages.py, which is no part of a package."""
    spec = importlib.util.spec_from_file_location("make_pages", DOCS / "make_pages.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def anchors(path: Path) -> set[str]:
    """Name the headings of a page as Markdown's table of contents does."""
    text = read(path)
    for name in re.findall(r'^--8<-- "(.+)"$', text, re.MULTILINE):
        text = text.replace(f'--8<-- "{name}"', read(ROOT / name))
    text = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    titles = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {
        re.sub(r"[\s-]+", "-", re.sub(r"[^\w\s-]", "", title.replace("`", "")).strip().lower())
        for title in titles
    }


def test_no_example_is_overlooked() -> None:
    assert sum(read(page).count("<!-- example -->") for page in PAGES) == len(EXAMPLES)
    outputs = sum(read(page).count("<!-- output -->") for page in PAGES)
    assert outputs == sum(example.output is not None for example in EXAMPLES)


@every
def test_links_lead_somewhere(page: Path) -> None:
    for target in LINK.findall(read(page)):
        if re.match(r"https?://", target):
            continue
        name, _, anchor = target.partition("#")
        there = (page.parent / name) if name else page
        assert there.exists(), target
        assert there.resolve().is_relative_to(DOCS), f"{target} is not on the site"
        assert not anchor or anchor in anchors(there), target


@every
def test_links_to_the_outside_are_known(page: Path) -> None:
    assert set(re.findall(r"https?://([^/\s)\"]+)", read(page))) <= HOSTS


@pytest.mark.parametrize("name", ["presets.md", "api.md"])
def test_generated_pages_are_current(name: str) -> None:
    assert read(DOCS / name) == make_pages().PAGES[name](), "run: python docs/make_pages.py"


def test_every_preset_has_a_source_and_every_public_name_an_entry() -> None:
    import ulmfit
    from ulmfit.config import PRESETS
    from ulmfit.training.presets import STAGE_PRESETS

    pages = make_pages()
    assert set(pages.SOURCES) == set(PRESETS)
    assert all(set(presets) == set(PRESETS) for presets in STAGE_PRESETS.values())
    entries = re.findall(r"heading: ulmfit\.(\w+)$", read(DOCS / "api.md"), re.MULTILINE)
    assert sorted([*entries, *pages.VALUES]) == sorted(ulmfit.__all__)


def test_entries_of_the_reference_exist() -> None:
    for path in re.findall(r"^::: (\S+)$", read(DOCS / "api.md"), re.MULTILINE):
        home, _, name = path.rpartition(".")
        folder = ROOT / home.replace(".", "/")
        file = folder / "__init__.py" if folder.is_dir() else folder.with_suffix(".py")
        defined = {getattr(node, "name", "") for node in ast.parse(read(file)).body}
        is_package = (ROOT / path.replace(".", "/") / "__init__.py").is_file()
        assert name in defined or is_package, path


def test_every_page_is_in_the_navigation() -> None:
    nav = read(ROOT / "mkdocs.yml").partition("\nnav:\n")[2]
    assert set(re.findall(r": (\S+\.md)$", nav, re.MULTILINE)) == {page.name for page in PAGES}


def test_the_site_asks_the_network_for_nothing() -> None:
    config = read(ROOT / "mkdocs.yml")
    assert "font: false" in config
    assert "http" not in config
    assert "http" not in read(DOCS / "stylesheets/extra.css")


@marked
def test_example_is_valid(example: Example) -> None:
    """Python compiles; on the command line verbs and flags exist."""
    if example.language == "python":
        compile(example.code, f"{example.page}:{example.line}", "exec")
        return
    for program, verb, *words in example.argvs:
        assert program == "ulmfit"
        assert verb in VERBS
        said = io.StringIO()
        with contextlib.redirect_stdout(said):
            assert main([verb, "--help"]) == 0
        flags = set(re.findall(r"--[a-z][\w-]*", said.getvalue().replace("--[no-]", "--")))
        assert {word for word in words if word.startswith("--")} <= flags, example.code


@pytest.fixture(scope="module")
def all_flags() -> set[str]:
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        for verb in VERBS:
            main([verb, "--help"])
    return {"--help", *re.findall(r"--[a-z][\w-]*", said.getvalue().replace("--[no-]", "--"))}


@named
def test_flags_that_are_named_exist(page: Path, all_flags: set[str]) -> None:
    """A flag in the running text is one of some verb."""
    assert set(re.findall(r"`(?:\w[\w-]* )*(--[a-z][\w-]*)", read(page))) <= all_flags


@named
def test_paths_that_are_named_exist(page: Path) -> None:
    for path in re.findall(r"`((?:ulmfit|tests|docs|benchmarks)/[\w./-]*)`", read(page)):
        assert (ROOT / path).exists(), path


def literals() -> Iterator[str]:
    """Yield every text of the package, with … where a value is filled in."""
    for path in sorted((ROOT / "ulmfit").rglob("*.py")):
        for node in ast.walk(ast.parse(read(path))):
            if isinstance(node, ast.JoinedStr):
                parts = (v.value if isinstance(v, ast.Constant) else "…" for v in node.values)
                yield "".join(map(str, parts))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value


def test_quoted_messages_are_those_of_the_code() -> None:
    quoted = re.findall(r"^`(.+)`\n:   ", read(DOCS / "troubleshooting.md"), re.MULTILINE)
    assert len(quoted) > 40
    texts = list(literals())
    for message in quoted:
        pattern = ".*".join(re.escape(part) for part in message.split("…"))
        assert any(re.search(pattern, text) for text in texts), message


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_examples_run_and_print_what_the_pages_say(tmp_path: Path) -> None:
    """Run all examples in the order of the pages, as a reader would."""
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    env = {**os.environ, "PYTHONPATH": path, "PYTHONUTF8": "1"}
    for example in EXAMPLES:
        runs = (
            [["-c", example.code]]
            if example.language == "python"
            else [["-m", "ulmfit", *argv[1:]] for argv in example.argvs]
        )
        said = ""
        for run in runs:
            done = subprocess.run(
                [sys.executable, *run], cwd=tmp_path, env=env, capture_output=True, encoding="utf-8"
            )
            assert done.returncode == 0, f"{example.page}:{example.line}: {done.stderr}"
            said += done.stdout
        if example.output is not None:
            assert said == example.output, f"{example.page}:{example.line}"


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    for module in ("mkdocs", "material", "mkdocstrings"):
        if importlib.util.find_spec(module) is None:
            pytest.skip(f'{module} is not installed: pip install "ulmfit[docs]"')
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")],
        cwd=ROOT,
        capture_output=True,
        encoding="utf-8",
    )
    assert done.returncode == 0, done.stderr
    pages = list((tmp_path / "site").rglob("*.html"))
    assert len(pages) > len(PAGES)
    for page in pages:
        loaded = re.findall(
            r"<(?:script|link|img)\b[^>]*?(?:src|href)=[\"']?([^\"'> ]+)", read(page)
        )
        assert not [url for url in loaded if re.match(r"(https?:)?//", url)], page.name
