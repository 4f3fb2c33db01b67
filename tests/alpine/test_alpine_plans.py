"""Each plan sees what it bought, wherever it asks, and nothing else."""

import csv
import io
from datetime import timedelta

import pytest

from services.alpine.routes.signals import defused
from tests.alpine_stage import PLANS, SYMBOLS, WALL, Book, a_signal, bought, numbers, sold

STARTER = SYMBOLS[:2]


def delivered(alpine, count=48):
    book = Book()
    for number in range(count):
        book.tell(a_signal(number, SYMBOLS[number % 4]))
    alpine.deliver(book)
    return book


def paged(alpine, token, limit=7, **query):
    items, before = [], None
    while True:
        asked = query | ({} if before is None else {"before": before})
        page = alpine.get("/api/signals/history", token, limit=limit, **asked)
        items += page["items"]
        if (before := page["next"]) is None:
            return items


def exported(alpine, token, **query):
    reply = alpine.ask("/api/signals/export", token, params=query)
    assert reply.headers["content-type"].startswith("text/csv")
    return list(csv.DictReader(io.StringIO(reply.text)))


def seen(alpine, token):
    """What a token sees, route by route, as feed numbers."""
    return {
        "subscribed": numbers(alpine.get("/api/signals/subscribed", token)["items"]),
        "history": numbers(paged(alpine, token)),
        "export": [int(row["feed"]) for row in exported(alpine, token)],
    }


def expected(plan, count=48):
    """By hand: delivery n is of symbol n - 1 modulo 4."""
    of = [n for n in range(1, count + 1) if SYMBOLS[(n - 1) % 4] in STARTER]
    return {"free": [], "starter": of[:10], "pro": [*range(1, count + 1)]}.get(
        plan, [*range(1, count + 1)]
    )[::-1]


@pytest.mark.parametrize("plan", PLANS)
def test_every_route_shows_a_plan_exactly_what_it_bought(alpine, plan):
    delivered(alpine)
    routes = seen(alpine, alpine.token(plan))
    assert routes == dict.fromkeys(routes, expected(plan))


def test_free_is_told_a_day_later_and_not_a_second_earlier(alpine):
    delivered(alpine, 3)
    token = alpine.token("free")
    alpine.clock.move(86_399)
    assert seen(alpine, token)["history"] == []
    alpine.clock.move(1)
    assert seen(alpine, token)["history"] == [3, 2, 1]


def test_free_is_told_the_end_a_day_later_too(alpine):
    book, signal = Book(), a_signal(1)
    entry = bought(signal)
    book.tell(signal)
    alpine.deliver(book)
    alpine.clock.move(86_400)
    book.tell(entry, *sold(entry, 42.0, "target"))
    alpine.send(book.batch(2))
    free, pro = (
        alpine.get("/api/signals/history", alpine.token(p))["items"][0] for p in ("free", "pro")
    )
    assert (free["outcome"], free["fills"], pro["outcome"]) == (None, [], "target")
    assert alpine.get("/api/performance", alpine.token("free"))["trades"]["n"] == 0


def test_starters_ten_a_day_begin_anew_at_midnight_utc(alpine):
    book = Book()
    book.tell(*(a_signal(n) for n in range(12)))
    alpine.deliver(book)
    alpine.clock.move(9 * 3600)  # 15:00 becomes midnight
    book.tell(*(a_signal(n) for n in range(12, 24)))
    alpine.send(book.batch(13))
    assert seen(alpine, alpine.token("starter"))["history"] == [
        *range(22, 12, -1),
        *range(10, 0, -1),
    ]


def test_a_signal_tells_who_voted_and_what_became_of_it(alpine):
    book = Book()
    won, lost, held, idle = (a_signal(n, s) for n, s in enumerate(SYMBOLS))
    entries = [bought(signal) for signal in (won, lost, held)]
    book.tell(won, lost, held, idle, *entries)
    book.tell(*sold(entries[0], 42.0, "target"), *sold(entries[1], 38.8, "stop"))
    alpine.deliver(book)
    items = alpine.get("/api/signals/subscribed", alpine.token())["items"]
    found = {item["symbol"]: item for item in items}
    assert [found[s]["outcome"] for s in SYMBOLS] == ["target", "stop", "open", None]
    assert [found[s]["pnl"] for s in SYMBOLS] == pytest.approx([200.0, -120.0, None, None])
    assert [len(found[s]["fills"]) for s in SYMBOLS] == [2, 2, 1, 0]
    one = found["AAPL"]
    assert one["votes"][0] | {"at": ""} == {
        "source": "massive", "direction": "LONG", "confidence": 90.0,
        "why": "above its mean", "at": "",
    }  # fmt: skip
    assert (one["id"], one["entry"], one["at"]) == (won.id, 40.0, "2005-03-01T21:00:00Z")
    assert one["sandbox"] is True


@pytest.mark.parametrize("limit", [1, 2, 5, 100])
def test_pages_together_are_everything_once(alpine, limit):
    delivered(alpine, 20)
    assert numbers(paged(alpine, alpine.token(), limit)) == [*range(20, 0, -1)]


def test_what_arrives_meanwhile_moves_no_page(alpine):
    book = delivered(alpine, 20)
    token = alpine.token()
    first = alpine.get("/api/signals/history", token, limit=10)
    book.tell(*(a_signal(n) for n in range(100, 110)))
    alpine.send(book.batch(21))
    second = alpine.get("/api/signals/history", token, limit=10, before=first["next"])
    assert numbers(first["items"] + second["items"]) == [*range(20, 0, -1)]
    assert second["next"] is None


def test_filters_narrow_and_pages_keep_them(alpine):
    delivered(alpine, 20)
    token = alpine.token()
    query = {"symbol": "MSFT", "direction": "LONG", "from": "2005-03-05T00:00:00Z"}
    found = paged(alpine, token, 2, **query)
    assert {item["symbol"] for item in found} == {"MSFT"}
    assert numbers(found) == [19, 15, 11, 7]
    assert paged(alpine, token, direction="SHORT") == []
    assert numbers(paged(alpine, token, to="2005-03-02T21:00:00Z")) == [2, 1]
    assert [int(row["feed"]) for row in exported(alpine, token, **query)] == [19, 15, 11, 7]


FORMULAS = ["=1+1", "+cmd|' /C calc'!A0", "-2+3", "@SUM(A1)", "\t=1", "\r=1", " =1", "\n@x"]


@pytest.mark.parametrize("text", FORMULAS)
def test_a_cell_is_never_a_formula(text):
    assert defused(text).lstrip()[0] not in "=+-@"
    assert defused(text).startswith("'") or text.strip() != text


@pytest.mark.parametrize("text", ["-2.5", "+1", "1e-5", "-1E+5", "AAPL", "", "2005-03-01"])
def test_a_number_and_a_word_stay_what_they_are(text):
    assert defused(text) == text


def test_an_export_with_a_hostile_reason_has_no_formula_in_any_cell(alpine):
    book = Book()
    book.tell(a_signal(1, why='","=HYPERLINK(""http://evil"")'), a_signal(2, why="\r\n=1+1"))
    alpine.deliver(book)
    rows = exported(alpine, alpine.token())
    assert len(rows) == 2
    for value in (value for row in rows for value in row.values()):
        assert value == defused(value)
    assert rows[0]["pnl"] == "" and rows[0]["entry"] == "40.0"


def test_performance_is_a_curve_and_an_honest_rate(alpine):
    book, worth = Book(), 100_000.0
    for number in range(31):
        signal = a_signal(number)
        entry = bought(signal)
        win = number % 3 > 0
        fill, trade = sold(entry, 42.0 if win else 38.0, "target" if win else "stop")
        worth += trade.pnl
        marks = [
            {"at": signal.at + timedelta(hours=h), "equity": worth + h, "cash": 0.0} for h in (0, 1)
        ]
        book.tell(signal, entry, fill, trade, *marks)
    alpine.deliver(book)
    said = alpine.get("/api/performance", alpine.token())
    assert (said["sandbox"], said["kind"]) == (True, "paper")
    assert len(said["equity"]) == 32  # the first, and the last of each day
    assert said["equity"][-1]["equity"] == worth + 1
    assert (said["trades"]["n"], said["trades"]["wins"]) == (31, 20)
    assert said["trades"]["low"] < said["trades"]["rate"] == 20 / 31 < said["trades"]["high"]
    assert said["trades"]["pnl"] == pytest.approx(worth - 100_000)
    assert 0 < said["drawdown_pct"] < 1


def test_too_few_trades_make_no_rate_and_no_data_no_curve(alpine):
    said = alpine.get("/api/performance", alpine.token())
    assert (said["equity"], said["drawdown_pct"], said["since"]) == ([], None, None)
    assert (said["trades"]["rate"], said["trades"]["n"]) == (None, 0)
    assert "too few" in said["trades"]["why_not"]


def test_the_account_says_what_is_bought(alpine):
    said = alpine.get("/api/account", alpine.token("starter"))
    assert (said["symbols"], said["per_day"], said["delay_seconds"]) == ([*STARTER], 10, 0)
    assert alpine.get("/api/account", alpine.token("free"))["delay_seconds"] == 86_400
    assert said["created_at"] == WALL.isoformat().replace("+00:00", "Z")
