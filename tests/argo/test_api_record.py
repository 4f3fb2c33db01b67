"""Positions, equity, trades and the log; and what is answered when something is wrong."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from sqlalchemy import insert, select
from structlog.testing import capture_logs

from argo_alpine.domain import Direction, Trade
from argo_alpine.metrics import wilson
from argo_alpine.records import canonical
from services.argo import store, tables
from services.argo.views import number
from services.argo.wire import loaded
from tests.served import serving

LISTS = ("/api/signals/latest", "/api/decisions", "/api/trades", "/api/equity", "/api/positions")
READS_THE_BOOK = (*LISTS, "/api/signals/stats", "/api/performance/win-rate", "/api/log/checkpoint")


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    with serving(tmp_path_factory.mktemp("api") / "book.sqlite", days=12) as it:
        yield it


@pytest.fixture
def empty(tmp_path):
    with serving(tmp_path / "book.sqlite") as it:
        with it.stage.writer.transaction() as session:
            store.create(session)
        yield it


def put_trades(served, pnls):
    """Trades nobody made."""
    with served.stage.writer.transaction() as session:
        at = served.stage.clock.market()
        for n, pnl in enumerate(pnls):
            trade = Trade("AAPL", Direction.LONG, 1.0, at, at, 10.0, 10.0 + pnl, 0.25, pnl, "stop")
            row = {"seq": n, "closed": at, "pnl": pnl, "body": canonical(trade)}
            session.execute(insert(tables.trades).values(row))


# What is held


def test_positions_are_valued_at_the_last_quote_and_show_their_guards(served):
    said = served.get("/api/positions")
    book, quotes = served.engine.status.book, served.stage.board.quotes
    assert [p["symbol"] for p in said["positions"]] == sorted(book.positions)
    for told in said["positions"]:
        held, last = book.positions[told["symbol"]], quotes[told["symbol"]].price
        assert told["quantity"] == held.quantity
        assert told["value"] == held.quantity * last
        assert told["pnl"] == pytest.approx(held.quantity * (last - held.price))
        assert (told["stop"], told["target"], told["why_not"]) == (held.stop, held.target, "")
        guards = {guard["leg"]: guard["price"] for guard in told["guards"]}
        assert guards == {"stop": held.stop, "target": held.target}
    assert said["orders"] == []


def test_without_a_quote_there_is_no_profit_but_a_reason(tmp_path):
    with serving(tmp_path / "book.sqlite", days=1) as served:
        served.stage.board.quotes.clear()
        (first, *_) = served.get("/api/positions")["positions"]
    assert (first["last"], first["value"], first["pnl"]) == (None, None, None)
    assert first["why_not"] == "no quote"


def test_a_position_without_a_stop_says_so(tmp_path):
    with serving(tmp_path / "book.sqlite", days=1) as served:
        now = served.engine.status
        held = now.book.positions
        bare = {s: replace(p, stop=math.nan) for s, p in held.items()}
        served.engine.status = replace(now, book=replace(now.book, positions=bare))
        (first, *_) = served.get("/api/positions")["positions"]
    assert (first["stop"], first["why_not"]) == (None, "no stop")


def test_the_account_says_what_the_broker_says(served):
    said, account = served.get("/api/account"), served.engine.status.account
    book = served.engine.status.book
    assert (said["known"], said["why_not"], said["sandbox"]) == (True, "", True)
    assert (said["equity"], said["cash"]) == (account.equity, account.cash)
    assert said["day"] == pytest.approx(account.equity - book.opening)
    assert said["peak"] == book.peak
    assert -1 <= said["drawdown"] <= 0


def test_an_account_nobody_knows_has_no_numbers(empty):
    said = empty.get("/api/account")
    assert (said["known"], said["why_not"]) == (False, "no cycle yet")
    for name in ("equity", "cash", "buying_power", "active", "day", "drawdown", "mode"):
        assert said[name] is None


# Equity and trades


def test_the_curve_is_what_was_kept(served):
    said = served.get("/api/equity")
    with served.stage.writer.transaction() as session:
        worth = session.execute(select(tables.equity.c.equity).order_by(tables.equity.c.seq))
        kept = np.array(worth.scalars().all())
    assert [point["equity"] for point in said["points"]] == kept.tolist()
    peaks = np.maximum.accumulate(kept)
    assert (said["start"], said["now"], said["peak"]) == (kept[0], kept[-1], peaks[-1])
    assert said["drawdown"] == kept[-1] / peaks[-1] - 1
    assert said["max_drawdown"] == pytest.approx((kept / peaks - 1).min())
    assert said["max_drawdown"] < said["drawdown"] or said["drawdown"] == said["max_drawdown"]


def test_the_curve_continues_after_a_point_and_ends_with_the_last(served):
    every = served.get("/api/equity")["points"]
    assert served.get("/api/equity", limit=3)["points"] == every[-3:]
    after = served.get("/api/equity", limit=5, after=every[3]["seq"])["points"]
    assert after == every[4:9]
    assert served.get("/api/equity", after=every[-1]["seq"])["points"] == []


def test_trades_come_newest_first_with_sums_of_all(served):
    said = served.get("/api/trades")
    with served.stage.writer.transaction() as session:
        bodies = session.execute(select(tables.trades.c.body)).scalars()
        kept = [loaded(Trade, text) for text in bodies]
    assert [t["pnl"] for t in said["trades"]] == [trade.pnl for trade in reversed(kept)]
    assert said["sums"]["n"] == len(kept) == 3
    assert said["sums"]["pnl"] == pytest.approx(sum(trade.pnl for trade in kept))
    first = served.get("/api/trades", limit=1)
    assert first["trades"] == said["trades"][:1]
    assert first["sums"] == said["sums"]
    rest = served.get("/api/trades", before=first["trades"][-1]["seq"])
    assert rest["trades"] == said["trades"][1:]


def test_fees_are_summed_as_numbers(empty):
    put_trades(empty, [1.0, -2.0])
    assert empty.get("/api/trades")["sums"] == {"n": 2, "pnl": -1.0, "fees": 0.5}


def test_too_few_trades_are_a_count_and_no_rate(empty):
    put_trades(empty, [1.0] * 20 + [-1.0] * 9)
    said = empty.get("/api/performance/win-rate")
    assert (said["n"], said["wins"]) == (29, 20)
    assert (said["rate"], said["low"], said["high"]) == (None, None, None)
    assert said["why_not"] == "29 trades are too few for a rate: it takes 30"


def test_enough_trades_are_a_rate_with_its_interval(empty):
    put_trades(empty, [1.0] * 20 + [0.0] * 2 + [-1.0] * 8)
    said = empty.get("/api/performance/win-rate")
    assert (said["n"], said["wins"], said["why_not"]) == (30, 20, "")
    assert said["rate"] == pytest.approx(20 / 30)
    assert (said["low"], said["high"]) == wilson(20, 30)


# The log


def test_the_checkpoint_is_the_head_of_the_journal(served):
    said, head = served.get("/api/log/checkpoint"), served.engine.status.head
    assert (said["seq"], said["id"], said["count"]) == (head.seq, head.id, head.seq + 1)


def test_a_proof_is_not_there_yet_and_says_so(served):
    reply = served.ask("/api/log/proof/3")
    assert reply.status_code == 501
    assert "argo-alpine replay" in reply.json()["detail"]


# What may go wrong


def test_no_data_is_empty_and_never_made_up(empty):
    assert empty.get("/api/signals/latest") == empty.get("/api/decisions") == []
    assert empty.get("/api/positions") == {"at": None, "positions": [], "orders": []}
    curve = empty.get("/api/equity")
    assert curve.pop("points") == []
    assert set(curve.values()) == {None}
    trades = empty.get("/api/trades")
    assert trades == {"trades": [], "sums": {"n": 0, "pnl": 0.0, "fees": 0.0}}
    assert empty.get("/api/performance/win-rate")["n"] == 0
    checkpoint = {"seq": None, "id": None, "count": 0, "at": None}
    assert empty.get("/api/log/checkpoint") == checkpoint


@pytest.mark.parametrize("path", READS_THE_BOOK)
def test_a_broken_store_is_503_without_internals(tmp_path, path):
    with capture_logs() as lines, serving(tmp_path / "book.sqlite") as served:  # without tables
        reply = served.ask(path)
    assert reply.status_code == 503
    said = reply.json()
    assert set(said) == {"detail", "id"}
    for word in ("SELECT", "sqlite", "Error", "no such table", str(tmp_path)):
        assert word not in reply.text
    assert said["id"] in {line.get("id") for line in lines}


@pytest.mark.parametrize("table", [tables.signals, tables.trades, tables.decisions])
def test_a_damaged_row_is_503_too(tmp_path, table):
    path = {"signals": "signals/latest"}.get(table.name, table.name)
    with serving(tmp_path / "book.sqlite") as served:
        at = served.stage.clock.market()
        row = {"seq": 1, "symbol": "AAPL", "at": at, "closed": at, "pnl": 1.0, "id": "x"}
        row |= {"why": "held", "body": "{"}
        with served.stage.writer.transaction() as session:
            store.create(session)
            columns = {name: row[name] for name in table.columns.keys() if name in row}  # noqa: SIM118
            session.execute(insert(table).values(columns))
        assert served.ask(f"/api/{path}").status_code == 503


@pytest.mark.parametrize(
    "question",
    [
        "/api/signals/latest?limit=0",
        "/api/signals/latest?limit=501",
        "/api/signals/latest?symbol=aapl",
        "/api/signals/latest?symbol=AAPL'--",
        "/api/decisions?before=-1",
        "/api/decisions?before=99999999999999999999",
        "/api/equity?after=x",
        "/api/trades?limit=many",
        "/api/log/proof/x",
    ],
)
def test_a_wrong_question_is_422(served, question):
    assert served.ask(question).status_code == 422


@pytest.mark.parametrize("path", (*READS_THE_BOOK, "/api/sources", "/health", "/api/account"))
def test_every_answer_is_json_without_nan_and_with_times_in_utc(served, path):
    def never(word):
        raise AssertionError(word)

    text = served.ask(path).text
    json.loads(text, parse_constant=never)
    assert "NaN" not in text
    assert "+00:00" not in text


@pytest.mark.parametrize("path", (*READS_THE_BOOK, "/metrics"))
def test_nothing_is_written(served, path):
    before = served.engine.status.head
    assert served.session.post(served.url + path, timeout=10).status_code == 405
    assert served.get("/api/log/checkpoint")["seq"] == before.seq


@pytest.mark.parametrize(
    ("value", "told"), [(1.5, 1.5), (None, None), (math.nan, None), (math.inf, None)]
)
def test_a_number_is_a_number_or_nothing(value, told):
    assert number(value) == told
