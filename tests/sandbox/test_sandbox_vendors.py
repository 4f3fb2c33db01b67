"""The stand-ins answer in their vendors' own shapes, errors included."""

import json
from datetime import date, datetime
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pytest

from argo_alpine.loading import load
from services.sandbox import x_api
from services.sandbox.app import create_app
from services.sandbox.world import SYMBOLS, World
from tests.clocks import ManualClock
from tests.sandbox_server import ask

FIXTURES = Path(__file__).parents[2].parent / "shared" / "fixtures"
BARS = load(SYMBOLS, date(2003, 1, 2), date(2005, 6, 30))
MASSIVE = "/massive/v2/aggs/ticker/AAPL/range"
SNAPSHOT = "/massive/v2/snapshot/locale/us/markets/stocks/tickers"
LINES = "/alpha_vantage/query?apikey=sandbox&symbol=AAPL&interval=daily&series_type=close"
DAILY = "/alpha_vantage/query?apikey=sandbox&function=TIME_SERIES_DAILY"
SEARCH = "/x/2/tweets/search/recent"
AGENT = "/perplexity/v1/agent"
SCHEMA = {
    "type": "object",
    "properties": {
        "direction": {"type": "string", "enum": ["LONG", "SHORT", "NEUTRAL"]},
        "confidence": {"type": "number", "minimum": 0, "maximum": 100},
        "reason": {"type": "string"},
        "citations": {"type": "array", "items": {"type": "string"}},
    },
}


@pytest.fixture
def world():
    return World(BARS, date(2005, 3, 1))


@pytest.fixture
def app(world):
    return create_app(world, clock=ManualClock(datetime.fromisoformat("2026-01-01T00:00+00:00")))


def recorded(name):
    path = FIXTURES / name
    if not path.exists():
        pytest.skip(f"no fixture {name}")
    return json.loads(path.read_text())


def shape(value):
    """What a value is made of, without what it says."""
    if isinstance(value, dict):
        return {name: shape(part) for name, part in value.items()}
    if isinstance(value, list):
        return [shape(value[0])] if value else []
    return "number" if isinstance(value, int | float) else type(value).__name__


def within(ours, theirs):
    """Everything of ours that theirs has otherwise, or not at all."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        return [
            f"{name}.{odd}" if odd else name
            for name, part in ours.items()
            for odd in (within(part, theirs[name]) if name in theirs else [""])
        ]
    if isinstance(ours, list) and isinstance(theirs, list):
        return within(ours[0], theirs[0]) if ours and theirs else []
    return [] if ours == theirs else [f"{ours} is {theirs}"]


def odd(reply, name):
    """What no recorded reply has."""
    return within(shape(reply.json()), shape(recorded(name)))


# Massive


def test_aggregates_look_as_recorded_and_start_at_midnight_in_new_york(app, world):
    reply = ask(app, f"{MASSIVE}/1/day/2005-02-25/2005-03-31")
    assert odd(reply, "massive/aggs_day_AAPL.json") == []
    results = reply.json()["results"]
    assert [bar["t"] for bar in results] == [1109307600000, 1109566800000]
    assert (results[-1]["o"], results[-1]["c"], results[-1]["v"]) == (44.68, 44.86, 11635900)
    world.leap(1)
    assert ask(app, f"{MASSIVE}/1/day/2005-02-25/2005-03-31").json()["resultsCount"] == 3


@pytest.mark.parametrize("sort", ["asc", "desc"])
def test_pages_of_aggregates_make_the_whole(app, sort):
    whole = ask(app, f"{MASSIVE}/1/day/2004-12-01/2005-03-31?sort={sort}").json()
    assert "next_url" not in whole
    bars, url = [], f"{MASSIVE}/1/day/2004-12-01/2005-03-31?sort={sort}&limit=7&apiKey=sandbox"
    while url:
        reply = ask(app, url).json()
        bars += reply["results"]
        url = reply.get("next_url", "").removeprefix("http://127.0.0.1:8600")
        assert "sandbox" not in url
    assert bars == whole["results"] and len(bars) > 50


@pytest.mark.parametrize(
    "path", ["/massive/v2/aggs/ticker/NONE/range/1/day/2005-01-01/2005-02-01",
             f"{MASSIVE}/1/day/1995-01-01/1996-01-01"]
)  # fmt: skip
def test_no_aggregates_are_an_absent_list(app, path):
    reply = ask(app, path)
    assert (reply.status, reply.json()["resultsCount"]) == (200, 0)
    assert "results" not in reply.json()


@pytest.mark.parametrize("asked", ["1/hour", "5/day", "1/minute"])
def test_other_spans_are_not_in_the_plan(app, asked):
    reply = ask(app, f"{MASSIVE}/{asked}/2005-01-01/2005-02-01")
    assert reply.status == 403 and odd(reply, "massive/error_403_timeframe.json") == []


@pytest.mark.parametrize(
    "bad", ["1/day/yesterday/2005-01-01", "1/day/2005-01-01/2005-02-01?limit=0"]
)
def test_massive_words_a_bad_request_itself(app, bad):
    reply = ask(app, f"{MASSIVE}/{bad}")
    assert reply.status == 400 and odd(reply, "massive/error_401_unknown_key.json") == []


def test_a_snapshot_looks_as_recorded_and_leaves_unknown_symbols_out(app, world):
    reply = ask(app, f"{SNAPSHOT}?tickers=AAPL,NONE,GOOG")
    assert odd(reply, "massive/snapshot_all_tickers.json") == []
    first = reply.json()["tickers"][0]
    assert [shot["ticker"] for shot in reply.json()["tickers"]] == ["AAPL", "GOOG"]
    assert first["lastTrade"]["p"] == 44.5 and first["prevDay"]["c"] == 44.86
    assert first["updated"] == int(world.at.timestamp()) * 10**9


def test_a_snapshot_knows_the_day_so_far(app, world):
    world.leap(2)
    days = []
    for _ in range(5):
        day = ask(app, f"{SNAPSHOT}?tickers=AAPL").json()["tickers"][0]["day"]
        days.append(tuple(day[name] for name in "ohlc"))
        world.leap(1)
    assert days[:3] == [(44.25,) * 4, (44.25, 44.89, 44.25, 44.89), (44.25, 44.89, 44.08, 44.08)]
    assert days[3:] == [(44.25, 44.89, 44.08, 44.121)] * 2


def test_the_market_status_looks_as_recorded(app, world):
    words = []
    for _ in range(3):
        reply = ask(app, "/massive/v1/marketstatus/now")
        assert odd(reply, "massive/market_status_now.json") == []
        words.append(reply.json()["market"])
        world.leap(1)
    assert words == ["open", "extended-hours", "open"]


# Alpha Vantage


@pytest.mark.parametrize(
    ("query", "name"),
    [
        (f"{DAILY}&symbol=IBM", "daily_IBM"),
        (f"{LINES}&function=RSI&time_period=10", "rsi_weekly"),
        (f"{LINES}&function=SMA&time_period=10", "sma_MSFT_15min"),
        (f"{LINES}&function=EMA&time_period=10", "ema_weekly"),
        (f"{LINES}&function=MACD", "macd_monthly_GOOGL"),
    ],
)
def test_series_and_indicators_look_as_recorded(app, query, name):
    ours, theirs = ask(app, query).json(), recorded(f"alpha_vantage/{name}.json")
    assert [*ours] == [*theirs]
    assert shape(ours["Meta Data"]) == shape(theirs["Meta Data"])
    rows, their_rows = ([*reply.values()][1] for reply in (ours, theirs))
    assert {*next(iter(rows.values()))} == {*next(iter(their_rows.values()))}
    assert [*rows] == sorted(rows, reverse=True) and next(iter(rows)) == "2005-02-28"
    assert all(isinstance(cell, str) for row in rows.values() for cell in row.values())


def test_an_average_is_the_average_of_completed_closes(app, world):
    world.leap(1)
    rows = ask(app, f"{LINES}&function=SMA&time_period=20").json()["Technical Analysis: SMA"]
    closes = world.known("AAPL").close[-20:]
    assert rows["2005-03-01"]["SMA"] == f"{np.mean(closes):.4f}"
    assert len(rows) == len(world.known("AAPL")) - 19


def test_compact_is_a_hundred_rows_and_full_is_all(app, world):
    sizes = {size: f"{DAILY}&symbol=AAPL&outputsize={size}" for size in ("compact", "full")}
    rows = {size: ask(app, path).json()["Time Series (Daily)"] for size, path in sizes.items()}
    assert (len(rows["compact"]), len(rows["full"])) == (100, len(world.known("AAPL")))
    assert rows["compact"]["2005-02-28"]["4. close"] == "44.8600"


@pytest.mark.parametrize(
    "query",
    [
        f"{DAILY}&symbol=NONE",
        f"{LINES}&function=RSI",
        f"{LINES}&function=RSI&time_period=1",
        f"{LINES.replace('daily', 'hourly')}&function=RSI&time_period=14",
        f"{LINES.replace('close', 'middle')}&function=MACD",
    ],
)
def test_a_wrong_parameter_is_an_error_with_status_200(app, query):
    reply = ask(app, query)
    assert reply.status == 200 and odd(reply, "alpha_vantage/error_invalid_call.json") == []
    assert reply.json()["Error Message"].startswith("Invalid API call.")


def test_calls_beyond_the_plan_are_told_to_be_sparing():
    clock = ManualClock(datetime.fromisoformat("2026-01-01T00:00+00:00"))
    app = create_app(World(BARS, date(2005, 3, 1)), clock=clock)
    path = f"{DAILY}&symbol=IBM"
    replies = [ask(app, path) for _ in range(1201)]
    assert all("Meta Data" in reply.json() for reply in replies[:1200])
    assert replies[1200].json() == recorded("alpha_vantage/limit_burst_1_per_second.json")
    clock.move(60.0)
    assert "Meta Data" in ask(app, path).json()


def test_a_world_without_limits_answers_whoever_steps_through_months(world):
    clock = ManualClock(datetime.fromisoformat("2026-01-01T00:00+00:00"))
    strict, lax = (create_app(world, clock=clock, limited=limited) for limited in (True, False))
    for app, last in ((strict, 429), (lax, 200)):
        for _ in range(50):
            assert consult(app).status == 200
        assert consult(app).status == last
        for _ in range(200):
            assert ask(app, "/alpaca/v2/clock").status == 200
        assert ask(app, "/alpaca/v2/clock").status == last


# X


def search(app, query="($AAPL OR $MSFT) lang:en -is:retweet", **more):
    told = "&".join(f"{name.replace('__', '.')}={value}" for name, value in more.items())
    return ask(app, f"{SEARCH}?query={quote(query)}&{told}")


def test_posts_say_what_they_are_and_are_never_from_the_future(app, world):
    fields = "created_at,author_id,entities"
    for _ in range(12):
        posts = search(app, max_results=100, tweet__fields=fields).json()["data"]
        assert all("[sandbox]" in post["text"] for post in posts)
        assert all(datetime.fromisoformat(post["created_at"]) <= world.at for post in posts)
        assert [post["id"] for post in posts] == sorted((p["id"] for p in posts), reverse=True)
        tags = {post["entities"]["cashtags"][0]["tag"] for post in posts}
        assert tags == {"AAPL", "MSFT"}
        world.leap(1)


def test_a_search_looks_as_recorded(app):
    assert odd(search(app), "x/search_recent_tweepy.json") == []
    assert {*search(app).headers} >= {
        "x-rate-limit-limit", "x-rate-limit-remaining", "x-rate-limit-reset"
    }  # fmt: skip
    assert search(app, "$NONE").json() == recorded("x/search_recent_empty.json")
    refused = ask(app, SEARCH)
    assert (refused.status, refused.json()) == (400, recorded("x/error_400_invalid_request.json"))


def test_pages_of_posts_make_the_whole_and_since_id_asks_for_new_ones_only(app, world):
    pages, token = [], ""
    while token is not None:
        reply = search(app, max_results=10, **({"next_token": token} if token else {})).json()
        pages += reply["data"]
        token = reply["meta"].get("next_token")
    ids = [post["id"] for post in pages]
    assert len(ids) == len(set(ids)) > 250
    assert search(app, since_id=ids[0]).json() == {"meta": {"result_count": 0}}
    world.leap(2)
    new = search(app, since_id=ids[0], max_results=100).json()["data"]
    assert 4 * 6 <= len(new) <= 4 * 12
    assert not {post["id"] for post in new} & set(ids)


def test_six_to_twelve_people_write_about_a_symbol_in_each_window(world):
    for row in range(world.row - 50, world.row):
        posts = x_api.talk(world, "IBM", row, "second")
        assert 6 <= len({post.author for post in posts}) == len(posts) <= 12


def test_opinions_follow_the_trend(world):
    def mood(symbol, row):
        texts = [p.text for w in ("open", "first") for p in x_api.talk(world, symbol, row, w)]
        words = [t.format(symbol) for t in x_api.BULLISH], [t.format(symbol) for t in x_api.BEARISH]
        bulls, bears = (sum(t.removesuffix(" [sandbox]") in w for t in texts) for w in words)
        return bulls - bears

    moves, moods = [], []
    for row in range(30, 500, 3):
        bars = world.tape.until("AAPL", int(world.tape.opens[row]))
        moves.append(x_api.trend(bars))
        moods.append(mood("AAPL", row))
    assert np.corrcoef(moves, moods)[0, 1] > 0.5
    assert min(moods) < 0 < max(moods)


def test_the_same_world_says_the_same_twice(app):
    again = create_app(World(BARS, date(2005, 3, 1)))
    assert search(app, max_results=100).content == search(again, max_results=100).content


@pytest.mark.parametrize(
    "told", [{"max_results": 9}, {"max_results": 101}, {"since_id": "x"}, {"next_token": "!"},
             {"start_time": "monday"}]
)  # fmt: skip
def test_x_refuses_what_it_cannot_read(app, told):
    assert search(app, **told).status == 400


# Perplexity


def consult(app, **told):
    body = {"model": "perplexity/sonar", "input": "What now for $AAPL? Cite sources.", **told}
    return ask(app, AGENT, method="POST", body=body)


def structured(app, schema, **told):
    wanted = {"type": "json_schema", "json_schema": {"name": "view", "schema": schema}}
    reply = consult(app, response_format=wanted, **told)
    return json.loads(reply.json()["output"][1]["content"][0]["text"])


def test_an_agents_answer_looks_as_recorded(app, world):
    reply = consult(app)
    strange = odd(reply, "perplexity/agent_structured_output.json")
    assert [name for name in strange if "instructions" not in name and "tokens" not in name] == []
    assert reply.json()["completed_at"] <= world.at.timestamp()
    assert reply.json()["status"] == "completed"
    assert "[1]" in reply.json()["output"][1]["content"][0]["text"]


def test_a_structured_answer_fills_the_schema_and_says_that_it_is_synthetic(app):
    view = structured(app, SCHEMA)
    assert view["direction"] in ("LONG", "SHORT", "NEUTRAL") and 50 <= view["confidence"] <= 100
    assert "[sandbox]" in view["reason"] and "AAPL" in view["reason"]
    assert all(url.startswith("https://sandbox.invalid/AAPL") for url in view["citations"])


def test_a_structured_answer_speaks_the_schemas_own_words(app):
    schema = {"type": "object", "properties": {
        "direction": {"type": "string", "enum": ["bearish", "neutral", "bullish"]},
        "confidence": {"type": "number", "maximum": 1},
        "citations": {"type": "array", "items": {"type": "integer"}},
    }}  # fmt: skip
    long, other = structured(app, SCHEMA), structured(app, schema)
    assert {"LONG": "bullish", "SHORT": "bearish", "NEUTRAL": "neutral"}[long["direction"]] == (
        other["direction"]
    )
    assert other["confidence"] == pytest.approx(long["confidence"] / 100)
    assert other["citations"] == [1, 2]


def test_a_question_without_a_symbol_gets_no_opinion(app):
    view = structured(app, SCHEMA, input="How is the weather in AAPLETON?")
    assert (view["direction"], view["confidence"]) == ("NEUTRAL", 50.0)


@pytest.mark.parametrize(
    ("told", "kind"),
    [
        ({"input": ""}, "invalid_request"),
        ({"model": "sonar"}, "invalid_model"),
        ({"tools": [{"type": "web_search", "filters": {"search_recency_filter": "eon"}}]},
         "invalid_request"),
        ({"response_format": {"type": "json_schema", "json_schema": {"schema": {}}}},
         "invalid_request"),
    ],
)  # fmt: skip
def test_perplexity_refuses_what_it_cannot_mean(app, told, kind):
    reply = consult(app, **told)
    assert (reply.status, reply.json()["error"]["type"]) == (400, kind)


def test_the_retired_interface_says_so(app):
    reply = ask(app, "/perplexity/chat/completions", method="POST", body={})
    assert (reply.status, reply.json()) == (
        403,
        recorded("perplexity/error_403_sonar_retired.json"),
    )


# Keys and paths


@pytest.mark.parametrize("key", ["", "real-key"])
def test_a_key_that_is_not_the_sandboxes_gets_the_vendors_own_refusal(app, key):
    massive = ask(app, SNAPSHOT, key)
    assert massive.status == 401 and odd(massive, "massive/error_401_unknown_key.json") == []
    for path, name in (
        (SEARCH, "x/error_401_unauthorized"),
        (AGENT, "perplexity/error_401_invalid_key"),
    ):
        method = "POST" if path == AGENT else "GET"
        reply = ask(app, path, key, method, {"input": "AAPL", "model": "a/b"})
        assert (reply.status, reply.json()) == (401, recorded(f"{name}.json"))
    reply = ask(app, f"/alpha_vantage/query?function=RSI&apikey={key}", key)
    assert (reply.status, reply.json()) == (
        200,
        recorded("alpha_vantage/error_apikey_invalid.json"),
    )
    assert ask(app, "/alpaca/v2/account", key).status == 401


@pytest.mark.parametrize("vendor", ["massive", "alpha_vantage", "x", "perplexity", "alpaca"])
def test_an_unknown_path_is_the_vendors_404(app, vendor):
    reply = ask(app, f"/{vendor}/v9/nothing")
    assert reply.status == 404 and b'"detail":"Not Found"}' not in reply.content
