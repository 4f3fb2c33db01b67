"""At most one POST a call, and never "refused" for an order that exists."""

import json
import logging
import math
import socket
import traceback
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_broker_fake import (
    DUPLICATE,
    KEY,
    SECRET,
    Act,
    AlpacaBroker,
    FakeAlpaca,
    alpaca,
    broker,
    error,
    order,
    raw_order,
)

from argo_alpine.domain import (
    ArgoAlpineError,
    InvalidSettings,
    RefusedOrder,
    UnavailableBroker,
    UnknownOutcome,
)
from services.argo.brokers import alpaca_http
from services.argo.brokers.alpaca_orders import request_for
from services.argo.brokers.limiter import Limiter
from services.argo.ports import OrderState

CAPTURED = (
    Path(__file__).parents[2].parent / "shared/fixtures/alpaca/client_requests_alpaca_py.json"
)


@pytest.fixture
def fake():
    with alpaca() as running:
        yield running


@pytest.fixture
def hasty(monkeypatch):
    """A client that waits a fifth of a second instead of four."""
    monkeypatch.setattr(alpaca_http, "READ", 0.2)


def test_an_entry_is_a_market_bracket_and_its_legs_come_back(fake):
    placed = broker(fake).submit(order())
    assert fake.posts() == [
        {
            "symbol": "AAPL",
            "qty": 5.0,
            "side": "buy",
            "type": "market",
            "time_in_force": "gtc",
            "order_class": "bracket",
            "client_order_id": "aa1-entry",
            "take_profit": {"limit_price": 105.04},
            "stop_loss": {"stop_price": 97.03},
        }
    ]
    assert (placed.id, placed.client_id, placed.quantity) == ("b0", "aa1-entry", 5)
    assert {leg.leg: (leg.quantity, leg.price) for leg in placed.legs} == {
        "target": (-5, 105.04),
        "stop": (-5, 97.03),
    }


@pytest.mark.skipif(not CAPTURED.exists(), reason="client_requests_alpaca_py.json is missing")
def test_an_entry_has_the_shape_that_was_captured_from_the_vendors_client(fake):
    broker(fake).submit(order())
    captured = json.loads(CAPTURED.read_text())[0]["body"]
    sent = fake.posts()[0]
    assert sent.keys() == captured.keys() - {"limit_price"}
    assert {k: type(v) for k, v in sent.items()} == {k: type(captured[k]) for k in sent}


def test_a_short_entry_sells_with_the_stop_above(fake):
    placed = broker(fake).submit(order(-3, stop=103.0, target=95.0))
    assert (fake.posts()[0]["side"], fake.posts()[0]["qty"]) == ("sell", 3.0)
    assert {leg.leg: leg.quantity for leg in placed.legs} == {"target": 3, "stop": 3}


def test_a_close_is_a_plain_market_order_for_the_day(fake):
    placed = broker(fake).submit(order(-5, "close", "aa1-close"))
    assert fake.posts() == [
        {
            "symbol": "AAPL",
            "qty": 5.0,
            "side": "sell",
            "type": "market",
            "time_in_force": "day",
            "client_order_id": "aa1-close",
        }
    ]
    assert placed.legs == ()


@pytest.mark.parametrize(
    ("price", "sent"), [(97.02500001, 97.03), (97.0249, 97.02), (0.987654, 0.9877)]
)
def test_a_stop_is_sent_in_whole_cents_or_four_decimals_below_a_dollar(fake, price, sent):
    broker(fake).submit(order(stop=price))
    assert fake.posts()[0]["stop_loss"] == {"stop_price": sent}


@pytest.mark.parametrize(
    ("quantity", "stop", "target", "limit", "sent"),
    [(5, 97.03, 105.04, 99.50400001, 99.5), (-3, 103.0, 95.0, 100.506, 100.51)],
    ids=["long", "short"],
)
def test_an_entry_with_a_limit_is_a_limit_bracket_on_the_tick(
    fake, quantity, stop, target, limit, sent
):
    placed = broker(fake).submit(order(quantity, stop=stop, target=target, limit=limit))
    assert fake.posts() == [
        {
            "symbol": "AAPL",
            "qty": float(abs(quantity)),
            "side": "buy" if quantity > 0 else "sell",
            "type": "limit",
            "limit_price": sent,
            "time_in_force": "gtc",
            "order_class": "bracket",
            "client_order_id": "aa1-entry",
            "take_profit": {"limit_price": target},
            "stop_loss": {"stop_price": stop},
        }
    ]
    assert (placed.quantity, placed.price, placed.leg) == (quantity, sent, "")
    assert {leg.leg for leg in placed.legs} == {"target", "stop"}


@pytest.mark.skipif(not CAPTURED.exists(), reason="client_requests_alpaca_py.json is missing")
def test_a_limit_entry_has_the_shape_that_was_captured_from_the_vendors_client(fake):
    broker(fake).submit(order(limit=99.5))
    captured = json.loads(CAPTURED.read_text())[0]["body"]
    sent = fake.posts()[0]
    assert {k: type(v) for k, v in sent.items()} == {k: type(v) for k, v in captured.items()}


@pytest.mark.parametrize("limit", [97.03, 97.0301, 105.04, 96.0, 106.0, 0.0, -1.0, float("inf")])
def test_a_limit_that_is_not_between_stop_and_target_never_leaves(fake, limit):
    with pytest.raises(RefusedOrder, match="limit of an entry must lie between its stop and"):
        broker(fake).submit(order(limit=limit))
    assert fake.requests == []


def test_a_limit_is_for_entries_only(fake):
    broker(fake).submit(order(-5, "close", "aa1-close", limit=99.5))
    assert fake.posts()[0]["type"] == "market"
    assert "limit_price" not in fake.posts()[0]


@pytest.mark.parametrize(
    ("first", "second"),
    [(math.nan, 99.5), (99.5, math.nan), (99.5, 99.51), (1234.56, 1234.57)],
)
def test_the_same_id_with_another_limit_is_loud(fake, first, second):
    there = broker(fake)
    there.submit(order(stop=90.0, target=2000.0, limit=first))
    with pytest.raises(UnknownOutcome, match=r"ours is .*(market|limit).*, the broker's is"):
        there.submit(order(stop=90.0, target=2000.0, limit=second))


def test_a_limit_order_that_exists_already_is_returned(fake):
    there = broker(fake)
    first = there.submit(order(limit=99.5))
    assert there.submit(order(limit=99.5)) == first
    assert len(fake.orders) == 1


def test_a_broker_that_makes_a_market_order_of_a_limit_is_not_believed(fake):
    market = fake.placed(json.loads(request_for(order()).model_dump_json(exclude_none=True)))
    fake.script.append(Act(200, market, apply=False))
    with pytest.raises(UnknownOutcome, match=r"ours is .*limit 99\.5.* broker's is .*market"):
        broker(fake).submit(order(limit=99.5))


@pytest.mark.parametrize(
    "senseless",
    [
        order(0),
        order(stop=float("nan")),
        order(stop=106.0),
        order(-5),
        order(target=float("inf")),
        order(leg="stop"),
        order(id="x" * 49),
        order(id=""),
    ],
)
def test_an_order_that_makes_no_sense_never_leaves(fake, senseless):
    with pytest.raises(RefusedOrder):
        broker(fake).submit(senseless)
    assert fake.requests == []


def page(status: int) -> str:
    return f"<html>{status}</html>"


REFUSED = [
    (400, error(40010000, "bad request"), "bad request"),
    (401, error(40110000, "access key verification failed"), "40110000"),
    (
        403,
        error(40310000, "insufficient buying power", buying_power="1", cost_basis="2"),
        "needs 2",
    ),
    (
        403,
        error(40310000, "insufficient qty available", held_for_orders="5", related_orders=["x"]),
        "shares held by open orders: 5",
    ),
    (
        403,
        error(40310000, "potential wash trade detected", existing_order_id="b9"),
        "wash trade: order b9",
    ),
    (403, {"message": "forbidden."}, "forbidden for another reason"),
    (404, error(40410000, "endpoint not found."), "endpoint"),
    (422, error(42210000, "bracket orders must be entry orders"), "42210000"),
    (429, error(42910000, "rate limit exceeded"), "42910000"),
]


@pytest.mark.parametrize(("status", "body", "said"), REFUSED)
def test_what_alpaca_refuses_in_words_is_refused_with_these_words(fake, status, body, said):
    fake.script.append(Act(status, body, apply=False))
    with pytest.raises(RefusedOrder, match=said):
        broker(fake).submit(order())
    assert len(fake.posts()) == 1


UNKNOWN = {
    "504 after placing": Act(504, page(504)),
    "504 before placing": Act(504, page(504), apply=False),
    "502 without a body": Act(502),
    "500 in Alpaca's words": Act(500, error(50010000, "internal server error")),
    "403 from somebody between": Act(403, page(403), apply=False),
    "429 from somebody between": Act(429, "slow down", apply=False),
    "422 that is a list": Act(422, "[]", apply=False),
    "redirected": Act(302, "", apply=False),
    "dropped before": Act(drop=True, apply=False),
    "dropped after": Act(drop=True),
    "cut in the middle": Act(cut=True),
    "empty": Act(200, ""),
    "a page instead of an order": Act(200, page(200)),
    "an error with status 200": Act(200, error(40010000, "no")),
    "endless brackets": Act(200, "[" * 100_000),
    "not a number": Act(
        200, json.dumps(raw_order("b0", "aa1-entry", "AAPL", 5, "buy"))[:-1] + ',"filled_qty":NaN}'
    ),
    "another order": Act(200, raw_order("b9", "somebody-else", "AAPL", 5, "buy")),
    "another quantity": Act(200, raw_order("b9", "aa1-entry", "AAPL", 6, "buy")),
    "another side": Act(200, raw_order("b9", "aa1-entry", "AAPL", 5, "sell")),
    "no bracket": Act(200, raw_order("b9", "aa1-entry", "AAPL", 5, "buy")),
}


@pytest.mark.parametrize("act", UNKNOWN.values(), ids=UNKNOWN)
def test_every_other_answer_leaves_the_outcome_unknown_after_one_post(fake, act):
    fake.script.append(act)
    with pytest.raises(UnknownOutcome, match=r"aa1-entry|line to Alpaca"):
        broker(fake).submit(order())
    assert len(fake.posts()) == 1


@pytest.mark.parametrize("applied", [True, False])
def test_silence_leaves_the_outcome_unknown_within_the_deadline(fake, hasty, applied):
    fake.script.append(Act(hang=True, apply=applied))
    with pytest.raises(UnknownOutcome, match="line to Alpaca"):
        broker(fake).submit(order())
    assert len(fake.posts()) == 1


def test_a_broker_nobody_reaches_was_sent_nothing(fake):
    with socket.create_server(("127.0.0.1", 0)) as closed:
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
    with pytest.raises(UnavailableBroker, match="cannot be reached"):
        broker(fake, base_url=url).submit(order())


def test_a_host_without_a_name_was_sent_nothing(fake):
    there = broker(fake)
    there.base_url = "http://no-such-host.invalid"
    with pytest.raises(UnavailableBroker, match="cannot be reached"):
        there.submit(order())


def test_an_order_that_exists_already_is_returned_and_not_placed_twice(fake):
    fake.script.append(Act(504, page(504)))
    there = broker(fake)
    with pytest.raises(UnknownOutcome):
        there.submit(order())
    placed = there.submit(order())
    assert (placed.id, placed.client_id, len(placed.legs)) == ("b0", "aa1-entry", 2)
    assert [body["client_order_id"] for body in fake.posts()] == ["aa1-entry", "aa1-entry"]
    assert len(fake.orders) == 1


def test_legs_are_fetched_where_the_look_up_by_our_id_hides_them(fake):
    fake.nests_by_client_id = False
    there = broker(fake)
    there.submit(order())
    assert [leg.leg for leg in there.submit(order()).legs] == ["target", "stop"]


@pytest.mark.parametrize(
    "other", [order(6), order(-5, stop=103.0, target=95.0), order(symbol="IBM"), order(5, "close")]
)
def test_an_id_that_names_another_order_is_loud(fake, other):
    broker(fake).submit(other)
    with pytest.raises(UnknownOutcome, match=r"a person must look: ours is .* the broker's is"):
        broker(fake).submit(order())


def test_a_duplicate_the_broker_does_not_show_yet_stays_unknown(fake):
    fake.script.append(Act(422, DUPLICATE, apply=False))
    with pytest.raises(UnknownOutcome, match="does not show it yet"):
        broker(fake).submit(order())


def test_a_duplicate_that_cannot_be_looked_up_stays_unknown(fake):
    fake.script += [Act(422, DUPLICATE), Act(503, page(503), method="GET")]
    with pytest.raises(UnknownOutcome, match="cannot be read"):
        broker(fake).submit(order())


@pytest.mark.parametrize(
    "bent",
    [
        {"stop_price": "96.00"},
        {"qty": "4"},
        {"side": "buy"},
        {"type": "limit", "limit_price": "97.03"},
        {"symbol": "IBM"},
    ],
)
def test_an_entry_with_a_wrong_leg_is_refused_once_it_is_canceled(fake, bent):
    fake.bent = bent
    with pytest.raises(RefusedOrder, match="canceled, nothing filled"):
        broker(fake).submit(order())
    assert fake.orders["aa1-entry"]["status"] == "canceled"


def test_an_entry_with_a_wrong_leg_that_cannot_be_canceled_is_unknown(fake):
    fake.bent, fake.cancels = {"qty": "4"}, False
    with pytest.raises(UnknownOutcome, match="protect it"):
        broker(fake).submit(order())
    fake.reset()
    fake.bent = {"qty": "4"}
    fake.script += [Act(), Act(500, page(500), method="DELETE")]
    with pytest.raises(UnknownOutcome, match="not canceled"):
        broker(fake).submit(order())


def test_an_entry_rejected_at_once_is_returned_as_rejected_without_a_cancel(fake):
    rejected = raw_order("b0", "aa1-entry", "AAPL", 5, "buy")
    rejected |= {"status": "rejected", "order_class": "bracket"}
    fake.script.append(Act(200, rejected))
    assert broker(fake).submit(order()).state is OrderState.REJECTED
    assert len(fake.requests) == 1


@pytest.mark.parametrize("then", [429, 403, 401])
def test_a_refusal_after_an_attempt_that_may_have_arrived_proves_nothing(fake, then):
    there = broker(fake)
    fake.script += [Act(drop=True), Act(then, error(40310000, "no"), apply=False)]
    for _ in range(2):
        with pytest.raises(UnknownOutcome):
            there.submit(order())
    assert "aa1-entry" in fake.orders


def test_an_empty_bucket_refuses_an_entry_and_only_postpones_a_close(fake):
    there = broker(fake, limiter=Limiter(lambda: 0.0, per_minute=2, reserve=1))
    there.submit(order())
    with pytest.raises(RefusedOrder, match="none left for entry"):
        there.submit(order(id="aa1-other"))
    with pytest.raises(UnavailableBroker, match="none left for routine"):
        there.account()
    there.submit(order(-5, "close", "aa1-close"))
    with pytest.raises(UnavailableBroker, match="none left for exit"):
        there.submit(order(-5, "close", "aa1-close-2"))


def test_a_429_leaves_only_the_share_of_exits(fake):
    limiter = Limiter(lambda: 0.0)
    fake.script.append(Act(429, error(42910000, "rate limit exceeded"), apply=False))
    with pytest.raises(RefusedOrder):
        broker(fake, limiter=limiter).submit(order())
    assert limiter.free() == limiter.reserve


ACTS = st.sampled_from(
    [
        Act(),
        Act(drop=True),
        Act(drop=True, apply=False),
        Act(cut=True),
        Act(200, "{"),
        Act(200, error(42910000, "rate limit exceeded"), apply=False),
        *(Act(status, page(status), apply=a) for status in (502, 503, 504) for a in (True, False)),
        *(Act(status, error(1, "no"), apply=False) for status in (400, 401, 403, 404, 422, 429)),
        Act(422, DUPLICATE, apply=False),
        Act(404, error(40410000, "order not found"), method="GET"),
        Act(500, page(500), method="GET"),
        Act(500, page(500), method="DELETE"),
    ]
)


def refusals_are_true(fake: FakeAlpaca, acts: list[Act], bent: bool) -> None:
    """Send one order again and again through a script; *raises* when the adapter lies."""
    fake.reset()
    fake.bent = {"qty": "4"} if bent else {}
    fake.script += acts
    there = broker(fake)
    for _ in range(len(acts) + 1):
        before = len(fake.posts())
        try:
            placed = there.submit(order())
            assert fake.orders["aa1-entry"]["id"] == placed.id
        except RefusedOrder:
            held = fake.orders.get("aa1-entry")
            assert held is None or held["status"] == "canceled"
        except UnknownOutcome:
            pass
        assert len(fake.posts()) <= before + 1
    assert {body["client_order_id"] for body in fake.posts()} == {"aa1-entry"}
    assert len(fake.orders) <= 1


def forgetful(there, sent):
    """A `submit` that does not know what it sent before."""
    return there._post(sent, request_for(sent))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(acts=st.lists(ACTS, max_size=4), bent=st.booleans())
def test_refused_is_never_said_of_an_order_the_broker_has(fake, acts, bent):
    refusals_are_true(fake, acts, bent)


@pytest.mark.parametrize(
    ("home", "name", "bug", "acts"),
    [
        (alpaca_http, "REFUSALS", (*alpaca_http.REFUSALS, 504), [Act(504, error(1, "timeout"))]),
        (AlpacaBroker, "submit", forgetful, [Act(drop=True), Act(429, error(1, "no"), False)]),
    ],
    ids=["a 504 is taken for a refusal", "earlier attempts are forgotten"],
)
def test_a_seeded_bug_in_the_classification_is_caught(fake, monkeypatch, home, name, bug, acts):
    refusals_are_true(fake, acts, False)
    monkeypatch.setattr(home, name, bug)
    with pytest.raises(AssertionError):
        refusals_are_true(fake, acts, False)


def test_a_client_that_repeats_a_post_is_caught(fake, monkeypatch):
    there = broker(fake)
    there._client()._retry, there._client()._retry_wait = 1, 0
    fake.script.append(Act(504, page(504)))
    there.submit(order())
    assert len(fake.posts()) == 2  # what `_retry = 0` is for


def echoes() -> list[Act]:
    return [
        Act(403, error(1, f"key {KEY} with {SECRET} is wrong", cost_basis=SECRET), apply=False),
        Act(500, f"{KEY} {SECRET}"),
        Act(200, [KEY, SECRET]),
        Act(200, raw_order("b0", SECRET, "AAPL", 5, "buy")),
        Act(200, raw_order("b0", "aa1-entry", "AAPL", 5, "buy") | {"side": SECRET}),
        Act(drop=True),
    ]


def test_neither_key_nor_secret_appears_in_errors_logs_or_shown_objects(fake, caplog):
    caplog.set_level(logging.DEBUG)
    seen = []
    for method in ("POST", "GET"):
        for act in echoes():
            there = broker(fake)
            fake.script.append(Act(act.status, act.body, act.apply, act.drop, method=method))
            with pytest.raises(ArgoAlpineError) as caught:
                there.submit(order()) if method == "POST" else there.account()
            seen += traceback.format_exception(caught.value)
            seen += [repr(there), str(there)]
            fake.orders.clear()
    assert len(seen) > 20
    assert "CANARY" not in "".join(seen) + caplog.text


@pytest.mark.parametrize(
    ("base", "stream"),
    [
        ("https://api.alpaca.markets", "wss://api.alpaca.markets/stream"),
        ("https://API.alpaca.markets.", "wss://api.alpaca.markets/stream"),
        ("https://broker-api.alpaca.markets", "wss://broker-api.alpaca.markets/stream"),
        ("https://paper-api.alpaca.markets", "wss://api.alpaca.markets/stream"),
        ("http://paper-api.alpaca.markets", "wss://paper-api.alpaca.markets/stream"),
        ("https://paper-api.alpaca.markets", "ws://127.0.0.1:8600/stream"),
        ("https://paper-api.alpaca.markets/v2", "wss://paper-api.alpaca.markets/stream"),
        ("https://127.0.0.1@api.alpaca.markets", "wss://api.alpaca.markets/stream"),
        ("paper-api.alpaca.markets", "wss://paper-api.alpaca.markets/stream"),
        ("", ""),
    ],
)
def test_a_broker_that_is_not_clearly_paper_is_refused(fake, base, stream):
    with pytest.raises(InvalidSettings):
        broker(fake, base_url=base, stream_url=stream)


def test_live_needs_to_be_unlocked_and_only_this_machine_is_loopback(fake):
    live = {
        "base_url": "https://api.alpaca.markets",
        "stream_url": "wss://api.alpaca.markets/stream",
    }
    assert not broker(fake, **live, live_allowed=True).is_loopback
    paper = {k: v.replace("api.", "paper-api.", 1) for k, v in live.items()}
    assert not broker(fake, **paper).is_loopback
    assert broker(fake).is_loopback


@pytest.mark.parametrize("secret", ["", "zwölf", "line\nbreak"])
def test_a_secret_that_no_header_can_carry_is_refused_unseen(fake, secret):
    with pytest.raises(InvalidSettings) as caught:
        broker(fake, secret=secret)
    assert not secret or secret not in str(caught.value)
