"""Signals, decisions and sources as others see them."""

import ast
import inspect
from datetime import datetime

import pytest
from sqlalchemy import select

from argo_alpine import engine, risk
from argo_alpine.domain import Direction, Signal, UnavailableBroker
from argo_alpine.votes import SOURCES
from services.argo import signal_views, store, tables, words
from services.argo.ports import OrderState, SourceHealth
from services.argo.wire import loaded
from tests.served import serving

DAYS = 12


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    with serving(tmp_path_factory.mktemp("api") / "book.sqlite", days=DAYS) as it:
        yield it


@pytest.fixture(scope="module")
def kept(served):
    with served.stage.writer.transaction() as session:
        query = select(tables.signals.c.body).order_by(tables.signals.c.seq.desc())
        return [loaded(Signal, text) for text in session.execute(query).scalars()]


def fresh(tmp_path, days=0, **options):
    return serving(tmp_path / "book.sqlite", days=days, **options)


# Words


def pursued():
    """The first words of what `pursue` returns."""
    tree = ast.parse(inspect.getsource(engine.pursue))
    returns = (n.value for n in ast.walk(tree) if isinstance(n, ast.Return))
    firsts = (value.elts[0] for value in returns if isinstance(value, ast.Tuple))
    return {first.value for first in firsts if isinstance(first, ast.Constant)}


def test_the_reasons_of_the_engine_are_found():
    assert {"expired", "ordered", "too_small", "closing", "working"} <= pursued()


@pytest.mark.parametrize("code", sorted({*engine.WHY, *risk.REASONS, *engine.WAITS, *pursued()}))
def test_every_reason_has_words(code):
    assert words.why(code) == words.WHY[code]
    assert words.WHY[code].endswith(".")


@pytest.mark.parametrize("state", ["new", "sending", "unknown", "unsent", *OrderState])
def test_every_state_of_an_order_has_words(state):
    assert words.ORDERS[str(state)].endswith(".")


def test_a_code_nobody_knows_stands_for_itself():
    assert words.why("moon").startswith("moon ")


# Signals


def test_signals_come_newest_first_and_as_they_were_made(served, kept):
    said = served.get("/api/signals/latest")
    assert [s["id"] for s in said] == [signal.id for signal in kept]
    for answer, signal in zip(said, kept, strict=True):
        assert answer["symbol"] == signal.symbol
        assert answer["direction"] == signal.direction.name
        assert answer["confidence"] == signal.confidence
        assert (answer["entry"], answer["stop"]) == (signal.entry, signal.stop)
        assert (answer["target"], answer["size_pct"]) == (signal.target, signal.size_pct)
        assert datetime.fromisoformat(answer["at"]) == signal.at
        assert answer["at"].endswith("Z")
        assert answer["sandbox"] is True
        age = (served.engine.status.at - signal.at).total_seconds()
        assert answer["age_seconds"] == age


def test_each_signal_has_four_votes_as_they_were_cast(served, kept):
    for answer, signal in zip(served.get("/api/signals/latest"), kept, strict=True):
        told = answer["consensus"]
        assert told["turnout"] == signal.consensus.turnout
        assert tuple(vote["source"] for vote in told["votes"]) == SOURCES
        for vote, cast in zip(told["votes"], signal.consensus.votes, strict=True):
            assert vote["direction"] == cast.direction.name
            assert vote["confidence"] == cast.confidence
            assert vote["abstained"] == (cast.direction == Direction.NEUTRAL)


def test_a_source_that_said_nothing_abstains(tmp_path):
    with fresh(tmp_path) as served:
        stage = served.stage
        stage.close()
        for symbol in stage.engine.tape.index:
            del stage.board.readings["sonar", symbol]
        stage.engine.cycle()
        (first, *_) = served.get("/api/signals/latest")
    by_source = {vote["source"]: vote for vote in first["consensus"]["votes"]}
    silent = by_source["sonar"]
    assert (silent["abstained"], silent["confidence"], silent["at"]) == (True, None, None)
    assert silent["why"] == "nothing was heard"
    assert not by_source["massive"]["abstained"]


def test_a_signal_tells_its_story_to_the_end(served):
    said = served.get("/api/signals/latest", symbol="AAPL")
    assert [s["outcome"]["state"] for s in said] == ["finished", "finished", "collar", "finished"]
    last = said[0]["outcome"]
    assert last["words"] == "Closed at its target with +306.60."
    assert [f["why"] for f in last["fills"]] == ["entry", "target"]
    assert last["pnl"] == pytest.approx(306.60)
    refused = said[2]["outcome"]
    assert (refused["orders"], refused["fills"], refused["pnl"]) == ([], [], None)
    assert refused["words"] == words.WHY["collar"]
    (open_one,) = [
        s for s in served.get("/api/signals/latest") if s["outcome"]["state"] == "filled"
        and s["symbol"] == "GOOG"
    ]  # fmt: skip
    assert open_one["outcome"]["orders"][0]["filled"] == -33


def test_a_signal_that_was_not_entered_in_time_has_expired(tmp_path):
    with fresh(tmp_path) as served:
        stage = served.stage
        stage.close()
        stage.engine.cycle()
        (first, *_) = served.get("/api/signals/latest")
        assert first["outcome"]["state"] == "signal"
        stage.at(stage.closed[stage.t + 1])
        stage.engine.cycle()
        told = served.get(f"/api/signals/{first['id']}")
    assert told["outcome"]["state"] == "expired"


def test_an_order_nobody_may_send_says_so(tmp_path):
    with fresh(tmp_path, days=1, auto_execute=False) as served:
        (first, *_) = served.get("/api/signals/latest")
    assert first["outcome"]["state"] == "canceled"
    assert "auto_execute is off" in first["outcome"]["words"]


def test_an_order_of_unknown_outcome_says_so(tmp_path, monkeypatch):
    with fresh(tmp_path) as served:

        def lost(order):
            raise UnavailableBroker("no answer")

        monkeypatch.setattr(served.stage.broker, "submit", lost)
        served.stage.close()
        served.stage.engine.cycle()
        served.stage.at(served.stage.closed[served.stage.t + 1].replace(hour=15))
        served.stage.quote(served.stage.bars.close[served.stage.t])
        served.stage.engine.cycle()
        (first, *_) = served.get("/api/signals/latest")
        (order, *_) = served.get("/api/positions")["orders"]
    assert first["outcome"]["state"] == order["state"] == "new"
    assert "no answer" in first["outcome"]["words"]


def test_one_signal_is_found_by_its_id(served, kept):
    assert served.get(f"/api/signals/{kept[0].id}")["id"] == kept[0].id
    assert served.ask(f"/api/signals/{'0' * 64}").status_code == 404
    assert served.ask("/api/signals/nonsense").status_code == 422


def test_the_statistics_count_every_signal_once(served, kept):
    said = served.get("/api/signals/stats")
    assert said["n"] == len(kept) == 7
    for name in ("by_symbol", "by_direction", "by_confidence", "by_outcome"):
        assert sum(said[name].values()) == 7
    assert said["by_symbol"] == {"AAPL": 4, "GOOG": 1, "IBM": 1, "MSFT": 1}
    assert said["by_outcome"] == {"collar": 1, "filled": 3, "finished": 3}
    assert datetime.fromisoformat(said["first"]) == min(s.at for s in kept)
    assert datetime.fromisoformat(said["last"]) == max(s.at for s in kept)


@pytest.mark.parametrize(
    ("confidence", "name"), [(75.0, "70-80"), (79.99, "70-80"), (80.0, "80-90"), (100.0, "90-100")]
)
def test_a_confidence_belongs_to_one_decile(confidence, name):
    assert signal_views.decile(confidence) == name


# Decisions


def test_decisions_say_why_in_words_and_who_voted(served):
    said = served.get("/api/decisions", limit=500)
    assert [d["seq"] for d in said] == sorted((d["seq"] for d in said), reverse=True)
    assert {d["why"] for d in said} == {"signal", "held", "threshold", "ordered", "collar"}
    for row in said:
        assert row["words"] == words.WHY[row["why"]]
        if row["consensus"]:
            assert len(row["consensus"]["votes"]) == 4
    (refused,) = [row for row in said if row["why"] == "collar"]
    assert refused["reasons"][0] == {"code": "collar", "words": words.WHY["collar"]}
    made = [row for row in said if row["why"] == "signal" and row["symbol"] == "AAPL"]
    assert refused["signal"] in {row["signal"] for row in made}


@pytest.mark.parametrize("limit", [1, 3, 4, 7, 500])
@pytest.mark.parametrize("symbol", [None, "IBM"])
def test_pages_of_decisions_meet_without_a_gap(served, limit, symbol):
    query = {"symbol": symbol} if symbol else {}
    every = served.get("/api/decisions", limit=500, **query)
    paged, before = [], {}
    while page := served.get("/api/decisions", limit=limit, **query, **before):
        paged += page
        assert len(paged) <= len(every)  # or a page that repeats would never end
        before = {"before": page[-1]["seq"]}
    assert paged == every


# Sources


def test_sources_say_what_they_think_now(served):
    said = served.get("/api/sources")
    assert [s["name"] for s in said] == list(SOURCES)
    assert sum(s["weight"] for s in said) == pytest.approx(1)
    opinions = served.engine.status.opinions
    for source in said:
        assert source["enabled"] and source["health"]["state"] == "ok"
        for vote in source["votes"]:
            cast = {v.source: v for v in opinions[vote["symbol"]].votes}[source["name"]]
            assert (vote["direction"], vote["why"]) == (cast.direction.name, cast.why)
            assert vote["confidence"] == cast.confidence


def test_a_source_that_is_off_is_listed_with_what_is_wrong(tmp_path):
    with fresh(tmp_path) as served:
        served.runners["sonar"].said = SourceHealth("sonar", "spent", usd=5.0, error="budget")
        by_name = {s["name"]: s for s in served.get("/api/sources")}
    assert by_name["sonar"]["health"]["usd"] == 5.0
    assert by_name["sonar"]["health"]["state"] == "spent"
    assert by_name["sonar"]["votes"] == []  # no cycle, no votes


def test_no_cycle_is_an_empty_list(tmp_path):
    with fresh(tmp_path) as served:
        with served.stage.writer.transaction() as session:
            store.create(session)
        assert served.get("/api/signals/latest") == []
        assert served.get("/api/decisions") == []
        stats = served.get("/api/signals/stats")
    assert (stats["n"], stats["first"], stats["by_symbol"]) == (0, None, {})
