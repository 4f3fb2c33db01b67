"""What is measured: each work with its prices, the engines that do it, and the aims."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from bench import peers
from bench.markets import DAY, days, google, walk
from bench.peers import Outcome

Job = Callable[[], Outcome]


@dataclass(frozen=True)
class Sizes:
    """How much of everything, and how often."""

    bars: int = 100_000
    days: int = 2_520
    symbols: int = 500
    signals: int = 1_000_000
    runs: int = 5
    starts: int = 3
    base: int = 10_000  # bars where the scaling plot begins; it ends a thousand times further


GOOG_BARS = 2_148
QUICK = Sizes(
    bars=2_000, days=300, symbols=10, signals=10_000, runs=2, starts=1, base=200
)  # tries every path, says nothing about speed


@dataclass(frozen=True)
class Work:
    """One row of comparisons: all engines get the same input."""

    title: str
    given: Callable[[Sizes], tuple[Any, ...]]
    engines: Mapping[str, Callable[..., Job]]  # name -> from the input to a job; ours first
    aims: Mapping[str, float]  # peer -> how many times faster we want to be

    def alone(self, sizes: Sizes) -> tuple[Any, ...]:
        """The input in a process of its own: reading GOOG imports backtesting.py for everybody."""
        return (walk(GOOG_BARS, 1, DAY),) if self.given is goog else self.given(sizes)


def goog(sizes: Sizes) -> tuple[Any, ...]:
    """GOOG, whatever the sizes."""
    return (google(),)


def scored(sizes: Sizes) -> tuple[Any, ...]:
    """Confidences in hundredths of a percent, and whether each signal was right."""
    rng = np.random.default_rng(3)
    confidences = rng.integers(5_000, 10_000, sizes.signals)
    return confidences, rng.uniform(0, 10_500, sizes.signals) < confidences  # a little too sure


def ours(name: str) -> Callable[..., Job]:
    """Our function of that name; its package is imported when it is asked for, not before."""

    def prepare(*given: Any) -> Job:
        from bench import ours

        return partial(getattr(ours, name), *map(ours.as_ours, given))

    return prepare


def theirs(function: Callable[..., Outcome], **how: Any) -> Callable[..., Job]:
    """A peer's function."""
    return lambda *given: partial(function, *given, **how)


def singles(brackets: bool, job: str = "our_run") -> dict[str, Callable[..., Job]]:
    """The four engines on one symbol."""
    return {
        "ours": ours(job),
        "backtesting": theirs(peers.backtesting_single, brackets=brackets),
        "vectorbt": theirs(peers.vectorbt_single, brackets=brackets),
        "raptorbt": theirs(peers.raptorbt_single, brackets=brackets),
    }


WORKS = {
    "goog": Work(
        "GOOG, 2,148 days",
        goog,
        singles(brackets=False, job="our_page"),
        {"raptorbt": 1, "backtesting": 30},
    ),
    "single100k": Work(
        "one symbol, 100k bars, brackets",
        lambda sizes: (walk(sizes.bars),),
        singles(brackets=True),
        {"raptorbt": 4, "vectorbt": 15, "backtesting": 300},
    ),
    "sweep": Work(
        "100 combinations x 100k bars",
        lambda sizes: (walk(sizes.bars),),
        {
            "ours": ours("our_sweep"),
            "vectorbt": theirs(peers.vectorbt_sweep),
            "raptorbt": theirs(peers.raptorbt_sweep),
        },
        {"raptorbt": 8, "vectorbt": 30},
    ),
    "portfolio": Work(
        "500 symbols x 2,520 days",
        lambda sizes: (days(sizes.days, sizes.symbols),),
        {
            "ours": ours("our_run"),
            "vectorbt": theirs(peers.vectorbt_portfolio),
            "raptorbt": theirs(peers.raptorbt_portfolio),
        },
        {"raptorbt": 2, "vectorbt": 10},
    ),
    "quality": Work(
        "quality of 1M signals",
        scored,
        {"ours": ours("our_quality"), "sklearn": theirs(peers.sklearn_quality)},
        {"sklearn": 20},
    ),
}
COLD = Work("a first result", goog, singles(brackets=False), {})
MEGABYTES = 300  # at most, for our sweep
OF_VECTORBT = 0.25  # at most, of its memory, for our portfolio
COLD_SECONDS = 2.5  # at most, compiled code cached


def prepared(work: Work, sizes: Sizes) -> dict[str, Job]:
    """Every engine's job on the same input."""
    given = work.given(sizes)
    return {name: engine(*given) for name, engine in work.engines.items()}
