"""How fast are our backtests beside backtesting.py, vectorbt and raptorbt, in one go?

    make bench

First the same SMA(10/30) crossings go through our loop and every peer: unless each round trip is
the same, or differs by a written rule, nothing is timed. Then our full job (votes, consensus,
risk, sizing, brackets, costs) is timed beside the peers' crossings, which are less work.
"""

import json
import platform
import sys
from collections.abc import Mapping
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated, Any

import psutil
import typer
from rich.console import Console
from rich.table import Table

from bench import parity
from bench.markets import google, walk
from bench.measure import (
    ROOT,
    Absent,
    Fresh,
    Step,
    Timing,
    fresh,
    interleaved,
    never_compiled,
    ratio,
)
from bench.scaling import Point, drawn, scaling, slopes
from bench.works import (
    COLD,
    COLD_SECONDS,
    MEGABYTES,
    OF_VECTORBT,
    QUICK,
    WORKS,
    Sizes,
    prepared,
)

PARTS = (*WORKS, "parity", "memory", "cold", "scaling")
PACKAGES = ("argo-alpine", "backtesting", "vectorbt", "raptorbt", "scikit-learn")
BASICS = ("numba", "numpy", "pandas")
Times = Mapping[str, Mapping[str, Timing | Absent]]  # work -> engine
Freshes = Mapping[str, Mapping[str, Fresh | Absent]]  # work -> engine


def compared(sizes: Sizes, step: Step) -> list[parity.Comparison | Absent]:
    """Our round trips beside every peer's, and the control: late directions must be noticed."""
    found: list[parity.Comparison | Absent] = []
    for market, prices in (("GOOG", google()), (f"{sizes.bars:,} minutes", walk(sizes.bars))):
        for peer in parity.PEERS:
            step(f"{market}: {peer}")
            try:
                found += [parity.compared(market, prices, legs, peer) for legs in (False, True)]
                if not parity.is_noticed(prices, peer):
                    missed = ("directions one bar late were not noticed: the check is blind",)
                    found.append(parity.Comparison(market, False, peer, 0, 0, 0, {}, missed))
            except ImportError as error:
                found.append(Absent(f"{peer}: {error}"))
    try:
        found.append(parity.scored_alike(*WORKS["quality"].given(sizes)))
    except ImportError as error:
        found.append(Absent(f"quality: {error}"))
    return found


def remembered(works: Mapping[str, Any], is_quick: bool, step: Step) -> Freshes:
    """Peak memory of every work and engine, each in a process of its own."""
    words = ["quick"] if is_quick else []
    found: dict[str, dict[str, Fresh | Absent]] = {}
    for name, work in works.items():
        found[name] = {}
        for engine in work.engines:
            step(f"memory of {name}: {engine}")
            found[name][engine] = fresh([name, engine, *words])
    return found


def started(sizes: Sizes, step: Step) -> dict[str, Fresh | Absent]:
    """From nothing to a first result: the median of several starts, and ours once uncompiled."""
    found: dict[str, Fresh | Absent] = {}
    with never_compiled() as copy:
        for engine in ("ours, cache removed", *COLD.engines):
            step(f"start: {engine}")
            name, *uncompiled = engine.split(", ")
            root = copy if name == "ours" else ROOT
            starts = [fresh(["cold", name], root) for _ in range(1 if uncompiled else sizes.starts)]
            good = sorted((s for s in starts if isinstance(s, Fresh)), key=lambda s: s.seconds)
            found[engine] = good[len(good) // 2] if good else starts[0]
    return found


def ratios(times: Times) -> tuple[dict[str, float | None], dict[str, str]]:
    """How many times faster we are, by work and peer; and where that cannot be said, why."""
    numbers: dict[str, float | None] = {}
    why: dict[str, str] = {}
    for name, work in WORKS.items():
        for peer in list(work.engines)[1:]:
            taken = times.get(name, {})
            found = ratio(taken.get("ours"), taken.get(peer))
            key = f"{name}_vs_{peer}"
            numbers[key] = None if isinstance(found, Absent) else found
            if isinstance(found, Absent):
                why[key] = found.why
    return numbers, why


def machine() -> dict[str, Any]:
    """What it ran on; no name of a host or a folder."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.is_file() else []
    models = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return {
        "processor": models[0] if models else platform.processor() or platform.machine(),
        "cores": psutil.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 1e9, 1),
        "system": platform.system(),
        "python": platform.python_version(),
    }


def versions() -> dict[str, str | None]:
    """Who took part; None: not installed."""
    found: dict[str, str | None] = {}
    for package in (*PACKAGES, *BASICS):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = None
    return found


def figure(value: Fresh | Absent, name: str) -> float | None:
    """One number of a fresh process, None where there is none."""
    number = getattr(value, name, None)
    return None if number is None else round(number, 3)


def report(
    sizes: Sizes,
    checks: list[parity.Comparison | Absent],
    times: Times,
    memory: Freshes,
    starts: Mapping[str, Fresh | Absent],
    points: list[Point],
) -> dict[str, Any]:
    """Everything measured, as plain values."""
    numbers, why = ratios(times)
    return {
        "ratios": numbers,
        "why_null": why,
        "aims": {f"{n}_vs_{peer}": aim for n, w in WORKS.items() for peer, aim in w.aims.items()},
        "n": sizes.runs,
        "seconds": {
            work: {
                engine: asdict(timing)
                | ({"median": timing.median} if isinstance(timing, Timing) else {})
                for engine, timing in engines.items()
            }
            for work, engines in times.items()
        },
        "peak_mb": {
            work: {engine: figure(value, "peak_mb") for engine, value in engines.items()}
            for work, engines in memory.items()
        },
        "grown_mb": {
            work: {engine: figure(value, "grown_mb") for engine, value in engines.items()}
            for work, engines in memory.items()
        },
        "cold_start_s": {engine: figure(value, "seconds") for engine, value in starts.items()},
        "scaling": {
            "slopes": slopes(points) if points else {},
            "points": [asdict(p) | {"size": p.size} for p in points],
        },
        "parity": [asdict(check) for check in checks],
        "sizes": asdict(sizes),
        "machine": machine(),
        "versions": versions(),
    }


def parity_table(checks: list[parity.Comparison | Absent]) -> Table:
    """Round trips, and every difference with its rule."""
    columns = ("market", "brackets", "peer", "ours", "theirs", "by a leg", "explained differences")
    table = Table(*columns, title="the same crossings: round trips")
    for check in checks:
        if isinstance(check, Absent):
            table.add_row("", "", check.why)
            continue
        rules = "; ".join(f"{n}: {rule}" for rule, n in check.explained.items()) or "none"
        counts = (f"{n:,}" for n in (check.ours, check.theirs, check.legs))
        table.add_row(check.market, str(check.brackets), check.peer, *counts, rules)
    return table


def time_table(times: Times) -> Table:
    """Medians, ratios and aims."""
    columns = (
        "work",
        "peer",
        "theirs [ms]",
        "ours [ms]",
        "ratio",
        "aim",
        "met",
        "first calls [ms]",
    )
    table = Table(*columns, title="our full job beside the peers' crossings, medians")
    numbers, why = ratios(times)
    for name, taken in times.items():
        for peer in list(taken)[1:]:
            key, aim = f"{name}_vs_{peer}", WORKS[name].aims.get(peer)
            both, found = (taken[peer], taken["ours"]), numbers[key]
            medians = (milliseconds(timing, "median") for timing in both)
            first = " / ".join(milliseconds(timing, "first") for timing in both)
            row = (WORKS[name].title, peer, *medians, f"{found:,.2f}" if found else why[key])
            met = verdict(found >= aim) if found and aim else ""
            table.add_row(*row, f"{aim:g}" if aim else "", met, first)
    return table


def milliseconds(timing: Timing | Absent, name: str) -> str:
    """One number of a timing as text."""
    return f"{1e3 * getattr(timing, name):,.2f}" if isinstance(timing, Timing) else "-"


def verdict(is_met: bool) -> str:
    """One word."""
    return "yes" if is_met else "no"


def memory_table(memory: Freshes) -> Table:
    """Peaks of whole processes."""
    engines = list(dict.fromkeys(engine for row in memory.values() for engine in row))
    title = "peak memory of a process alone, and what the work itself added [MB]"
    table = Table("work", *engines, "aim", "met", title=title)
    for name, row in memory.items():
        peaks = {engine: figure(value, "peak_mb") for engine, value in row.items()}
        added = {engine: figure(value, "grown_mb") or 0 for engine, value in row.items()}
        cells = [f"{peaks[e]:,.0f} (+{added[e]:,.0f})" if peaks.get(e) else "-" for e in engines]
        mine, limit = peaks.get("ours"), None
        if name == "sweep":
            limit = float(MEGABYTES)
        elif name == "portfolio" and peaks.get("vectorbt"):
            limit = OF_VECTORBT * peaks["vectorbt"]
        met = verdict(mine <= limit) if mine and limit else ""
        table.add_row(WORKS[name].title, *cells, f"{limit:,.0f}" if limit else "", met)
    return table


def cold_table(starts: Mapping[str, Fresh | Absent]) -> Table:
    """From the start of a process to a first result."""
    table = Table("engine", "seconds", "aim", "met", title="cold start to a first result")
    for engine, value in starts.items():
        took = figure(value, "seconds")
        aim = COLD_SECONDS if engine == "ours" else None
        met = verdict(took <= aim) if took and aim else ""
        shown = f"{took:.2f}" if took else getattr(value, "why", "")
        table.add_row(engine, shown, f"{aim:g}" if aim else "", met)
    return table


def main(
    only: Annotated[
        list[str] | None,
        typer.Option(help=f"One part, may be repeated: {', '.join(PARTS)}."),
    ] = None,
    quick: Annotated[
        bool, typer.Option(help="Tiny sizes: tries every path, says nothing about speed.")
    ] = False,
    into: Annotated[Path, typer.Option(help="Folder for bench.json and bench.png.")] = ROOT
    / "data"
    / "reports",
) -> None:
    """Compare our backtests with backtesting.py, vectorbt and raptorbt.

    Round trips come first: a difference without a written rule ends in 1.

    Times are medians after a first call, engines taking turns. Only ratios
    within one run mean anything, and only on a machine left alone.
    """
    if unknown := set(only or ()) - set(PARTS):
        raise typer.BadParameter(f"no part {', '.join(unknown)}; there are {', '.join(PARTS)}")
    parts, sizes, console = set(only or PARTS), QUICK if quick else Sizes(), Console()
    if not console.is_terminal:
        console = Console(width=140)
    works = {name: work for name, work in WORKS.items() if name in parts}
    with console.status("") as status:

        def step(what: str) -> None:
            status.update(what)

        checks = compared(sizes, step) if works or "parity" in parts else []
        if checks:
            console.print(parity_table(checks))
        unlike = [c for c in checks if isinstance(c, parity.Comparison) and not c.is_alike]
        for check in unlike:
            named = f"{check.market}, {check.peer}, brackets {check.brackets}"
            console.print(f"{named}: {len(check.unexplained)} unexplained", style="red")
            console.print("\n".join(check.unexplained[:5]))
        if unlike:
            sys.exit(1)

        times: dict[str, Mapping[str, Timing | Absent]] = {}
        for name, work in works.items():
            jobs = prepared(work, sizes)
            times[name] = interleaved(
                jobs, sizes.runs, lambda engine, name=name: step(f"{name}: {engine}")
            )
            console.print(f"{name} timed")
        memory = remembered(works or WORKS, quick, step) if "memory" in parts else {}
        starts = started(sizes, step) if "cold" in parts else {}
        points = scaling(sizes, step) if "scaling" in parts else []

    into.mkdir(parents=True, exist_ok=True)
    if times:
        console.print(time_table(times))
    if memory:
        console.print(memory_table(memory))
    if starts:
        console.print(cold_table(starts))
    if points:
        drawn(points, into / "bench.png")
        fitted = ", ".join(f"{axis} {value:.2f}" for axis, value in slopes(points).items())
        console.print(f"time grows with size to the power of: {fitted} (1 is linear); bench.png")
    told = report(sizes, checks, times, memory, starts, points)
    (into / "bench.json").write_text(json.dumps(told, indent=1) + "\n")
    note = "; tiny sizes, no statement about speed" if quick else ""
    console.print(f"n = {sizes.runs} runs each{note}; everything is in {into.name}/bench.json")


if __name__ == "__main__":
    typer.run(main)
