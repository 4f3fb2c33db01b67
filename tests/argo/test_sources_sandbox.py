"""All four adapters against the stand-in for the world outside: only addresses differ."""

from datetime import date

import pytest

from argo_alpine.votes import SOURCES, VotePolicy, heard
from services.argo.board import Board
from services.argo.sources.alpha_vantage import AlphaVantage
from services.argo.sources.massive import Massive
from services.argo.sources.runner import Runner
from services.argo.sources.sonar import Sonar
from services.argo.sources.x_sentiment import XSentiment
from services.common.clock import SandboxClock
from tests.sandbox_server import running
from tests.sources_stage import Counts

SYMBOLS = ("AAPL", "IBM", "MSFT", "GOOG")


class Stage:
    """Four runners, a board, and the sandbox they look at."""

    def __init__(self, sandbox):
        self.sandbox, self.board, self.meter = sandbox, Board(), Counts()
        self.clock = SandboxClock(sandbox.control)
        told = {"key": "sandbox-canary-4711", "symbols": SYMBOLS, "meter": self.meter}
        sources = (
            Massive(base_url=f"{sandbox.base}/massive", epoch=date(2000, 1, 3), **told),
            AlphaVantage(base_url=f"{sandbox.base}/alpha_vantage", **told),
            XSentiment(base_url=f"{sandbox.base}/x", **told),
            Sonar(base_url=f"{sandbox.base}/perplexity", **told),
        )
        self.runners = [Runner(s, self.clock, self.board.put, self.meter) for s in sources]

    def look(self):
        """One round of all four, and how they are."""
        for runner in self.runners:
            runner.tick()
        return {r.source.name: (r.health().state, r.health().error) for r in self.runners}


@pytest.fixture(scope="module")
def stage():
    with running() as sandbox:
        yield Stage(sandbox)


def test_every_source_speaks_of_every_symbol(stage):
    assert stage.look() == dict.fromkeys(SOURCES, ("ok", ""))
    quotes, readings = stage.board.latest()
    at = stage.clock.market()
    assert {q.symbol for q in quotes} == {*SYMBOLS}
    assert all((at - q.at).total_seconds() < 15 for q in quotes)
    assert {(r.source, r.symbol) for r in readings} == {
        (name, symbol) for name in SOURCES[1:] for symbol in SYMBOLS
    }
    assert all(r.at <= at < r.expires for r in readings)
    assert not [v.why for r in readings if "must lie" in (v := heard(r, VotePolicy(), at)).why]
    bars = stage.board.take_bars()
    assert len(bars) > 3000
    assert max(bar.at for bar in bars) <= at


def test_a_close_brings_one_new_bar_the_one_before_and_one_new_reading_a_symbol(stage):
    stage.look()
    stage.board.take_bars()
    while stage.sandbox.step(windows=1)["window"] != "after":
        pass
    assert stage.look() == dict.fromkeys(SOURCES, ("ok", ""))
    bars = stage.board.take_bars()
    _, close = days = sorted({bar.at for bar in bars})
    assert sorted((b.at, b.symbol) for b in bars) == [(d, s) for d in days for s in sorted(SYMBOLS)]
    _, readings = stage.board.latest()
    assert {r.at for r in readings if r.source == "alpha_vantage"} == {close}


def test_a_vendor_that_fails_is_named_and_the_others_go_on(stage):
    fault = {"prefix": "/massive", "kind": "garbage", "body": "<html>sandbox-canary-4711</html>"}
    stage.sandbox.faults(fault)
    stage.sandbox.step(windows=1)
    seen = stage.look()
    assert seen["massive"][0] == "failing"
    assert "canary" not in seen["massive"][1]
    assert {state for name, (state, _) in seen.items() if name != "massive"} == {"ok"}
