"""Compiled code never outlives its sources, not even those it calls in another file."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numba.core.errors import TypingError

import argo_alpine.arithmetic
from argo_alpine.arithmetic import compiled

CALLEE = """
from tiny.arithmetic import compiled
{plain}

@compiled
def step(x):
    return x + {step}
"""
CALLER = """
from tiny.b import step
from tiny.arithmetic import compiled
{plain}

@compiled
def walk(x):
    return 2 * step(x)
"""
PLAIN = "from numba import njit\ncompiled = njit(cache=True)"
RUN = "from tiny.a import walk; print(walk(1), sum(walk.stats.cache_hits.values()))"


class Tiny:
    """A package of two compiled functions in two files, the first calling the second."""

    def __init__(self, home: Path, plain: str) -> None:
        self.home, self.plain = home, plain
        package = home / "tiny"
        package.mkdir()
        (package / "__init__.py").touch()
        shutil.copy(Path(argo_alpine.arithmetic.__file__), package / "arithmetic.py")
        (package / "a.py").write_text(CALLER.format(plain=plain))
        self.write_callee(1)

    def write_callee(self, step: int) -> None:
        """Edit the callee and nothing else."""
        (self.home / "tiny" / "b.py").write_text(CALLEE.format(plain=self.plain, step=step))

    def walk(self) -> tuple[int, int]:
        """In a new process: what `walk(1)` is, and how often it came from the disk."""
        kept = {k: v for k, v in os.environ.items() if not k.startswith("NUMBA_")}
        # Python's own bytecode is judged by second and size, and a test is faster than a second
        environment = kept | {"PYTHONDONTWRITEBYTECODE": "1"}
        done = subprocess.run(
            [sys.executable, "-c", RUN],
            cwd=self.home,
            env=environment,
            check=True,
            capture_output=True,
            text=True,
        )
        result, hits = done.stdout.split()
        return int(result), int(hits)


@pytest.fixture
def ours(tmp_path):
    return Tiny(tmp_path, plain="")


@pytest.fixture
def numbas(tmp_path):
    return Tiny(tmp_path, plain=PLAIN)


def test_an_edited_callee_is_a_new_result(ours):
    assert ours.walk() == (4, 0)
    ours.write_callee(100)
    assert ours.walk() == (202, 0)


def test_numba_alone_would_return_the_old_result(numbas):
    assert numbas.walk() == (4, 0)
    numbas.write_callee(100)
    assert numbas.walk() == (4, 1)


def test_unchanged_sources_are_compiled_once(ours):
    assert ours.walk() == (4, 0)
    assert ours.walk() == (4, 1)


def test_a_function_that_makes_an_array_is_refused_unless_it_says_so():
    def total(n: int) -> float:
        return np.ones(n).sum()

    assert compiled(makes_arrays=True)(total)(3) == 3.0
    with pytest.raises(TypingError):
        compiled(total)(3)


def test_a_division_by_zero_is_what_numpy_says():
    @compiled
    def share(a: float, b: float) -> float:
        return a / b

    assert share(1.0, 0.0) == np.inf
    assert np.isnan(share(0.0, 0.0))
