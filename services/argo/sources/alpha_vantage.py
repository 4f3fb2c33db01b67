"""Alpha Vantage: its own daily indicators, once a session, call by call within the quota."""

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime
from time import monotonic
from typing import Any

from argo_alpine.domain import Reading, UnavailableSource, exchange_date
from argo_alpine.votes import NEEDS, checked_values
from services.argo.ports import Harvest, Meter
from services.argo.sources.parse import Unreadable, decimal, mapping, price, text
from services.argo.sources.web import Failure, Web, brought, wording
from services.argo.tape import expiry, last_close

DAILY = "TIME_SERIES_DAILY"
CLOSES = {"interval": "daily", "series_type": "close"}
# value -> what to ask for
QUESTIONS: Mapping[str, Mapping[str, str]] = {
    "close": {"function": DAILY, "outputsize": "compact"},
    "rsi": {"function": "RSI", **CLOSES, "time_period": "14"},
    "macd": {
        **{"function": "MACD", **CLOSES},
        **{"fastperiod": "12", "slowperiod": "26", "signalperiod": "9"},
    },
    "ema": {"function": "EMA", **CLOSES, "time_period": "20"},
    "sma": {"function": "SMA", **CLOSES, "time_period": "50"},
}
PRICES = ("close", "ema", "sma")
MINUTE = 60.0  # real seconds
BURST = 2.0  # real seconds to wait
LATE, LATEST = 20.0, 900.0  # real seconds until a row that was missing is asked for again
REFUSED = 900.0  # a key that is refused will not be better in a second


class Bucket:
    """Calls of a minute; a token comes back a minute after it was taken.

    A steady refill would let up to twice the plan pass in one minute.
    """

    def __init__(self, per_minute: int, monotonic: Callable[[], float]) -> None:
        self.per_minute, self.monotonic = per_minute, monotonic
        self.taken: deque[float] = deque()

    def free(self) -> int:
        """How many calls may be made now."""
        while self.taken and self.monotonic() - self.taken[0] >= MINUTE:
            self.taken.popleft()
        return self.per_minute - len(self.taken)

    def take(self) -> bool:
        """Take one, if there is one."""
        if self.free() < 1:
            return False
        self.taken.append(self.monotonic())
        return True


class AlphaVantage:
    """Implements `Source`. A reading of a symbol needs five answers about one completed session."""

    name = "alpha_vantage"

    def __init__(
        self,
        *,
        base_url: str,
        key: str,
        symbols: Sequence[str],
        meter: Meter,
        calls_per_minute: int = 75,
        calls_per_day: int = 25_000,
        monotonic: Callable[[], float] = monotonic,
        timeouts: tuple[float, float] = (2.0, 5.0),
        whole: float = 10.0,
    ) -> None:
        self.web = Web(
            "Alpha Vantage",
            base_url,
            key,
            bearer=False,
            timeouts=timeouts,
            whole=whole,
            monotonic=monotonic,
        )
        self.key, self.symbols, self.meter = key, tuple(symbols), meter
        self.calls_per_day, self.monotonic = calls_per_day, monotonic
        self.bucket = Bucket(calls_per_minute, monotonic)
        self.quiet_until = monotonic()  # nothing is asked before
        self.spent_on: date | None = None  # the vendor said that this day's quota is used up
        self.over: datetime | None = None  # the close this is all about
        self.found: dict[str, dict[str, float]] = {}  # symbol -> values of that session
        self.pauses: dict[str, float] = {}  # symbol -> not before
        self.waits: dict[str, float] = {}  # symbol -> the next pause
        self.told: set[str] = set()  # symbols whose reading was delivered

    def spent(self, at: datetime) -> bool:
        """Whether the day's quota is used up."""
        used, _ = self.meter.used(self.name, at.date())
        return self.spent_on == at.date() or used >= self.calls_per_day

    def due(self, at: datetime) -> bool:
        """Whether something is missing that may be asked for now."""
        self.turn(at)
        if self.monotonic() < self.quiet_until or not self.open():
            return False
        return self.bucket.free() > 0 and not self.spent(at)

    def fetch(self, at: datetime) -> Harvest:
        """As many of the missing calls as the quota allows. *Raises* `UnavailableSource`."""
        self.turn(at)
        error: UnavailableSource | None = None
        readings: list[Reading] = []
        for symbol in self.open():
            try:
                if not self.complete(symbol, at):
                    break
                readings.append(self.reading(symbol))
            except Failure as failed:
                error = error or failed
                self.pause(symbol)
                if failed.is_general or self.monotonic() < self.quiet_until:
                    break
        return brought(Harvest(tuple(readings)), error)

    def turn(self, at: datetime) -> None:
        """Begin afresh when another session is the last that closed."""
        over = last_close(at)
        if over != self.over:
            self.over, self.found, self.told = over, {s: {} for s in self.symbols}, set()
            self.pauses, self.waits = {}, {}

    def open(self) -> list[str]:
        """Symbols that may be asked about now and whose reading is not delivered."""
        now = self.monotonic()
        return [s for s in self.symbols if s not in self.told and now >= self.pauses.get(s, now)]

    def pause(self, symbol: str) -> None:
        """Leave a symbol alone, each time twice as long."""
        wait = self.waits.get(symbol, LATE)
        self.pauses[symbol] = self.monotonic() + wait
        self.waits[symbol] = min(2 * wait, LATEST)

    def complete(self, symbol: str, at: datetime) -> bool:
        """Ask for what is missing; False when the quota stops it. *Raises* `Failure`."""
        values = self.found[symbol]
        for name in NEEDS[self.name]:
            if name not in values:
                if self.spent(at) or not self.bucket.take():
                    return False
                values[name] = self.value(symbol, name, at)
        return True

    def reading(self, symbol: str) -> Reading:
        """The five values, checked together. *Raises* `Failure`."""
        assert self.over is not None  # `turn` came first
        values = {name: self.found[symbol][name] for name in NEEDS[self.name]}
        reading = Reading(self.name, symbol, self.over, expiry(self.over), values)
        try:
            self.web.understood(f"readings of {symbol}", lambda: checked_values(reading))
        except Failure:
            self.found[symbol] = {}
            raise
        self.told.add(symbol)
        return reading

    def value(self, symbol: str, name: str, at: datetime) -> float:
        """One value as of the last completed session. *Raises* `Failure`."""
        assert self.over is not None
        question = QUESTIONS[name]
        asked = f"{question['function']} of {symbol}"
        self.meter.use(self.name, at.date(), 1, 0.0)
        said = self.web.get("/query", {**question, "symbol": symbol, "apikey": self.key})
        self.check(said, asked, symbol, at)
        day = exchange_date(self.over)
        return self.web.understood(asked, lambda: value_in(said, symbol, name, day))

    def check(self, said: Any, asked: str, symbol: str, at: datetime) -> None:
        """*Raises* `Failure` for what the vendor says instead of data, always with HTTP 200."""
        why, general = trouble(said)
        if not why:
            return
        if general == "quota":
            self.spent_on = at.date()
        if general in ("burst", "key"):
            self.quiet_until = self.monotonic() + (BURST if general == "burst" else REFUSED)
        if general in ("symbol", "premium"):  # asking again today changes nothing
            self.told.add(symbol)
        status = 429 if general in ("quota", "burst") else 401 if general == "key" else 200
        raise self.web.failure(asked, why, status)


def trouble(said: Any) -> tuple[str, str]:  # what is wrong and its kind; both empty when nothing is
    """Errors are told by top-level keys only: inside data the same words mean something else."""
    if not isinstance(said, dict):
        return "the reply must be an object", "reply"
    if "message" in said and "data" in said:
        return "artificial sample data: this key is not entitled to real prices", "premium"
    for name in ("Error Message", "Information", "Note"):
        if name in said:
            return classified(name, str(said[name]))
    return "", ""


def classified(name: str, words: str) -> tuple[str, str]:
    """What the vendor means; its own words may contain the key and are quoted only if unknown."""
    lower = words.lower()
    if name == "Error Message":
        if "apikey" in lower:
            return "the key is invalid or missing", "key"
        return "invalid call: the symbol or a parameter is unknown", "symbol"
    if "detected your api key" in lower:
        return "the daily quota is used up", "quota"
    if "sparingly" in lower or name == "Note" or "calls per minute" in lower:
        return "too many calls in a short time", "burst"
    if "premium" in lower:
        return "the plan does not include this function", "premium"
    if "invalid inputs" in lower:
        return "invalid inputs", "symbol"
    return wording({"message": words}) or "an empty remark instead of data", "reply"


def value_in(said: Any, symbol: str, name: str, day: date) -> float:
    """The value of a session that is over. *Raises* `Unreadable`."""
    question = QUESTIONS[name]
    function = question["function"]
    meta = {bare(k): v for k, v in mapping(said.get("Meta Data"), "Meta Data").items()}
    if meta.get("symbol") != symbol:
        raise Unreadable(f"Symbol must be {symbol}, was {meta.get('symbol')!r:.60}")
    for ours, theirs in (("interval", "interval"), ("time_period", "time period")):
        if ours in question and str(meta.get(theirs)) != question[ours]:
            raise Unreadable(f"{theirs} must be {question[ours]}, was {meta.get(theirs)!r:.60}")
    head = "Time Series (Daily)" if function == DAILY else f"Technical Analysis: {function}"
    found = mapping(said.get(head), head)
    row = found.get(day.isoformat())
    if row is None:
        raise Unreadable(f"nothing about {day} yet, the newest row is {max(found, default='none')}")
    refreshed = text(meta.get("last refreshed"), "Last Refreshed")
    if refreshed != refreshed[:10] and refreshed[:10] == day.isoformat():
        raise Unreadable(f"{day} is still forming: Last Refreshed is {refreshed!r:.40}")
    cells = {bare(k): v for k, v in mapping(row, f"the row of {day}").items()}
    wanted = "close" if function == DAILY else function.lower()
    what = f"{wanted} of {symbol} on {day}"
    value = decimal(cells.get(wanted), what)
    return price(value, what) if name in PRICES else value


def bare(name: str) -> str:
    """A key without its ordinal, which differs between functions: `5. volume`, `6. volume`."""
    head, dot, rest = name.partition(" ")
    return (rest if dot and head.rstrip(".:").replace(".", "").isdigit() else name).lower()
