"""Write the pages that follow from the code: presets.md from the presets, api.md from the public names.

    python docs/make_pages.py

A test fails while a committed page is not what this writes. mkdocs calls `on_config`, and nothing else here.
"""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path
from typing import Any

DOCS = Path(__file__).resolve().parent
NOTE = "<!-- Written by docs/make_pages.py. -->\n"
WIDE = "---\nhide: [toc]\n---\n"  # a page whose table needs the place

# Where the values of a preset come from; the comments in ulmfit/config.py and ulmfit/training/presets.py say it
# stage by stage.
SOURCES = {
    "paper": "Howard & Ruder 2018, sections 3 to 5; what the text leaves open is taken from the authors' scripts",
    "paper-code": "the authors' `imdb_scripts` of fastai 0.7: `pretrain_lm.py`, `finetune_lm.py`, `train_clas.py`, `tok2id.py`",
    "fastai-v1": "fastai 1: `examples/train_wt103.py` for stage 1, `examples/ULMFit.ipynb` for stages 2 and 3",
    "fastbook": "fastbook, chapter 10, with fastai 2.8's defaults; stage 1 is that of the weights it starts from, fastai 1's",
    "multifit": "MultiFiT (Eisenschlos et al. 2019), `configurations.py`, `multifit_paper_version`",
    "laptop": "ours, for two CPU cores: pieces and `en`; stage 2 once over the texts, without dropouts; stage 3 all layers at once in one cycle, with a teacher for few labels and a linear part; an epoch of so many batches at most",
    "tiny": "ours: the demo and the tests",
}
STAGES = {
    "text": "raw text to ids",
    "pretrain_lm": "stage 1, pretrain_lm",
    "finetune_lm": "stage 2, finetune_lm",
    "train_classifier": "stage 3, train_classifier",
}
# Public names that are no functions or classes, and so have no entry of their own in api.md.
VALUES = ("PRESETS",)
# Sections of api.md and the rooms of the package that they show.
ROOMS = {
    "The package": ("",),
    "Text to ids": ("config", "text"),
    "The three stages": ("recipe", "stages"),
    "What a trained folder can do": ("inference",),
    "Evidence": ("evaluation",),
    "The paper's tables again": ("reproduction",),
    "Learners for notebooks, scikit-learn": ("training", "estimator"),
    "Exercises": ("exercises",),
    "Errors": ("errors",),
}
MORE = "More"  # names of other rooms
# Not public names of `ulmfit` itself, but what its functions take.
CONFIGS = (
    "ulmfit.training.config.StageConfig",
    "ulmfit.training.config.PretrainConfig",
    "ulmfit.training.config.FinetuneConfig",
    "ulmfit.training.classifier_config.ClassifierConfig",
    "ulmfit.models.arch.ArchConfig",
)


def presets_page() -> str:
    """Set all presets beside each other, in the rows in which they differ."""
    columns = {name: _values(name) for name in SOURCES}
    lines = [WIDE, NOTE, "# Presets compared", "", *_introduction(columns), ""]
    lines += ["| preset | where its values come from |", "|---|---|"]
    lines += [f"| `{name}` | {source} |" for name, source in SOURCES.items()]
    lines += ["", "## Where they differ", "", _row("", *(f"`{name}`" for name in columns))]
    lines += ["|---" * (len(columns) + 1) + "|"]
    for stage, title in STAGES.items():
        lines.append(_row(f"**{title}**", *("" for _ in columns)))
        for field in _fields(stage, columns):
            values = [column[field] for column in columns.values()]
            if len({json.dumps(value) for value in values}) > 1:
                lines.append(_row(f"`{field.removeprefix(stage + '.')}`", *map(_written, values)))
    return "\n".join([*lines, ""])


def api_page() -> str:
    """List the public names with a directive each, which mkdocstrings replaces by signature and docstring."""
    import ulmfit

    homes = {name: ulmfit._HOMES.get(name, "ulmfit") for name in ulmfit.__all__}
    lines = [NOTE, "# API reference", "", API_INTRODUCTION, ""]
    for title in dict.fromkeys([*ROOMS, MORE]):
        names = [name for name, home in homes.items() if _section(home) == title]
        lines += [f"## {title}", ""] if names else []
        for name in (name for name in names if name not in VALUES):
            lines += _directive(_path(name, homes[name]), f"ulmfit.{name}")
    lines += ["## Configs of the stages", ""]
    for path in CONFIGS:
        lines += _directive(path, path, "show_bases: true")
    return "\n".join(lines)


PAGES = {"presets.md": presets_page, "api.md": api_page}

API_INTRODUCTION = """\
The public names of `ulmfit`, read from the docstrings. A name is imported when it is first used, so `import ulmfit` costs
nothing. `ulmfit.PRESETS` maps the name of each preset to its `TextConfig`; those of the stages are in
`ulmfit.training.presets`, see [Presets compared](presets.md)."""


def main() -> None:
    """Write every page that is generated."""
    for name, make in PAGES.items():
        (DOCS / name).write_text(make(), encoding="utf-8", newline="\n")


def on_config(config: Any) -> Any:
    """List the decisions in the navigation, whatever their number; mkdocs calls this."""
    decisions = [f"decisions/{path.name}" for path in sorted((DOCS / "decisions").glob("*.md"))]
    for section in config.nav or []:
        for entry in next(iter(section.values())):
            if "Decisions" in entry:
                entry["Decisions"] = decisions
    return config


def _introduction(columns: dict[str, dict[str, Any]]) -> list[str]:
    n_fields = len(next(iter(columns.values())))
    return [
        f"A preset is a value for each of the {n_fields} fields of the four configs; `--preset NAME` makes them the defaults of a",
        "verb's flags, and every flag can still be given. This page shows the fields in which at least two presets differ. In the",
        "terminal: `ulmfit recipe show laptop` for all fields of one, `ulmfit recipe diff paper fastbook` for two.",
        "",
        "What a schedule supplies by itself, such as its momenta, is shown as if it had been set. The paper let its language models read test",
        "texts, and fastai's recipes take the test split for validation; here a preset does neither unless `--vocab-splits` and `--protocol` say so.",
    ]


def _values(preset: str) -> dict[str, Any]:
    """Ask the command line for the values of a preset."""
    from ulmfit.cli import main as ulmfit

    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        assert ulmfit(["recipe", "show", preset, "--json"]) == 0
    return {field: column[preset] for field, column in json.loads(said.getvalue()).items()}


def _fields(stage: str, columns: dict[str, dict[str, Any]]) -> list[str]:
    """List the fields of a stage, in the order of the first preset."""
    return [field for field in next(iter(columns.values())) if field.startswith(f"{stage}.")]


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def _written(value: Any) -> str:
    """Write a value as the command line would, in few digits and on one line."""
    from ulmfit.usage import written

    if isinstance(value, bool):
        return "yes" if value else "no"
    shown = written(tuple(value) if isinstance(value, list) else value)
    return shown.replace(" ", "&nbsp;")


def _section(home: str) -> str:
    """Name the section of a module's names."""
    room = home.partition(".")[2].split(".")[0]
    return next((title for title, rooms in ROOMS.items() if room in rooms), MORE)


def _path(name: str, home: str) -> str:
    """Give the path of a public name; some are modules themselves."""
    return home if home == f"ulmfit.{name}" else f"{home}.{name}"


def _directive(path: str, heading: str, *options: str) -> list[str]:
    """Ask mkdocstrings for an entry."""
    given = ("heading_level: 3", f"heading: {heading}", *options)
    return [f"::: {path}", "    options:", *(f"      {option}" for option in given), ""]


if __name__ == "__main__":
    main()
