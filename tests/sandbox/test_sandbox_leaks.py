"""No endpoint knows what has not happened yet."""

from datetime import date

import numpy as np
import pytest

from argo_alpine.bars import COLUMNS, Bars
from argo_alpine.loading import load
from services.sandbox import massive, x_api
from services.sandbox.app import create_app
from services.sandbox.tape import Tape
from services.sandbox.world import SYMBOLS, TRADING, World
from tests.sandbox_server import ask

BARS = load(SYMBOLS, date(2004, 9, 1), date(2005, 4, 29))
RANGE = "range/1/day/2004-01-01/2006-01-01"
X = "max_results=100&tweet.fields=created_at,author_id,entities"
AV = "/alpha_vantage/query?apikey=sandbox&symbol=AAPL"
LINES = f"{AV}&interval=daily&series_type=close"
PATHS = (
    f"/massive/v2/aggs/ticker/AAPL/{RANGE}",
    f"/massive/v2/aggs/ticker/GOOG/{RANGE}?sort=desc&limit=3",
    "/massive/v2/snapshot/locale/us/markets/stocks/tickers",
    "/massive/v1/marketstatus/now",
    f"{AV}&function=TIME_SERIES_DAILY&outputsize=full",
    f"{LINES}&function=RSI&time_period=14",
    f"{LINES}&function=SMA&time_period=50",
    f"{LINES}&function=EMA&time_period=20",
    f"{LINES}&function=MACD",
    f"/x/2/tweets/search/recent?query=$AAPL OR $IBM OR $GOOG&{X}",
    "/alpaca/v2/clock",
    "/alpaca/v2/account",
    "/alpaca/v2/positions",
    "/alpaca/v2/stocks/bars?symbols=AAPL,GOOG&timeframe=1Day&start=2005-01-03",
    "/alpaca/v2/stocks/snapshots?symbols=AAPL,GOOG",
    "/alpaca/v2/stocks/quotes/latest?symbols=AAPL",
    "/alpaca/v2/stocks/trades/latest?symbols=AAPL",
    "/alpaca/v2/stocks/bars/latest?symbols=AAPL",
    "/health",
)
QUESTION = {"model": "perplexity/sonar", "input": "Where does $AAPL go, and why?"}


def garbled(window, row):
    """The same past, and from a window of a session on another future that is as sound."""
    columns = {name: getattr(BARS, name).copy() for name in COLUMNS}
    for name in COLUMNS[:4]:
        columns[name][row + 1 :] *= 7.0
    columns["volume"][row:] += 12_345.0
    o, h, lo, c = (columns[name][row] for name in COLUMNS[:4])
    rises = c > o
    passed = TRADING.index(window)  # windows whose price is known: this one and those before
    if passed < 3:
        # the same direction, or the order of the extremes, which is seen, would change
        c[:] = np.where(rises, h - (h - np.maximum(o, lo)) * 0.01, lo)
    low_seen, high_seen = (passed >= np.where(rises, 1, 2)), (passed >= np.where(rises, 2, 1))
    h[:] = np.where(high_seen, h, h * 1.5)
    lo[:] = np.where(low_seen, lo, lo * 0.5)
    return Bars(BARS.symbols, BARS.at, *(columns[name] for name in COLUMNS), BARS.basis)


def answers(bars, windows):
    world = World(bars, date(2005, 3, 1))
    world.leap(windows)
    world.move(2.0)
    app = create_app(world)
    told = {path: ask(app, path) for path in PATHS}
    told["sonar"] = ask(app, "/perplexity/v1/agent", method="POST", body=QUESTION)
    assert {path: reply.status for path, reply in told.items() if reply.status != 200} == {}
    return {path: reply.content for path, reply in told.items()}


def leaks(window):
    """The endpoints that answer differently when only the future differs."""
    row = World(BARS, date(2005, 3, 2)).row
    windows = 2 + TRADING.index(window)  # from the close of March 1st
    known, other = answers(BARS, windows), answers(garbled(window, row), windows)
    return [path for path in known if known[path] != other[path]]


@pytest.mark.parametrize("window", TRADING)
def test_no_answer_changes_when_everything_that_comes_later_is_garbage(window):
    assert leaks(window) == []


def test_the_day_is_known_once_it_is_over_and_the_next_one_still_is_not():
    row = World(BARS, date(2005, 3, 2)).row
    bars = garbled("open", row + 1)
    assert answers(BARS, 6) == answers(bars, 6)


def test_a_tape_that_shows_the_day_before_it_is_over_is_caught(monkeypatch):
    until = Tape.until
    monkeypatch.setattr(Tape, "until", lambda self, s, at: until(self, s, at + 86_400_000_000))
    caught = leaks("open")
    assert any("aggs" in path for path in caught)
    assert any("function=RSI" in path for path in caught)
    assert any("alpaca/v2/stocks/bars" in path for path in caught)


def test_a_snapshot_that_shows_the_whole_day_at_its_open_is_caught(monkeypatch):
    monkeypatch.setattr(World, "seen", lambda self, symbol: self.path.get(symbol, ()))
    assert any("snapshot" in path for path in leaks("open"))


def test_a_volume_that_is_told_before_the_close_is_caught(monkeypatch):
    def all_of_it(world, symbol, before):
        return int(world.tape.bars.volume[world.row, world.symbols.index(symbol)])

    monkeypatch.setattr(massive, "volume_so_far", all_of_it)
    assert any("snapshot" in path for path in leaks("close"))


def test_posts_made_from_the_day_they_are_written_on_are_caught(monkeypatch):
    talk = x_api.talk

    def knowing(world, symbol, row, window):
        tape = world.tape
        hint = "bullish" if tape.bars.close[row, 0] > tape.bars.open[row, 0] else "bearish"
        posts = talk(world, symbol, row, window)
        return tuple(
            x_api.Post(p.id, p.symbol, p.at, p.author, f"{p.text} {hint} {tape.bars.high[row, 0]}")
            for p in posts
        )

    monkeypatch.setattr(x_api, "talk", knowing)
    assert any("tweets" in path for path in leaks("open"))
