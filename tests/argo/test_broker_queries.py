"""What Alpaca says of orders, positions and the account, and what is no answer."""

import json
import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import permutations
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from test_broker_fake import STAMP, Act, alpaca, broker, error, order, raw_order

from argo_alpine.domain import UnavailableBroker
from services.argo.brokers import alpaca_http
from services.argo.brokers import alpaca_words as words
from services.argo.ports import OrderState

FIXTURES = Path(__file__).parents[2].parent / "shared" / "fixtures" / "alpaca"
SINCE = datetime(2005, 3, 1, tzinfo=UTC)
FLAGS = {"account_blocked": False, "trading_blocked": False, "trade_suspended_by_user": False}
ACCOUNT = {"status": "ACTIVE", "equity": "100", "cash": "-5", "buying_power": "200"} | FLAGS


@pytest.fixture
def fake():
    with alpaca() as running:
        yield running


def recorded(name):
    """A real reply of the vendor's."""
    path = FIXTURES / name
    if not path.exists():
        pytest.skip(f"{name} is missing")
    return json.loads(path.read_text())


def filled(id, client_id, qty, price, side="buy"):
    raw = raw_order(id, client_id, "AAPL", qty, side)
    return raw | {"status": "filled", "filled_qty": f"{qty:g}", "filled_avg_price": str(price)}


def test_a_recorded_bracket_has_a_target_and_a_stop():
    found = words.order(recorded("order_new_bracket.json"))
    assert (found.client_id, found.quantity, found.filled) == ("BRACKET_ORDER_ID", 5, 0)
    assert (found.state, found.leg) == (OrderState.OPEN, "")
    assert [(leg.leg, leg.price, leg.quantity) for leg in found.legs] == [
        ("target", 335, -5),
        ("stop", 315, -5),
    ]


def test_a_recorded_fill_is_signed_and_has_its_average():
    found = words.order(recorded("order_filled_GDX.json"))
    assert (found.quantity, found.filled, found.average) == (-500, -500, 25.07)
    assert found.state is OrderState.FILLED
    assert found.at == datetime(2019, 7, 5, 14, 51, 43, 721522, tzinfo=UTC)


@pytest.mark.parametrize(
    "name",
    [
        "order_new_fractional",
        "order_new_limit_extended_hours",
        "order_new_notional",
        "order_replace_ok",
        "position_close_200",
    ],
)
def test_every_recorded_order_can_be_read(name):
    found = words.order(recorded(f"{name}.json"))
    assert found.id and not found.state.is_final and found.at.tzinfo is UTC
    assert math.isnan(found.quantity) == (name == "order_new_notional")


def test_a_recorded_list_of_orders_can_be_read():
    raws = recorded("orders_list_all.json")
    found = words.merged(words.order(raw) for raw in raws)
    assert [each.id for each in found] == [raw["id"] for raw in raws]
    assert {each.state for each in found} >= {OrderState.FILLED, OrderState.CANCELED}


def test_recorded_positions_are_signed():
    assert {s: p.quantity for s, p in words.positions(recorded("positions_list.json")).items()} == {
        "FB": -100
    }
    held = words.positions(recorded("position_AAPL.json"))["AAPL"]
    assert (held.quantity, held.price) == (5, 100)


@pytest.mark.parametrize("name", ["account_2019.json", "account_py.json"])
def test_a_recorded_account_can_be_read_with_and_without_day_trade_fields(name):
    found = words.account(recorded(name))
    assert found.active and found.equity > 100_000 and not found.blocks


@pytest.mark.parametrize(
    ("status", "state"),
    [
        ("accepted", OrderState.OPEN),
        ("held", OrderState.OPEN),
        ("pending_cancel", OrderState.OPEN),
        ("done_for_day", OrderState.OPEN),
        ("a status of 2031", OrderState.OPEN),
        ("canceled", OrderState.CANCELED),
        ("replaced", OrderState.CANCELED),
        ("expired", OrderState.EXPIRED),
        ("rejected", OrderState.REJECTED),
    ],
)
def test_a_status_that_is_not_known_to_be_an_end_is_open(status, state):
    raw = raw_order("b", "c", "AAPL", 5, "buy") | {"status": status}
    assert words.order(raw).state is state
    part = words.order(raw | {"filled_qty": "2", "filled_avg_price": "9"})
    assert part.state is (OrderState.PARTIAL if state is OrderState.OPEN else state)
    assert part.filled == 2


@pytest.mark.parametrize(
    "wrong",
    [
        {"id": None},
        {"id": 7},
        {"client_order_id": ""},
        {"symbol": None},
        {"side": "hold"},
        {"status": None},
        {"qty": "NaN"},
        {"qty": "-5"},
        {"qty": "0"},
        {"qty": True},
        {"qty": "five"},
        {"filled_qty": None},
        {"filled_qty": "-1"},
        {"filled_qty": "6", "filled_avg_price": "1"},
        {"filled_qty": "2", "filled_avg_price": None},
        {"filled_qty": "2", "filled_avg_price": "Infinity"},
        {"status": "filled", "filled_qty": "4", "filled_avg_price": "1"},
        {"updated_at": "yesterday"},
        {"updated_at": "2005-03-01T21:00:00"},
        {"updated_at": 1109710800},
        {"updated_at": None, "submitted_at": None},
        {"legs": "none"},
        {"legs": [None]},
        {"legs": [{"id": "x"}]},
    ],
)
def test_an_order_with_one_field_that_makes_no_sense_is_unreadable(wrong):
    raw = raw_order("b", "c", "AAPL", 5, "buy")
    assert words.order(raw).quantity == 5
    with pytest.raises(UnavailableBroker, match="cannot be read"):
        words.order(raw | wrong)


@pytest.mark.parametrize("garbage", [None, [], "order", 7, {}, True])
def test_what_is_no_order_is_unreadable(garbage):
    with pytest.raises(UnavailableBroker):
        words.order(garbage)


@pytest.mark.parametrize("name", FLAGS)
def test_every_block_stops_trading_by_name(name):
    assert words.account(ACCOUNT).active
    found = words.account(ACCOUNT | {name: True})
    assert (found.active, found.blocks) == (False, (name,))


def test_an_account_that_is_not_active_is_blocked_by_its_status():
    assert words.account(ACCOUNT | {"status": "ONBOARDING"}).blocks == ("status ONBOARDING",)


@pytest.mark.parametrize(
    "wrong", [{"status": None}, *({n: v} for n in ACCOUNT if n != "status" for v in (None, "x"))]
)
def test_an_account_without_a_field_is_no_answer_never_a_guess(wrong):
    with pytest.raises(UnavailableBroker):
        words.account(ACCOUNT | wrong)


def test_a_position_must_be_held_once_and_a_short_one_below_zero():
    raw = {"symbol": "AAPL", "qty": "5", "side": "long", "avg_entry_price": "1"}
    assert words.positions([raw])["AAPL"].quantity == 5
    for wrong in ([raw, raw], [raw | {"side": "short"}], [None], {}, [raw | {"qty": "x"}]):
        with pytest.raises(UnavailableBroker):
            words.positions(wrong)


def test_the_clock_account_and_positions_come_over_the_line(fake):
    fake.replies = {
        "/v2/clock": {"timestamp": "2019-07-07T12:55:08.427247519-04:00", "is_open": False},
        "/v2/account": ACCOUNT,
        "/v2/positions": [],
    }
    there = broker(fake)
    assert there.clock() == datetime(2019, 7, 7, 16, 55, 8, 427247, tzinfo=UTC)
    assert there.account().cash == -5
    assert there.positions() == {}


QUESTIONS = {
    "account": lambda b: b.account(),
    "clock": lambda b: b.clock(),
    "positions": lambda b: b.positions(),
    "orders": lambda b: b.orders(SINCE),
    "find": lambda b: b.find("aa1-entry"),
}
NO_ANSWER = {
    "a page": Act(502, "<html>", method="GET"),
    "a page with status 200": Act(200, "<html>", method="GET"),
    "refused": Act(401, error(40110000, "access key verification failed"), method="GET"),
    "too many": Act(429, error(42910000, "rate limit exceeded"), method="GET"),
    "not found, in nobody's words": Act(404, "", method="GET"),
    "wrong path": Act(404, error(40410000, "endpoint not found."), method="GET"),
    "null": Act(200, "null", method="GET"),
    "empty": Act(200, "", method="GET"),
    "a number": Act(200, "7", method="GET"),
    "an error with status 200": Act(200, error(1, "no"), method="GET"),
    "dropped": Act(drop=True, method="GET"),
}


@pytest.mark.parametrize("ask", QUESTIONS.values(), ids=QUESTIONS)
@pytest.mark.parametrize("act", NO_ANSWER.values(), ids=NO_ANSWER)
def test_a_failed_query_is_never_an_empty_answer(fake, ask, act):
    there = broker(fake)
    there.submit(order())
    fake.script.append(act)
    with pytest.raises(UnavailableBroker):
        ask(there)


def test_an_answer_cut_in_the_middle_is_no_answer(fake):
    there = broker(fake)
    there.submit(order())
    fake.script.append(Act(cut=True, method="GET"))
    with pytest.raises(UnavailableBroker, match="line to Alpaca broke"):
        there.orders(SINCE)


@pytest.mark.parametrize("limit", [("WHOLE", -1.0), ("LARGEST", 10)])
def test_a_body_that_drips_or_swells_is_no_answer(fake, monkeypatch, limit):
    there = broker(fake)
    there.submit(order())
    monkeypatch.setattr(alpaca_http, *limit)
    with pytest.raises(UnavailableBroker, match="the body"):
        there.orders(SINCE)


def test_an_order_of_ours_is_found_with_its_legs_and_an_absent_one_is_none(fake):
    fake.nests_by_client_id = False
    there = broker(fake)
    assert there.find("aa1-entry") is None
    there.submit(order())
    found = there.find("aa1-entry")
    assert (found.client_id, len(found.legs)) == ("aa1-entry", 2)


def test_an_order_that_appears_late_is_found_when_it_does(fake):
    there = broker(fake)
    there.submit(order())
    fake.script.append(Act(404, error(40410000, "order not found for aa1-entry"), method="GET"))
    assert there.find("aa1-entry") is None
    assert there.find("aa1-entry").client_id == "aa1-entry"


def test_an_answer_about_another_order_is_no_answer(fake):
    fake.replies["/v2/orders:by_client_order_id"] = raw_order("b", "c", "AAPL", 5, "buy")
    with pytest.raises(UnavailableBroker, match="must be aa1-entry"):
        broker(fake).find("aa1-entry")


def test_orders_are_asked_for_twice_open_ones_and_all_since(fake):
    assert broker(fake).orders(SINCE) == []
    asked = [parse_qs(urlsplit(path).query) for _, path, _ in fake.requests]
    common = {"limit": ["500"], "direction": ["asc"], "nested": ["True"]}
    assert asked == [
        common | {"status": ["open"]},
        common | {"status": ["all"], "after": ["2005-02-28T23:59:59.999999+00:00"]},
    ]


def test_an_order_listed_twice_and_its_legs_listed_flat_are_one_order(fake):
    there = broker(fake)
    placed = there.submit(order())
    parent = fake.orders["aa1-entry"]
    later = {"status": "new", "updated_at": "2005-03-01T21:00:09Z"}
    fake.replies["/v2/orders"] = [parent, parent["legs"][0] | later, parent["legs"][1]]
    (found,) = there.orders(SINCE)
    assert (found.id, [leg.id for leg in found.legs]) == (placed.id, ["b0-target", "b0-stop"])
    assert found.legs[0].at > placed.legs[0].at
    assert [leg.leg for leg in found.legs] == ["target", "stop"]


def test_a_leg_without_its_parent_is_still_known_as_a_leg():
    leg = raw_order("b0-stop", "c", "AAPL", 5, "sell")
    leg |= {"order_class": "bracket", "type": "stop", "stop_price": "97"}
    found = words.order(leg)
    assert (found.leg, found.price) == ("stop", 97)


def test_sights_of_one_order_merge_alike_in_any_order():
    raw = raw_order("b", "c", "AAPL", 5, "buy")
    seen = [
        words.order(raw),
        words.order(raw | {"filled_qty": "2", "filled_avg_price": "9"}),
        words.order(filled("b", "c", 5, 9)),
        replace(words.order(raw), at=words.order(raw).at - timedelta(seconds=1)),
    ]
    assert {words.merged(order)[0].state for order in permutations(seen)} == {OrderState.FILLED}


class Pages:
    """The orders of a busy account, given out as the vendor does."""

    def __init__(self, times):
        self.raws = [
            raw_order(f"b{i}", f"c{i}", "AAPL", 1, "buy") | {"submitted_at": at.isoformat()}
            for i, at in enumerate(times)
        ]

    def answer(self, method, target, body):
        query = parse_qs(urlsplit(target).query)
        after = datetime.fromisoformat(query.get("after", ["2000-01-01T00:00:00+00:00"])[0])
        fits = [r for r in self.raws if datetime.fromisoformat(r["submitted_at"]) > after]
        return 200, fits[: int(query["limit"][0])]


def test_pages_lose_no_order_where_several_share_an_instant(fake):
    times = [SINCE + timedelta(seconds=1 + i // 7) for i in range(1_203)]
    fake.answer = Pages(times).answer
    found = broker(fake).orders(SINCE)
    assert {each.id for each in found} == {f"b{i}" for i in range(1_203)}
    assert len(found) == 1_203


def test_paging_that_forgets_ties_is_caught(fake, monkeypatch):
    monkeypatch.setattr("services.argo.brokers.alpaca.INSTANT", timedelta(0))
    times = [SINCE + timedelta(seconds=1 + i // 7) for i in range(1_203)]
    fake.answer = Pages(times).answer
    assert len(broker(fake).orders(SINCE)) < 1_203


def test_more_orders_in_one_instant_than_a_page_holds_are_no_answer(fake):
    fake.answer = Pages([SINCE + timedelta(seconds=1)] * 501).answer
    with pytest.raises(UnavailableBroker, match="share one instant"):
        broker(fake).orders(SINCE)


@pytest.mark.parametrize(
    "act",
    [
        Act(204, "", method="DELETE"),
        Act(422, error(42210000, "order is not cancelable"), method="DELETE"),
        Act(404, error(40410000, "order not found for b0"), method="DELETE"),
    ],
)
def test_a_cancel_that_came_too_late_is_no_error(fake, act):
    fake.script.append(act)
    broker(fake).cancel("b0")
    assert [(method, path) for method, path, _ in fake.requests] == [("DELETE", "/v2/orders/b0")]


@pytest.mark.parametrize(
    "act",
    [
        Act(500, "<html>", method="DELETE"),
        Act(404, error(40410000, "endpoint not found."), method="DELETE"),
        Act(404, "<html>", method="DELETE"),
        Act(422, "<html>", method="DELETE"),
        Act(403, error(40310000, "no"), method="DELETE"),
        Act(drop=True, method="DELETE"),
    ],
)
def test_a_cancel_without_a_clear_answer_is_an_error(fake, act):
    fake.script.append(act)
    with pytest.raises(UnavailableBroker, match="b0"):
        broker(fake).cancel("b0")


def test_an_id_cannot_lead_a_cancel_to_another_place(fake):
    broker(fake).cancel("../orders")
    assert fake.requests[0][1] == "/v2/orders/..%2Forders"


def test_one_line_serves_many_calls_of_a_thread(fake):
    there = broker(fake)
    fake.replies["/v2/account"] = ACCOUNT
    for _ in range(5):
        there.account()
    manager = there._client()._session.get_adapter("http://").poolmanager
    (key,) = manager.pools.keys()
    pool = manager.pools[key]
    assert (pool.num_connections, pool.num_requests) == (1, 5)


def test_a_stamp_of_nine_digits_is_read_to_the_microsecond():
    assert words.time({"at": STAMP}, "at") == datetime(2005, 3, 1, 21, 0, 0, 123456, UTC)
