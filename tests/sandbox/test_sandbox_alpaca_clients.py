"""The unmodified official clients against the stand-in, over a real socket."""

from collections.abc import Iterator
from datetime import UTC, date, datetime
from types import SimpleNamespace
from typing import Any

import pytest
import requests
from sandbox_alpaca_stage import (
    KEYS,
    OPEN,
    Stage,
    application,
    closed_broker,
    data,
    open_broker,
    served,
    trading,
)
from starlette.types import ASGIApp

from tests.clocks import ManualClock


@pytest.fixture
def stage() -> Stage:
    """A broker just after the open."""
    return Stage(open_broker())


@pytest.fixture
def host(stage: Stage) -> Iterator[str]:
    """Where it is served."""
    with served(application(stage)) as host:
        yield host


def asked(kind: str, **fields: Any) -> Any:
    """One of alpaca-py's order requests."""
    import alpaca.trading.requests as requests_

    fields = {"symbol": "AAPL", "qty": 10, "side": "buy", "time_in_force": "gtc", **fields}
    return getattr(requests_, f"{kind}OrderRequest")(**fields)


EXITS = {"take_profit": {"limit_price": 105}, "stop_loss": {"stop_price": 95}}


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        ("Market", {}),
        ("Market", {"qty": 1.5, "time_in_force": "day"}),
        ("Market", {"qty": None, "notional": 100.5, "time_in_force": "day"}),
        ("Limit", {"limit_price": 99.5}),
        ("Stop", {"stop_price": 101}),
        ("StopLimit", {"stop_price": 101, "limit_price": 102}),
        ("TrailingStop", {"trail_percent": 1.5}),
        ("Market", {"order_class": "bracket", **EXITS}),
        ("Limit", {"order_class": "bracket", "limit_price": 99, **EXITS}),
        ("Market", {"order_class": "oto", "stop_loss": {"stop_price": 95}}),
    ],
)
def test_every_kind_of_order_comes_back_as_the_clients_own_model(stage, host, kind, fields):
    client = trading(host)
    order = client.submit_order(asked(kind, **fields))
    again = client.get_order_by_id(order.id)
    assert again.client_order_id == order.client_order_id and again.symbol == "AAPL"
    assert str(again.order_class.value) == fields.get("order_class", "simple")
    listed = client.get_orders()
    assert order.id in [o.id for o in listed]
    assert client.get_order_by_client_id(order.client_order_id).id == order.id


def test_an_oco_comes_back_with_its_stop(stage, host):
    stage.exchange.ask_for()
    stage.exchange.price(100)
    order = trading(host).submit_order(
        asked("Limit", side="sell", order_class="oco", limit_price=105, **EXITS)
    )
    assert order.order_class.value == "oco" and [leg.type.value for leg in order.legs] == ["stop"]


def test_a_day_in_the_life_of_a_bracket(stage, host):
    from alpaca.trading.requests import GetOrdersRequest, ReplaceOrderRequest

    client = trading(host)
    order = client.submit_order(asked("Market", order_class="bracket", **EXITS))
    assert [leg.status.value for leg in order.legs] == ["held", "held"]
    stage.exchange.price(100)
    position = client.get_open_position("AAPL")
    assert position.qty == "10" and position.qty_available == "0"
    stop = client.replace_order_by_id(order.legs[1].id, ReplaceOrderRequest(stop_price=97))
    assert stop.replaces == order.legs[1].id
    stage.exchange.price(96)
    (found,) = client.get_orders(GetOrdersRequest(status="all", nested=True, after=OPEN))
    assert [leg.status.value for leg in found.legs] == ["canceled", "filled"]
    assert client.get_all_positions() == []
    fills = client.get("/account/activities/FILL", {"direction": "asc"})
    assert [(f["side"], f["price"]) for f in fills] == [("buy", "100.01"), ("sell", "95.99")]


def test_the_account_its_settings_and_its_past_parse(stage, host):
    client = trading(host)
    account = client.get_account()
    assert account.status.value == "ACTIVE" and float(account.equity) == 100_000
    assert not (account.trading_blocked or account.account_blocked)
    settings = client.get_account_configurations()
    settings.suspend_trade = True
    assert client.set_account_configurations(settings).suspend_trade
    assert client.get_account().trade_suspended_by_user
    stage.exchange.close_market(datetime(2005, 3, 1, 21, tzinfo=UTC))
    assert client.get_portfolio_history().equity == [100_000.0]
    assert client.get("/account/activities", {"activity_types": "DIV"}) == []


def test_the_clock_and_the_calendar_are_new_yorks(stage, host):
    from alpaca.trading.requests import GetCalendarRequest

    client = trading(host)
    clock = client.get_clock()
    assert clock.is_open and clock.timestamp == stage.at
    assert clock.next_close.isoformat() == "2005-03-01T16:00:00-05:00"
    assert clock.next_open.isoformat() == "2005-03-02T09:30:00-05:00"
    stage.exchange.close_market(datetime(2005, 3, 1, 21, tzinfo=UTC))
    clock = client.get_clock()
    assert not clock.is_open and clock.next_open.isoformat() == "2005-03-02T09:30:00-05:00"
    asked_for = GetCalendarRequest(start=date(2005, 11, 23), end=date(2005, 11, 25))
    days = client.get_calendar(asked_for)  # Thanksgiving, then half a day
    assert [(d.date.day, d.close.hour) for d in days] == [(23, 16), (25, 13)]


def test_assets_are_those_of_the_world(host):
    client = trading(host)
    assert [asset.symbol for asset in client.get_all_assets()] == ["AAPL", "IBM"]
    asset = client.get_asset("aapl")
    assert asset.tradable and client.get_asset(str(asset.id)).symbol == "AAPL"
    with pytest.raises(Exception, match="40410000"):
        client.get_asset("ZZZZ")


def test_the_kill_switch_parses_and_leaves_nothing(stage, host):
    client = trading(host)
    client.submit_order(asked("Market", order_class="bracket", **EXITS))
    stage.exchange.price(100)
    (kept,) = client.close_all_positions()
    assert kept.status == 403 and kept.body.held_for_orders == 10
    assert {row.status for row in client.cancel_orders()} == {200}
    (closing,) = client.close_all_positions(cancel_orders=True)
    assert closing.status == 200
    stage.exchange.price(100)
    assert client.get_all_positions() == []


def test_an_order_sent_while_closed_is_accepted_until_the_open():
    stage = Stage(closed_broker())
    with served(application(stage)) as host:
        client = trading(host)
        order = client.submit_order(asked("Market"))
        assert order.status.value == "accepted"
        stage.exchange.open_market(OPEN)
        assert client.get_order_by_id(order.id).status.value == "new"
        stage.exchange.price(120)
        assert client.get_order_by_id(order.id).filled_avg_price == "120.01"


def test_daily_bars_end_before_today_and_come_page_by_page(stage, host):
    from alpaca.data.requests import StockBarsRequest
    from alpaca.data.timeframe import TimeFrame

    wanted = StockBarsRequest(
        symbol_or_symbols=["IBM", "AAPL"],
        timeframe=TimeFrame.Day,
        start=datetime(2005, 1, 1, tzinfo=UTC),
        adjustment="split",
    )
    bars = data(host).get_stock_bars(wanted)
    assert [bar.timestamp.day for bar in bars["AAPL"]] == [24, 25, 28]  # never the day in progress
    query = {"symbols": "AAPL,IBM,ZZZZ", "timeframe": "1Day", "start": "2005-01-01", "limit": "2"}
    pages, token = [], ""
    while token is not None:
        reply = requests.get(
            f"http://{host}/alpaca/v2/stocks/bars",
            {**query, "page_token": token},
            headers=KEYS,
            timeout=10,
        ).json()
        pages.append({symbol: len(rows) for symbol, rows in reply["bars"].items()})
        token = reply["next_page_token"]
    assert pages == [{"AAPL": 2}, {"AAPL": 1, "IBM": 1}, {"IBM": 2}]


def test_the_latest_prices_parse(stage, host):
    from alpaca.data.requests import (
        StockLatestQuoteRequest,
        StockLatestTradeRequest,
        StockSnapshotRequest,
    )

    client = data(host)
    stage.exchange.price(103)
    quote = client.get_stock_latest_quote(StockLatestQuoteRequest(symbol_or_symbols="AAPL"))
    assert (quote["AAPL"].bid_price, quote["AAPL"].ask_price) == (102.99, 103.01)
    trade = client.get_stock_latest_trade(StockLatestTradeRequest(symbol_or_symbols="AAPL"))
    assert trade["AAPL"].price == 103
    shot = client.get_stock_snapshot(StockSnapshotRequest(symbol_or_symbols="AAPL"))["AAPL"]
    assert (shot.daily_bar.open, shot.daily_bar.close) == (100, 103)
    assert shot.previous_daily_bar.close == 12 and shot.latest_trade.price == 103
    raw = requests.get(
        f"http://{host}/alpaca/v2/stocks/snapshots?symbols=ZZZZ", headers=KEYS, timeout=10
    )
    assert raw.json() == {"ZZZZ": None}


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code", "message"),
    [
        ("GET", "nothing", None, 404, 40410000, "endpoint not found."),
        ("PUT", "orders", None, 404, 40410000, "endpoint not found."),
        ("GET", "orders/7", None, 404, 40410000, "order not found for 7"),
        ("DELETE", "orders/7", None, 404, 40410000, "order not found for 7"),
        ("PATCH", "orders/7", {}, 404, 40410000, "order not found for 7"),
        ("GET", "positions/AAPL", None, 404, 40410000, "position does not exist"),
        ("GET", "account/activities/HOPE", None, 422, 40010001, "invalid activity type: HOPE"),
        ("GET", "orders?limit=501", None, 422, 40010001, "limit"),
        ("GET", "orders?after=soon", None, 422, 40010001, "invalid after: soon"),
        ("POST", "orders", [1], 422, 40010001, "body"),
        ("GET", "stocks/bars?symbols=AAPL&timeframe=1Min", None, 422, 40010001, "use 1Day"),
    ],
)
def test_a_refusal_is_worded_as_the_vendor_does(host, method, path, body, status, code, message):
    url = f"http://{host}/alpaca/v2/{path}"
    reply = requests.request(method, url, json=body, headers=KEYS, timeout=10)
    assert reply.status_code == status and reply.json()["code"] == code
    assert message in reply.json()["message"]


@pytest.mark.parametrize(
    "headers", [{}, {**KEYS, "APCA-API-KEY-ID": "live"}, {**KEYS, "APCA-API-SECRET-KEY": "live"}]
)
def test_keys_of_the_real_service_are_turned_away(host, headers):
    reply = requests.get(f"http://{host}/alpaca/v2/account", headers=headers, timeout=10)
    assert reply.status_code == 401 and reply.json()["code"] == 40110000


def test_the_two_hundred_and_first_call_of_a_minute_is_refused_per_key(stage):
    clock = ManualClock(OPEN)
    with served(application(stage, 3, clock)) as host, requests.Session() as session:

        def call(path: str = "account", key: str = "sandbox-key") -> requests.Response:
            url, headers = f"http://{host}/alpaca/v2/{path}", {**KEYS, "APCA-API-KEY-ID": key}
            return session.get(url, headers=headers, timeout=10)

        replies = []
        for _ in range(4):
            replies.append(call())
            clock.move(10)
        assert [r.status_code for r in replies] == [200, 200, 200, 429]
        assert replies[-1].json() == {"code": 42910000, "message": "rate limit exceeded"}
        left = [r.headers["X-RateLimit-Remaining"] for r in replies]
        assert left == ["2", "1", "0", "0"] and replies[0].headers["X-RateLimit-Limit"] == "3"
        reset = int(replies[-1].headers["X-RateLimit-Reset"])
        assert reset == int(OPEN.timestamp()) + 61  # a minute after the first call
        assert call(key="sandbox-other").status_code == 200
        assert call("stocks/snapshots?symbols=AAPL").status_code == 200  # a host of its own
        clock.move(20)
        assert call().status_code == 200  # the first one is a minute old


class Faulty:
    """ASGI: the first POST is applied, or not, and its answer spoiled."""

    def __init__(self, app: ASGIApp, status: int, applied: bool) -> None:
        self.app, self.status, self.applied, self.posts = app, status, applied, 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Spoil one answer."""
        if scope["type"] != "http" or scope["method"] != "POST":
            return await self.app(scope, receive, send)
        self.posts += 1
        if self.posts > 1:
            return await self.app(scope, receive, send)
        if self.applied:

            async def swallow(message: Any) -> None:
                assert message["type"].startswith("http.response")

            await self.app(scope, receive, swallow)
        html = [(b"content-type", b"text/html")]
        await send({"type": "http.response.start", "status": self.status, "headers": html})
        await send({"type": "http.response.body", "body": b"<html>Bad Gateway</html>"})


def test_an_order_repeated_after_a_504_is_one_order(stage):
    faulty = Faulty(application(stage), 504, applied=True)
    with served(faulty) as host:
        client = trading(host)
        client._retry_wait = 0
        with pytest.raises(Exception, match="client_order_id must be unique"):
            client.submit_order(asked("Market", client_order_id="mine"))
        assert faulty.posts == 2 and len(stage.exchange.orders("all")) == 1
        stage.exchange.price(100)
        assert client.get_order_by_client_id("mine").status.value == "filled"
        assert stage.exchange.holds() == 10


@pytest.mark.parametrize("applied", [True, False])
def test_after_a_spoiled_answer_only_the_client_order_id_tells(stage, applied):
    with served(Faulty(application(stage), 502, applied)) as host:
        client = trading(host)
        with pytest.raises(Exception, match="Bad Gateway"):
            client.submit_order(asked("Market", client_order_id="mine"))
        if applied:
            assert client.get_order_by_client_id("mine").status.value == "new"
            return
        with pytest.raises(Exception, match="order not found"):
            client.get_order_by_client_id("mine")
        client.submit_order(asked("Market", client_order_id="mine"))
        assert len(stage.exchange.orders("all")) == 1


def test_answers_are_text_where_the_vendor_answers_text(stage, host):
    raw = trading(host, raw=True).submit_order(asked("Limit", limit_price=99.5, qty=2))
    order = SimpleNamespace(**raw)
    assert (order.qty, order.limit_price, order.filled_qty) == ("2", "99.5", "0")
    assert order.stop_price is None and order.legs is None and order.order_class == ""
