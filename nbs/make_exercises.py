"""Write what is made from the exercises' data: nbs/exercises/*.ipynb and docs/questionnaire.md.

    python nbs/make_exercises.py

A notebook has the task, an empty function and a check; outputs are empty.
"""

from __future__ import annotations

import json
from pathlib import Path

from ulmfit.exercises import EXERCISES, Exercise, questionnaire

ROOT = Path(__file__).resolve().parents[1]
_METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


def notebook(name: str, exercise: Exercise) -> str:
    """Write the notebook of an exercise as nbformat 4 JSON."""
    names = list(EXERCISES)
    following = names[names.index(name) + 1 :][:1]
    then = (
        f"Next: [{following[0]}]({following[0]}.ipynb)." if following else "That is the last one."
    )
    cells = [
        _markdown(f"# {name}: {exercise.title}\n\n{exercise.task}"),
        _code("import numpy as np\n\nimport ulmfit"),
        _markdown(
            "Write the function. Run the next cell as often as you like: it shows the smallest input on which your "
            "answer is not right."
        ),
        _code(exercise.stub.rstrip()),
        _code(f'ulmfit.exercises.check("{name}", {exercise.function})'),
        _markdown(
            f'Stuck? `ulmfit.exercises.hint("{name}")`, and at last `ulmfit.exercises.show_solution("{name}")`. The library '
            f"does the same in `{exercise.home}`. {then}"
        ),
    ]
    for number, cell in enumerate(cells):
        cell["id"] = f"{name}-{number}"
    content = {"cells": cells, "metadata": _METADATA, "nbformat": 4, "nbformat_minor": 5}
    return json.dumps(content, ensure_ascii=False, indent=1) + "\n"


def made() -> dict[Path, str]:
    """Give every file with its content."""
    notebooks = {
        ROOT / "nbs" / "exercises" / f"{name}.ipynb": notebook(name, exercise)
        for name, exercise in EXERCISES.items()
    }
    return {**notebooks, ROOT / "docs" / "questionnaire.md": questionnaire()}


def _markdown(text: str) -> dict[str, object]:
    return {"cell_type": "markdown", "metadata": {}, "source": text.splitlines(keepends=True)}


def _code(text: str) -> dict[str, object]:
    return {
        "cell_type": "code",
        "execution_count": None,
        "metadata": {},
        "outputs": [],
        "source": text.splitlines(keepends=True),
    }


if __name__ == "__main__":
    for path, content in made().items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8", newline="\n")
        print(path.relative_to(ROOT))
