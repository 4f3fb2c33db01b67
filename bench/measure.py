"""Clocks and scales: interleaved runs, fresh processes, fitted slopes."""

import gc
import json
import os
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import numpy as np
import psutil

ROOT = Path(__file__).parents[1]
ENOUGH = 0.02  # seconds; what takes less is timed several times in a row
Step = Callable[[str], None]  # shows what is being done


def silent(what: str) -> None:
    """Show nothing."""


@dataclass(frozen=True)
class Timing:
    """Seconds of several calls; the first, which may compile, is told apart."""

    first: float
    runs: tuple[float, ...]

    @property
    def median(self) -> float:
        """Of the runs after the first."""
        return median(self.runs)


@dataclass(frozen=True)
class Absent:
    """A measurement that could not be made, and why."""

    why: str


def seconds(job: Callable[[], object], least: float = 0.0) -> float:
    """How long a call takes, without somebody else's garbage: one, or as many as fill `least`."""
    gc.collect()
    gc.freeze()  # or every collection walks all that all engines have imported
    began, calls, took = time.perf_counter(), 0, 0.0
    while calls == 0 or took < least:
        job()
        calls, took = calls + 1, time.perf_counter() - began
    return took / calls


def interleaved(
    jobs: Mapping[str, Callable[[], object]], runs: int, step: Step = silent
) -> dict[str, Timing | Absent]:
    """Times of all jobs, in turn, so that a drift of the machine hits all alike.

    Each turn begins with a call that is not counted: the engine before has filled the caches.
    Short jobs are repeated, as `timeit` does: the clock is read between caches, not across them.
    """
    first: dict[str, float] = {}
    absent: dict[str, Absent] = {}
    for name, job in jobs.items():
        step(name)
        try:
            first[name] = seconds(job)
        except ImportError as error:
            absent[name] = Absent(f"not here: {error}")
    times: dict[str, list[float]] = {name: [] for name in first}
    for _ in range(runs):
        for name in first:
            step(name)
            jobs[name]()
            times[name].append(seconds(jobs[name], ENOUGH))
    return {n: absent[n] if n in absent else Timing(first[n], tuple(times[n])) for n in jobs}


def ratio(ours: Timing | Absent | None, theirs: Timing | Absent | None) -> float | Absent:
    """How many times faster we are, or why that cannot be said."""
    for timing in (theirs, ours):
        if not isinstance(timing, Timing):
            return timing or Absent("not run")
    return theirs.median / ours.median


def slope(sizes: Sequence[float], times: Sequence[float]) -> float:
    """The exponent of a power law through the points: 1 is linear. NaN below two points."""
    if len(set(sizes)) < 2:
        return float("nan")
    return float(np.polyfit(np.log(sizes), np.log(times), 1)[0])


@dataclass(frozen=True)
class Fresh:
    """What a process of its own needed, imports and compilation included."""

    seconds: float  # from its start to its result
    peak_mb: float
    grown_mb: float | None = None  # above the peak of the same work, tiny


def fresh(words: Sequence[str], root: Path = ROOT) -> Fresh | Absent:
    """Run `bench.fresh` by itself; its children count for memory."""
    command = [sys.executable, "-m", "bench.fresh", *words]
    env = os.environ | {"PYTHONPATH": str(root)}
    began, peak = time.perf_counter(), 0
    with subprocess.Popen(command, cwd=root, env=env, stdout=subprocess.PIPE, text=True) as process:
        family = psutil.Process(process.pid)
        while process.poll() is None:
            peak = max(peak, together(family))
            if select.select([process.stdout], [], [], 0.005)[0]:
                break
        took = time.perf_counter() - began
        line = process.stdout.readline()
    if not line:
        raise RuntimeError(f"bench.fresh {' '.join(words)} ended with {process.returncode}")
    told = json.loads(line)
    if "absent" in told:
        return Absent(told["absent"])
    highest, tiny = max(peak / 1e6, told["peak_mb"]), told["tiny_mb"]
    return Fresh(took, highest, None if tiny is None else highest - tiny)


def together(family: psutil.Process) -> int:
    """Bytes of a process and its children; shared pages count twice, against us."""
    total = 0
    for process in [family, *children(family)]:
        try:
            total += process.memory_info().rss
        except psutil.Error:
            continue  # gone already
    return total


def children(family: psutil.Process) -> list[psutil.Process]:
    """The children of a process; none when it is gone."""
    try:
        return family.children(recursive=True)
    except psutil.Error:
        return []


@contextmanager
def never_compiled() -> Iterator[Path]:
    """A copy of the sources without anything compiled, so that nobody's cache is removed."""
    with TemporaryDirectory() as folder:
        for name in ("argo_alpine", "bench"):
            shutil.copytree(
                ROOT / name, Path(folder, name), ignore=shutil.ignore_patterns("__pycache__")
            )
        yield Path(folder)
