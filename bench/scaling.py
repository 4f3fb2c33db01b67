"""Is our time linear? Bars, symbols and combinations, each over three decades."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from bench.markets import walk
from bench.measure import Step, seconds, silent, slope
from bench.works import Sizes

AXES = ("bars", "symbols", "combinations")
FACTORS = (1, 3, 10, 32, 100, 316, 1_000)
ENOUGH = 1.0  # seconds of a point after which it is not measured again


@dataclass(frozen=True)
class Point:
    """One size along one axis, and how long it took."""

    axis: str
    bars: int
    symbols: int
    combinations: int
    seconds: float

    @property
    def size(self) -> int:
        """Bars x symbols x combinations."""
        return self.bars * self.symbols * self.combinations


def point(axis: str, factor: int, base: int) -> Point:
    """Our sweep, one axis a factor above the base; the median of three unless it takes long.

    A call that is not counted comes first: what is known of bars is asked once, and kept.
    """
    from bench.ours import as_ours, our_sweep, with_knobs

    counts = {"bars": base, "symbols": 1, "combinations": 1}
    counts[axis] *= factor
    bars = as_ours(walk(counts["bars"], counts["symbols"]))
    n = counts["combinations"]
    policies = [with_knobs(60 + 20 * i / n, 1 + 4 * i / n) for i in range(n)]
    our_sweep(bars, policies)
    times: list[float] = []
    while len(times) < 3 and sum(times) < ENOUGH:
        times.append(seconds(lambda: our_sweep(bars, policies)))
    return Point(axis, **counts, seconds=median(times))


def scaling(sizes: Sizes, step: Step = silent) -> list[Point]:
    """All points."""
    points = []
    for axis in AXES:
        for factor in FACTORS:
            step(f"{factor} x {sizes.base:,} along {axis}")
            points.append(point(axis, factor, sizes.base))
    return points


def slopes(points: Sequence[Point]) -> dict[str, float]:
    """The fitted exponent along each axis, of all points, and of the last decade.

    A fixed cost flattens the small sizes; the last decade shows what is left of it.
    """

    def fitted(chosen: Sequence[Point]) -> float:
        return slope([p.size for p in chosen], [p.seconds for p in chosen])

    largest = max(p.size for p in points)
    return {axis: fitted([p for p in points if p.axis == axis]) for axis in AXES} | {
        "all": fitted(points),
        "last decade": fitted([p for p in points if 10 * p.size >= largest]),
    }


def drawn(points: Sequence[Point], file: Path) -> None:
    """Time against size, both logarithmic, beside a line of slope 1 through the largest point."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(6.4, 4.2), layout="constrained")
    fitted = slopes(points)
    for axis, marker in zip(AXES, "os^", strict=True):
        chosen = [p for p in points if p.axis == axis]
        sizes, times = [p.size for p in chosen], [p.seconds for p in chosen]
        axes.loglog(sizes, times, marker, ls="-", lw=1, label=f"{axis}: slope {fitted[axis]:.2f}")
    ends = [min(p.size for p in points), max(p.size for p in points)]
    top = max(p.seconds for p in points)
    axes.loglog(ends, [top * end / ends[1] for end in ends], color="0.6", ls="--", label="linear")
    axes.set(xlabel="bars x symbols x combinations", ylabel="time [s]")
    axes.legend(frameon=False)
    figure.savefig(file, dpi=150)
    plt.close(figure)
