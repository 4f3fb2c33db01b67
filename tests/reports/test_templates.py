"""A report's parameters are found by a tag: without it a report silently runs with its defaults."""

import ast
import io
import json
import logging
import tokenize
from pathlib import Path

import pytest
from papermill import inspect_notebook

from services.common.reports import declared

ROOT = Path(__file__).parents[2]
TEMPLATES = sorted((ROOT / "nbs" / "reports").glob("*.ipynb"))


def comments(source: str) -> set[int]:
    """The lines of a program that carry a comment."""
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    return {t.start[0] for t in tokens if t.type == tokenize.COMMENT}


def unexplained(source: str) -> list[str]:
    """The statements of a parameters cell that are not `name: type = value  # why`."""
    commented = comments(source)
    return [
        ast.unparse(node)
        for node in ast.parse(source).body
        if not isinstance(node, ast.AnnAssign)
        or node.value is None
        or not commented & set(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    ]


def flaws(template: Path) -> list[str]:
    """Why papermill, or a reader, could misunderstand a template."""
    cells = json.loads(template.read_text())["cells"]
    tagged = [i for i, c in enumerate(cells) if "parameters" in c["metadata"].get("tags", [])]
    if tagged != [1]:
        return [f"the second cell, and no other, is tagged parameters; tagged are {tagged}"]
    source = "".join(cells[1]["source"])
    if not ast.parse(source).body:
        return ["there are no parameters"]
    return [f"a parameter has a type, a value and a comment: {s}" for s in unexplained(source)]


def a_template(path: Path, parameters: str, *tags: str) -> Path:
    cells = [
        {"cell_type": "markdown", "metadata": {}, "source": "# A report"},
        {"cell_type": "code", "metadata": {"tags": [*tags]}, "source": parameters},
        {"cell_type": "code", "metadata": {}, "source": "print(symbol)"},
    ]
    path.write_text(json.dumps({"cells": cells}))
    return path


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda p: p.stem)
def test_parameters_are_tagged_typed_and_explained(template):
    assert flaws(template) == []


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda p: p.stem)
def test_papermill_finds_every_parameter_and_has_nothing_to_say(template, caplog):
    found = inspect_notebook(template)
    assert {*found} == {*declared(template)}
    assert all(one["help"] for one in found.values())
    assert [r.message for r in caplog.records if r.levelno > logging.INFO] == []


def test_a_sound_template_has_no_flaws(tmp_path):
    sound = (
        'symbol: str = "AAPL"  # which\nyears: tuple[int, int] = (\n    2010,\n    2020,\n)  # when'
    )
    assert flaws(a_template(tmp_path / "sound.ipynb", sound, "parameters")) == []


@pytest.mark.parametrize(
    ("source", "tags"),
    [
        ('symbol: str = "AAPL"  # which', []),
        ('symbol = "AAPL"  # which', ["parameters"]),
        ('symbol: str = "AAPL"', ["parameters"]),
        ('symbol: str = "#AAPL"', ["parameters"]),
        ("symbol: str  # which", ["parameters"]),
        ("# nothing", ["parameters"]),
    ],
    ids=["untagged", "untyped", "uncommented", "hash-in-text", "valueless", "empty"],
)
def test_a_flaw_is_seen(tmp_path, source, tags):
    assert len(flaws(a_template(tmp_path / "flawed.ipynb", source, *tags))) == 1


def test_two_tagged_cells_are_seen(tmp_path):
    template = a_template(tmp_path / "two.ipynb", 'symbol: str = "AAPL"  # which', "parameters")
    notebook = json.loads(template.read_text())
    notebook["cells"][2]["metadata"]["tags"] = ["parameters"]
    template.write_text(json.dumps(notebook))
    assert len(flaws(template)) == 1
