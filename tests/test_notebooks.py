"""Every lesson holds. Each notebook runs in a process of its own, as its reader runs it."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
NOTEBOOKS = [
    path.relative_to(ROOT)
    for path in sorted((ROOT / "nbs").rglob("*.ipynb"))
    if not {"reports", ".ipynb_checkpoints"} & set(path.relative_to(ROOT).parts)
]
RUN = """
import sys
from pathlib import Path
from nbdev.test import test_nb
passed, seconds = test_nb(Path(sys.argv[1]), basepath=sys.argv[2])
sys.exit(0 if passed else 1)
"""
SKIPS = re.compile(
    r"^\s*#\|\s*eval:\s*false|^\s*-?\s*skip_exec:\s*true", re.MULTILINE | re.IGNORECASE
)


def run(notebook: Path) -> str:
    """Run the lessons of a notebook: "" when all hold, else what the reader would have seen."""
    command = [sys.executable, "-c", RUN, str(notebook), str(ROOT)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return "" if done.returncode == 0 else done.stderr or f"exit code {done.returncode}"


def skips(notebook: Path) -> list[str]:
    """The cells of a notebook that ask not to be run."""
    cells = json.loads(notebook.read_text())["cells"]
    return [text for c in cells if SKIPS.search(text := "".join(c["source"]))]


def a_notebook(path: Path, *sources: str) -> Path:
    cells = [
        {
            "cell_type": "code",
            "execution_count": None,
            "id": f"cell-{i}",
            "metadata": {},
            "outputs": [],
            "source": source,
        }
        for i, source in enumerate(sources)
    ]
    kernel = {"display_name": "python3", "language": "python", "name": "python3"}
    path.write_text(
        json.dumps(
            {
                "cells": cells,
                "metadata": {"kernelspec": kernel},
                "nbformat": 4,
                "nbformat_minor": 5,
            }
        )
    )
    return path


@pytest.fixture(scope="session")
def outcomes() -> Iterator[dict[Path, Future[str]]]:
    """All notebooks, running side by side from the first test that asks."""
    pool = ThreadPoolExecutor(min(4, os.cpu_count() or 1))
    yield {path: pool.submit(run, ROOT / path) for path in NOTEBOOKS}
    pool.shutdown(cancel_futures=True)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=str)
def test_the_lessons_hold(path, outcomes):
    if failure := outcomes[path].result():
        pytest.fail(failure, pytrace=False)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=str)
def test_no_notebook_asks_to_be_skipped(path):
    assert not skips(ROOT / path)


def test_a_false_lesson_is_reported(tmp_path):
    assert run(a_notebook(tmp_path / "true.ipynb", "x = 2", "assert x == 2")) == ""
    assert "AssertionError" in run(a_notebook(tmp_path / "false.ipynb", "x = 2", "assert x == 3"))


def test_a_skipped_cell_is_seen(tmp_path):
    assert skips(a_notebook(tmp_path / "shy.ipynb", "x = 2", "#| eval: false\nassert x == 3"))
