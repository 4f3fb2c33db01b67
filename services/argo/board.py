"""The timestamped store between those who fetch and the cycle that only reads."""

from threading import Lock

from argo_alpine.domain import Bar, Quote, Reading
from services.argo.ports import Harvest


class Board:
    """The latest each source knew; written by many threads, read by one."""

    def __init__(self) -> None:
        self.lock = Lock()
        self.quotes: dict[str, Quote] = {}
        self.readings: dict[tuple[str, str], Reading] = {}
        self.bars: list[Bar] = []

    def put(self, source: str, harvest: Harvest) -> None:
        """Take what a source brought; older news never replaces newer."""
        with self.lock:
            for quote in harvest.quotes:
                held = self.quotes.get(quote.symbol)
                if held is None or held.at <= quote.at:
                    self.quotes[quote.symbol] = quote
            for reading in harvest.readings:
                key = (source, reading.symbol)
                known = self.readings.get(key)
                if known is None or known.at <= reading.at:
                    self.readings[key] = reading
            self.bars += harvest.bars

    def latest(self) -> tuple[tuple[Quote, ...], tuple[Reading, ...]]:
        """Quotes by symbol and readings by source and symbol."""
        with self.lock:
            quotes = tuple(self.quotes[symbol] for symbol in sorted(self.quotes))
            return quotes, tuple(self.readings[key] for key in sorted(self.readings))

    def take_bars(self) -> list[Bar]:
        """The bars that came since the last call."""
        with self.lock:
            taken, self.bars = self.bars, []
        return taken
