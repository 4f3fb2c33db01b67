"""The committed package is what the notebooks export: nobody edited it, nobody forgot to export."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
FOREIGN = shutil.ignore_patterns("__pycache__", ".ipynb_checkpoints")


def modules(root: Path) -> dict[str, str]:
    """The package as text, file by file."""
    package = root / "argo_alpine"
    return {str(p.relative_to(package)): p.read_text() for p in sorted(package.rglob("*.py"))}


def clean_copy(folder: Path) -> Path:
    """The sources without the package: what is there afterwards was exported."""
    for name in ("settings.ini", "pyproject.toml"):
        shutil.copy(ROOT / name, folder)
    shutil.copytree(ROOT / "nbs", folder / "nbs", ignore=FOREIGN)
    (folder / "argo_alpine").mkdir()
    return folder


def export(root: Path) -> dict[str, str]:
    """Export in a process of its own; with IN_TEST set nbdev would do nothing and not say so."""
    environment = {k: v for k, v in os.environ.items() if k != "IN_TEST"}
    command = [sys.executable, "-c", "from nbdev import nbdev_export; nbdev_export()"]
    subprocess.run(command, cwd=root, env=environment, check=True, capture_output=True)
    return modules(root)


def test_a_fresh_export_is_the_committed_package(tmp_path):
    assert export(clean_copy(tmp_path)) == modules(ROOT)


def test_one_changed_letter_in_a_notebook_is_noticed(tmp_path):
    notebook = clean_copy(tmp_path) / "nbs" / "00_domain.ipynb"
    before = notebook.read_text()
    after = before.replace("Stop: a person must look.", "Stop; a person must look.")
    assert after != before
    notebook.write_text(after)
    exported, committed = export(tmp_path), modules(ROOT)
    assert {name for name in committed if exported.get(name) != committed[name]} == {"domain.py"}
