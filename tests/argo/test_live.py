"""Real adapters and broker client against the sandbox: the whole way, and with parts missing."""

import json

import pytest
from sqlalchemy import text

from services.argo.app import create_app
from services.argo.journal import replayed
from tests.live_stage import living
from tests.sandbox_server import ask


def rows(live, query):
    with live.argo.writer.transaction() as session:
        return session.execute(text(query)).all()


def get(live, path):
    """One answer of the API, without its threads: time is moved by hand."""
    return ask(create_app(live.argo, live.folder), path)


@pytest.fixture(scope="module")
def lived(tmp_path_factory):
    """Nine days, long enough for a trade to be closed by its stop or target."""
    with living(tmp_path_factory.mktemp("live")) as live:
        live.turn()
        for _ in range(9):
            live.day()
        yield live


def test_the_first_close_makes_a_signal_and_the_next_open_its_bracket(tmp_path):
    with living(tmp_path) as live:
        live.turn()
        live.window()
        signals = get(live, "/api/signals/latest").json()
        assert {s["symbol"] for s in signals} >= {"AAPL"}
        votes = signals[0]["consensus"]["votes"]
        assert {v["source"] for v in votes} == {
            "massive", "alpha_vantage", "x_sentiment", "sonar",
        }  # fmt: skip
        assert not rows(live, "select 1 from intents")
        live.window()
        orders = live.server.world.exchange.orders(status="all", nested=True)
        ours = {name for (name,) in rows(live, "select id from intents")}
        assert {o["client_order_id"] for o in orders} == ours
        assert all(len(o["legs"]) == 2 for o in orders)


def test_journal_api_and_broker_agree_on_a_closed_trade(lived):
    trades = get(lived, "/api/trades").json()["trades"]
    assert trades and {t["why"] for t in trades} <= {"stop", "target", "close"}
    kept = [json.loads(body) for (body,) in rows(lived, "select body from trades order by n")]
    assert sorted(t["pnl"] for t in trades) == sorted(float(t["pnl"]) for t in kept)
    account = lived.argo.engine.broker.account()
    book = lived.argo.engine.book
    invested = sum(p.quantity * p.price for p in book.positions.values())
    realised = sum(t["pnl"] for t in trades)
    assert account.cash + invested == pytest.approx(100_000 + realised, abs=0.01)
    assert book.cash == pytest.approx(account.cash, abs=0.01)
    equity = get(lived, "/api/equity").json()["points"][-1]["equity"]
    assert equity == pytest.approx(account.equity, rel=0.01)


def test_a_stop_is_filled_at_its_price_when_the_market_passes_it(lived):
    stops = [json.loads(b) for (b,) in rows(lived, "select body from trades") if '"stop"' in b]
    signals = [json.loads(b) for (b,) in rows(lived, "select body from signals")]
    levels = {float(s["stop"]) for s in signals}
    assert any(float(t["exit"]) in levels for t in stops)


def test_what_ran_against_the_sandbox_replays_identically(lived):
    with lived.argo.writer.transaction() as session:
        found = replayed(session)
    assert (found.divergence, found.decisions > 30) == (None, True)


PREFIX = {
    "massive": "/massive",
    "alpha_vantage": "/alpha_vantage",
    "x_sentiment": "/x",
    "sonar": "/perplexity",
}


@pytest.mark.parametrize("source", PREFIX)
def test_one_source_down_is_said_and_nothing_is_invented(tmp_path, source):
    with living(tmp_path) as live:
        live.server.faults({"prefix": PREFIX[source], "kind": "status", "status": 503, "body": "x"})
        live.turn()
        live.window()
        health = get(live, "/health")
        assert health.json()["status"] == "degraded"
        assert any(source in problem for problem in health.json()["problems"])
        spoken = {
            vote["source"]
            for (body,) in rows(live, "select body from decisions")
            for vote in (json.loads(body)["consensus"] or {"votes": []})["votes"]
        }
        assert source not in spoken
        assert bool(rows(live, "select 1 from decisions")) == (source != "massive")
        live.server.faults()
        for _ in range(3):
            live.turn(3.0)


def test_all_sources_down_is_no_health_and_no_signal(tmp_path):
    with living(tmp_path) as live:
        live.server.faults(
            *({"prefix": p, "kind": "status", "status": 500, "body": ""} for p in PREFIX.values())
        )
        live.turn()
        live.window()
        health = get(live, "/health")
        assert (health.status, health.json()["status"]) == (503, "down")
        assert health.json()["sources_ok"] == 0
        assert not rows(live, "select 1 from decisions")


def test_a_broker_that_is_away_stops_entries_and_is_said(tmp_path):
    with living(tmp_path) as live:
        live.turn()
        live.window()
        live.server.faults({"prefix": "/alpaca", "kind": "status", "status": 502, "body": "<html>"})
        live.argo.engine.gap()
        live.window()
        assert get(live, "/health").json()["status"] in ("down", "degraded")
        assert not rows(live, "select 1 from intents")
        live.server.session.delete(f"{live.server.control}/faults", timeout=5)
        live.turn(1.0)
        live.turn(1.0)
        assert rows(live, "select 1 from intents")


def test_a_restart_in_between_changes_nothing(tmp_path):
    with living(tmp_path) as live:
        live.turn()
        for _ in range(4):
            live.window()
            live.restart()
            live.turn()
        orders = live.server.world.exchange.orders(status="all", nested=True)
        names = [o["client_order_id"] for o in orders]
        assert len(names) == len(set(names)) == len(rows(live, "select 1 from intents"))
        assert not live.argo.engine.status.frozen


def test_an_entry_that_ends_half_filled_gets_exits_of_its_own(tmp_path, monkeypatch):
    with living(tmp_path) as live:
        live.turn()
        live.window()
        exchange = live.server.world.exchange
        monkeypatch.setattr(type(exchange), "meet", lambda *_: None)  # nobody trades
        live.server.step(windows=1)
        live.turn()
        order = exchange.orders(status="open", nested=True)[0]
        exchange.fill(order["id"], 50, 45.0, live.server.world.at)
        exchange.cancel(order["id"], live.server.world.at)
        monkeypatch.undo()
        for _ in range(4):
            live.turn(2.0)
        guards = rows(live, "select symbol, state from intents where leg = 'protect'")
        assert guards == [(order["symbol"], "open")]
        resting = [
            o for o in exchange.orders(status="open", nested=True)
            if o["symbol"] == order["symbol"]
        ]  # fmt: skip
        assert {o["order_class"] for o in resting} == {"oco"}
        assert all(float(o["qty"]) == 50 for o in resting)
