"""What is meant where symbols or days were left unsaid: in a folder of one's own, all there are."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path

from argo_alpine.bars import Bars, between, join
from argo_alpine.domain import InvalidPolicy, Reading
from argo_alpine.gaps import Gap, gaps, largest
from argo_alpine.indicators import IndicatorPolicy, warm_up
from argo_alpine.loading import bars_in, cold_bars, first_day, series
from argo_alpine.readings import closes_heard, readings_of
from argo_alpine.samples import checksums, data_folder, files_of, is_samples, read, symbols_there
from argo_alpine.sessions import date_of, day_number

MANY = 20  # symbols, that nobody reads


@dataclass(frozen=True, slots=True)
class Asked:
    """Bars, the days on which they are decided, and what was said on them."""

    bars: Bars
    first: date
    last: date
    folder: Path
    readings: tuple[Reading, ...]
    gaps: tuple[Gap, ...]  # what symbols lack of the days that are decided
    needed: int  # bars until every indicator has a value

    def __str__(self) -> str:
        names = self.bars.symbols
        which = ", ".join(names) if len(names) <= MANY else f"{len(names)} symbols"
        return f"{which} of {self.folder.name}, {self.first} to {self.last}"

    @property
    def spoken(self) -> dict[str, int]:
        """At how many decided closes X and Sonar are heard."""
        return closes_heard(self.decided, self.readings)

    @property
    def decided(self) -> Bars:
        """Without those that only warm up."""
        return between(self.bars, self.first, None)

    @property
    def cold(self) -> int:
        """How many decided bars come before indicators are warm."""
        return cold_bars(self.bars, self.needed, self.first)

    @property
    def origin(self) -> dict[str, object]:
        """Where the bars are from, for programs."""
        digests = checksums(self.bars.symbols, self.folder)
        days = {"first": str(self.first), "last": str(self.last)}
        lacks = {"gaps": [plain(gap) for gap in self.gaps], "cold": self.cold}
        known = {"readings": self.spoken, **lacks}
        return {"data": {"folder": self.folder.name, **days, **known, "sha256": digests}}


def plain(gap: Gap) -> dict[str, object]:
    """A gap as JSON has it."""
    return {**asdict(gap), "first": str(gap.first), "last": str(gap.last)}


def begun(names: Sequence[str], last: date, data: str) -> list[str]:
    """Those of some symbols that have a bar until a day."""
    files = files_of(names, data).items()
    return [s for s, name in files if bars_in(read(name, data), s).days[0] <= day_number(last)]


def is_own(data: str) -> bool:
    """Whether a folder is named that is not the samples'. *Raises* `UnavailableData` for none."""
    return data != "" and not is_samples(data_folder(data))


def check_turn(first: date | None, last: date | None) -> None:
    """*Raises* `InvalidPolicy` unless the first day comes first, as far as both are named."""
    if first is not None and last is not None and first > last:
        raise InvalidPolicy(f"{first} is after {last}: the first day must not lie behind the last")


def asked(
    data: str,  # a folder of bars; empty: the samples
    symbols: Sequence[str] | None,  # none: all that have a bar until then
    first: date | None,  # none: when indicators are warm
    last: date | None,  # none: the last bar
    periods: IndicatorPolicy,
    basis: str = "splits",
) -> Asked:
    """The bars that are meant, from the first in the folder. *Raises* as `load` does."""
    check_turn(first, last)
    names = [*symbols_there(data)] if symbols is None else symbols
    if symbols is None and last is not None:
        names = begun(names, last, data) or names
    whole, needed = series(names, basis, data), warm_up(periods)
    bars = join([between(one, None, last) for one in whole])
    begin = first_day(bars, needed) if first is None else first
    end = date_of(bars.days[-1]) if last is None else last
    holes = largest(gap for one in whole for gap in gaps(one, begin, end))
    said = readings_of(names, data)
    return Asked(bars, begin, end, data_folder(data), said, holes, needed)
