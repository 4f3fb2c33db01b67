"""What the simulated broker refuses, in whose words."""

import json
from decimal import Decimal
from pathlib import Path

import pytest
from sandbox_alpaca_stage import heard, kinds, open_broker

from services.sandbox.exchange import ApiError
from services.sandbox.exchange_rules import read_request
from services.sandbox.exchange_values import number, text
from services.sandbox.exchange_views import asset

EXITS = {"take_profit": {"limit_price": 105}, "stop_loss": {"stop_price": 95}}


def refused(call, *args, **more):
    """The status and body of a refusal."""
    with pytest.raises(ApiError) as caught:
        call(*args, **more)
    return caught.value.status, caught.value.body


@pytest.mark.parametrize(
    ("status", "code", "message", "body"),
    [
        (422, 40010001, "qty or notional is required", {"qty": None}),
        (422, 40010001, "only one of qty or notional is accepted", {"notional": 100}),
        (422, 40010001, "limit orders require only limit price", {"type": "limit"}),
        (422, 40010001, "stop orders require only stop price", {"type": "stop"}),
        (422, 40010001, "market orders require no limit or stop price", {"limit_price": 1}),
        (422, 40010001, "qty must be > 0", {"qty": 0}),
        (422, 40010001, "qty must be > 0", {"qty": "NaN"}),
        (422, 40010001, "qty must be a number", {"qty": "ten"}),
        (422, 40010001, "qty must be a number", {"qty": True}),
        (422, 40010001, "invalid side: hold", {"side": "hold"}),
        (422, 40010001, "invalid type: iceberg", {"type": "iceberg"}),
        (422, 40010001, "time_in_force is required", {"time_in_force": None}),
        (422, 40010001, "symbol is required", {"symbol": ""}),
        (422, 40010001, "48 characters", {"client_order_id": "x" * 49}),
        (422, 40010001, 'only type="limit" is allowed', {"extended_hours": True}),
        (422, 40010001, "bracket orders require take_profit", {"order_class": "bracket"}),
        (
            422,
            40010001,
            "bracket orders require stop_loss",
            {"order_class": "bracket", "take_profit": {"limit_price": 105}},
        ),
        (422, 40010001, "simple orders must not have", EXITS),
        (422, 42210000, 'asset "ZZZZ" not found', {"symbol": "ZZZZ"}),
        (422, 42210000, "time_in_force ioc is not simulated", {"time_in_force": "ioc"}),
        (422, 42210000, "fractional orders must be DAY orders", {"qty": 1.5}),
        (
            422,
            42210000,
            "fractional orders must be simple orders",
            {"qty": 1.5, "order_class": "bracket", "time_in_force": "day", **EXITS},
        ),
        (
            422,
            42210000,
            "fractional orders cannot be sold short",
            {"qty": 1.5, "side": "sell", "time_in_force": "day"},
        ),
        (
            422,
            42210000,
            "invalid limit_price 100.001. sub-penny",
            {"type": "limit", "limit_price": 100.001},
        ),
        (
            422,
            42210000,
            "stop_loss.stop_price must be <= base_price - 0.01",
            {"order_class": "bracket", **EXITS, "stop_loss": {"stop_price": 100}},
        ),
        (
            422,
            42210000,
            "take_profit.limit_price must be >= base_price + 0.01",
            {"order_class": "bracket", **EXITS, "take_profit": {"limit_price": 99}},
        ),
        (
            422,
            42210000,
            "stop_loss.stop_price must be >= base_price + 0.01",
            {"order_class": "bracket", "side": "sell", **EXITS, "take_profit": {"limit_price": 9}},
        ),
    ],
)
def test_a_request_that_breaks_a_rule_is_refused_in_the_vendors_words(status, code, message, body):
    broker = open_broker()
    events, before = heard(broker), broker.state()
    found, answer = refused(broker.ask_for, **body)
    assert (found, answer["code"]) == (status, code) and message in answer["message"]
    assert broker.state() == before and not events  # nothing was remembered of it


def test_four_decimals_are_fine_below_a_dollar():
    broker = open_broker()
    broker.ask_for(type="limit", limit_price=0.1234)
    assert refused(broker.ask_for, type="limit", limit_price=0.12345)[1]["code"] == 42210000


def test_an_id_is_taken_once():
    broker = open_broker()
    broker.ask_for(client_order_id="mine")
    assert refused(broker.ask_for, client_order_id="mine") == (
        422,
        {"code": 40010001, "message": "client_order_id must be unique"},
    )
    broker.price(100)
    assert broker.holds() == 10
    assert broker.named_order("mine")["status"] == "filled"


def test_a_taken_id_is_told_before_a_lack_of_money():
    broker = open_broker()
    broker.ask_for(client_order_id="mine")
    assert refused(broker.ask_for, qty=1e6, client_order_id="mine")[0] == 422


def test_open_buys_reserve_buying_power_and_canceling_releases_it():
    broker = open_broker(cash=10_000)
    order = broker.ask_for(qty=150, type="limit", limit_price=100)["id"]
    assert broker.account()["buying_power"] == "5000"
    status, body = refused(broker.ask_for, qty=51, type="limit", limit_price=100)
    assert (status, body["code"], body["buying_power"]) == (403, 40310000, "5000")
    assert body["cost_basis"] == "5100" and "insufficient buying power" in body["message"]
    broker.cancel(order, broker.at)
    assert broker.account()["buying_power"] == "20000"


def test_a_market_buy_is_charged_with_a_collar():
    broker = open_broker(cash=10_000)
    assert refused(broker.ask_for, qty=195)[1]["code"] == 40310000  # 195 * 100.01 * 1.04
    broker.ask_for(qty=192)


def test_shares_held_by_exits_are_not_sold_twice():
    broker = open_broker()
    _, target, stop = broker.bracket()
    broker.price(100)
    status, body = refused(broker.ask_for, "sell", 4)
    assert (status, body["code"]) == (403, 40310000)
    assert body["message"].endswith("(requested: 4, available: 0)")
    assert body["held_for_orders"] == body["existing_qty"] == "10"
    assert body["related_orders"] == [target, stop] and body["symbol"] == "AAPL"
    assert broker.position("AAPL")["qty_available"] == "0"


def test_an_oco_needs_a_position_with_free_shares():
    broker = open_broker()
    oco = {"order_class": "oco", "type": "limit", "limit_price": 105, "side": "sell"}
    oco["stop_loss"] = {"stop_price": 95}
    assert refused(broker.ask_for, **oco)[1]["existing_qty"] == "0"
    broker.ask_for()
    broker.price(100)
    made = broker.ask_for(**oco)
    related = [made["id"], made["legs"][0]["id"]]
    assert refused(broker.ask_for, **oco)[1]["related_orders"] == related
    broker.price(106)
    assert broker.status(*related) == ["filled", "canceled"]


def test_buying_more_while_a_protective_stop_rests_is_a_wash_trade():
    broker = open_broker()
    _, target, _ = broker.bracket()
    broker.price(100)
    status, body = refused(broker.ask_for)
    assert status == 403 and "wash trade" in body["message"] and body["reject_reason"]
    assert body["existing_order_id"] == target


def test_limits_that_cannot_meet_are_no_wash_trade():
    broker = open_broker()
    broker.ask_for()
    broker.price(100)
    broker.ask_for("sell", type="limit", limit_price=105)
    broker.ask_for(type="limit", limit_price=104)
    assert refused(broker.ask_for, type="limit", limit_price=105)[0] == 403


def test_a_position_is_opened_from_one_side_at_a_time():
    broker = open_broker()
    broker.ask_for(type="limit", limit_price=90)
    body = refused(broker.ask_for, "sell", type="limit", limit_price=110)[1]
    assert body["message"] == "cannot open a short sell while a long buy order is open"


def test_an_exit_is_never_a_bracket():
    broker = open_broker()
    broker.ask_for()
    broker.price(100)
    body = refused(broker.bracket, "sell", 95, 105)[1]
    assert body["message"] == "bracket orders must be entry orders"


@pytest.mark.parametrize("name", ["trading_blocked", "account_blocked"])
def test_a_blocked_account_takes_no_orders(name):
    broker = open_broker()
    broker.block(name)
    assert broker.account()[name] is True and refused(broker.ask_for)[0] == 403
    broker.block()
    broker.ask_for()


def test_an_account_can_suspend_itself_and_forbid_shorts():
    broker = open_broker()
    broker.configure({"suspend_trade": True})
    assert broker.account()["trade_suspended_by_user"] and refused(broker.ask_for)[0] == 403
    broker.configure({"suspend_trade": False, "no_shorting": True})
    assert refused(broker.ask_for, "sell")[0] == 403


def test_what_is_over_can_neither_be_canceled_nor_replaced():
    broker = open_broker()
    order = broker.ask_for()["id"]
    broker.price(100)
    assert refused(broker.cancel, order, broker.at)[0] == 422
    body = refused(broker.replace, order, {"qty": 5}, broker.at)[1]
    assert body["message"] == "only open orders can be replaced"
    assert refused(broker.cancel, "nothing", broker.at)[1]["code"] == 40410000


def test_a_replacement_must_change_something_it_may():
    broker = open_broker()
    order = broker.ask_for(type="limit", limit_price=90)["id"]
    body = refused(broker.replace, order, {"limit_price": "90.00"}, broker.at)[1]
    assert body["message"] == "order parameters are not changed"
    _, target, _ = broker.bracket(type="limit", limit_price=99, target=105, stop=95)
    assert "qty" in refused(broker.replace, target, {"qty": 5}, broker.at)[1]["message"]
    assert (
        "sub-penny"
        in refused(broker.replace, order, {"limit_price": 9.999}, broker.at)[1]["message"]
    )
    assert refused(broker.replace, order, {"qty": 1e6}, broker.at)[1]["code"] == 40310000


def test_a_kill_switch_is_two_calls():
    broker = open_broker()
    broker.bracket()
    broker.ask_for("sell", 5, symbol="IBM")
    broker.price(100)
    broker.price(100, "IBM")
    mixed = broker.close_all(broker.at)
    assert [row["status"] for row in mixed] == [403, 200]  # the legs hold the shares
    assert {row["status"] for row in broker.cancel_all(broker.at)} == {200}
    broker.close_all(broker.at)
    broker.price(100)
    broker.price(100, "IBM")
    assert broker.positions() == [] and broker.orders("open") == []


@pytest.mark.parametrize(("asked", "sold"), [({"qty": "4"}, "4"), ({"percentage": "50"}, "5")])
def test_a_part_of_a_position_can_be_closed(asked, sold):
    broker = open_broker()
    broker.ask_for()
    broker.price(100)
    assert broker.close_position("AAPL", broker.at, **asked)["qty"] == sold
    broker.price(100)
    assert broker.holds() == 10 - float(sold)
    assert refused(broker.close_position, "IBM", broker.at) == (
        404,
        {"code": 40410000, "message": "position does not exist"},
    )


def test_fills_are_activities_page_by_page():
    broker = open_broker()
    for _ in range(5):
        broker.ask_for(qty=1)
        broker.price(100)
    newest = broker.activities(page_size=2)
    older = broker.activities(page_size=2, page_token=newest[-1]["id"])
    assert [a["id"] for a in newest + older] == [f["id"] for f in broker.fills[:0:-1]]
    first = broker.activities(direction="asc", page_size=1)[0]
    assert first == broker.fills[0] and first["type"] == "fill" and first["leaves_qty"] == "0"


def test_orders_are_listed_as_asked_for():
    broker = open_broker()
    entry, target, stop = broker.bracket()
    broker.price(100)
    ids = [o["id"] for o in broker.orders("all", direction="asc")]
    assert ids == [entry, target, stop]
    (nested,) = broker.orders("all", nested=True)
    assert [leg["id"] for leg in nested["legs"]] == [target, stop]
    assert [o["id"] for o in broker.orders("open", nested=True)] == [stop, target]
    assert broker.orders("closed")[0]["id"] == entry
    assert broker.orders("all", symbols=["IBM"]) == []
    assert len(broker.orders("all", limit=1)) == 1


@pytest.mark.parametrize(
    ("given", "written"),
    [(5.0, "5"), ("5", "5"), (5, "5"), (1e-07, "0.0000001"), ("1e3", "1000"), (0.1, "0.1")],
)
def test_a_number_comes_in_any_form_and_goes_out_as_text_without_an_exponent(given, written):
    assert text(number(given, "qty")) == written


def test_nothing_is_written_as_minus_nothing():
    assert text(Decimal("-0E+3")) == text(Decimal("-1E-12")) == "0"


def test_unknown_fields_are_ignored_and_symbols_are_upper_case():
    body = {"symbol": "aapl", "side": "buy", "qty": 1, "type": "market", "time_in_force": "day"}
    assert read_request({**body, "colour": "red"}).symbol == "AAPL"


def test_a_notional_order_buys_for_so_much_money():
    broker = open_broker()
    order = broker.ask_for(qty=None, notional=500, time_in_force="day")
    assert order["qty"] is None and order["notional"] == "500"
    events = heard(broker)
    broker.price(99.99)
    assert kinds(events) == ["fill"] and broker.order(order["id"])["filled_qty"] == "5"


FIXTURES = Path(__file__).parents[2].parent / "shared" / "fixtures" / "alpaca"


def recorded(name):
    """A real answer; skipped by name where the fixtures are not."""
    path = FIXTURES / f"{name}.json"
    if not path.exists():
        pytest.skip(f"no fixture {name}")
    return json.loads(path.read_text())


def kept():
    """A broker that holds a position and its bracket."""
    broker = open_broker()
    broker.bracket()
    broker.price(100)
    return broker


@pytest.mark.parametrize(
    ("name", "show"),
    [
        ("order_new_bracket", lambda b: b.orders("all", nested=True)[0]),
        ("order_replace_ok", lambda b: b.orders("open")[0]),
        ("order_new_notional", lambda b: b.orders("open")[0]),
        ("account_configurations_no_pdt", lambda b: b.configure({})),
        ("asset_CRM", lambda b: asset("AAPL")),
        ("portfolio_history", lambda b: b.history()),
        ("activities_FILL", lambda b: b.activities()),
    ],
)
def test_nothing_is_missing_that_the_real_service_says(name, show):
    real, ours = recorded(name), show(kept())
    real, ours = (x[0] if isinstance(x, list) else x for x in (real, ours))
    assert set(real) <= set(ours)
    for key in real.keys() - {"legs"}:
        if real[key] is not None and ours[key] is not None:
            assert type(ours[key]) is type(real[key]), key


def test_a_position_says_what_the_real_one_says():
    real = recorded("position_AAPL")[0]
    assert set(real) - {"usd"} <= set(kept().position("AAPL"))


def test_an_account_says_what_the_real_one_says_since_july_2026():
    gone = {"daytrade_count", "daytrading_buying_power", "pattern_day_trader"}
    assert set(recorded("account_py")) - gone <= set(kept().account())


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("error_404_position", lambda b: b.position("IBM")),
        ("error_422_duplicate_client_order_id", lambda b: b.ask_for(client_order_id="mine")),
        ("error_422_limit_price_missing", lambda b: b.ask_for(type="limit")),
        ("error_422_qty_or_notional", lambda b: b.ask_for(qty=None)),
        ("error_403_insufficient_buying_power", lambda b: b.ask_for(qty=1e6, symbol="IBM")),
    ],
)
def test_a_refusal_reads_like_the_recorded_one(name, call):
    broker = kept()
    broker.ask_for(symbol="IBM", qty=1, type="limit", limit_price=9, client_order_id="mine")
    real, ours = recorded(name), refused(call, broker)[1]
    assert {key: ours[key] for key in real} == real
