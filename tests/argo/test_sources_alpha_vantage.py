"""Alpha Vantage: five answers about one completed session, or nothing."""

from datetime import UTC, datetime, timedelta

import pytest

from argo_alpine.domain import UnavailableSource
from services.argo.ports import Harvest
from services.argo.sources.alpha_vantage import AlphaVantage, Bucket
from services.argo.sources.web import Partly
from tests.sources_stage import (
    AT,
    CLOSE,
    DAYS,
    KEY,
    Counts,
    Said,
    Ticks,
    alpha_vendor,
    fixture,
    indicator,
    later,
    serving,
)

MONDAY = datetime(2024, 3, 4, 21, 30, tzinfo=UTC)


@pytest.fixture
def vendor():
    with serving() as vendor:
        vendor.answer = alpha_vendor
        yield vendor


def source(vendor, symbols=("AAPL",), **options):
    told = {"meter": Counts(), "monotonic": Ticks(), **options}
    return AlphaVantage(base_url=vendor.base, key=KEY, symbols=symbols, **told)


def broken(function, said):
    """All is well but for one function."""
    return lambda a: said if a.query["function"] == function else alpha_vendor(a)


def test_five_answers_make_a_reading_of_the_last_completed_session(vendor):
    alpha = source(vendor)
    (reading,) = alpha.fetch(AT).readings
    assert reading.values == {
        **{"close": 100.25, "rsi": 61.25, "macd": 1.2345, "ema": 99.5, "sma": 97.125}
    }
    assert reading.at == CLOSE
    assert reading.expires == datetime(2024, 3, 5, 21, tzinfo=UTC)  # Tuesday's close
    assert [a.query["function"] for a in vendor.asked] == [
        *("TIME_SERIES_DAILY", "RSI", "MACD", "EMA", "SMA")
    ]
    assert vendor.asked[2].query["fastperiod"] == "12"
    assert alpha.meter.used("alpha_vantage", AT.date()) == (5, 0.0)


def test_it_is_due_once_a_session(vendor):
    alpha = source(vendor)
    assert alpha.due(AT)
    alpha.fetch(AT)
    assert not alpha.due(AT)
    assert not alpha.due(datetime(2024, 3, 4, 20, 59, tzinfo=UTC))  # until Monday's close
    assert alpha.due(datetime(2024, 3, 4, 21, 0, tzinfo=UTC))
    assert alpha.due(later(days=-2))


def test_a_failure_half_way_costs_only_the_missing_calls(vendor):
    ticks = Ticks()
    alpha = source(vendor, monotonic=ticks)
    vendor.answer = broken("MACD", Said(b"", 500))
    with pytest.raises(UnavailableSource, match="HTTP 500"):
        alpha.fetch(AT)
    vendor.answer = alpha_vendor
    assert not alpha.due(AT)  # not at once
    ticks.now += 20
    assert alpha.due(AT)
    assert len(alpha.fetch(AT).readings) == 1
    asked = [a.query["function"] for a in vendor.asked]
    assert asked == ["TIME_SERIES_DAILY", "RSI", "MACD", "MACD", "EMA", "SMA"]


def test_one_symbol_that_fails_does_not_hold_up_the_others(vendor):
    vendor.answer = lambda a: (
        Said({"Error Message": "Invalid API call. Please retry"})
        if a.query["symbol"] == "AAPL"
        else alpha_vendor(a)
    )
    alpha = source(vendor, ["AAPL", "IBM"])
    with pytest.raises(Partly, match="TIME_SERIES_DAILY of AAPL: invalid call") as caught:
        alpha.fetch(AT)
    assert [r.symbol for r in caught.value.harvest.readings] == ["IBM"]
    assert not alpha.due(AT)  # asked once: a symbol nobody knows costs no second call today
    assert alpha.due(MONDAY)


def test_values_of_two_sessions_are_never_mixed(vendor):
    ticks = Ticks()
    alpha = source(vendor, monotonic=ticks)
    vendor.answer = broken("SMA", Said(b"", 500))
    with pytest.raises(UnavailableSource):
        alpha.fetch(AT)
    vendor.answer = lambda a: Said(indicator(a.query, "2024-03-04"))
    ticks.now += 60
    (reading,) = alpha.fetch(MONDAY).readings
    assert reading.at == datetime(2024, 3, 4, 21, tzinfo=UTC)
    assert len(vendor.asked) == 10


def test_old_answers_make_no_new_reading(vendor):
    alpha = source(vendor)
    (old,) = alpha.fetch(AT).readings
    with pytest.raises(UnavailableSource, match="nothing about 2024-03-04 yet"):
        alpha.fetch(MONDAY)  # the vendor still has Friday
    assert old.expires < MONDAY + timedelta(days=1)  # and Friday's does not live on


def test_a_day_that_is_still_forming_is_not_used(vendor):
    def answer(asked):
        said = indicator(asked.query)
        meta = said["Meta Data"]
        name = next(name for name in meta if name.endswith("Last Refreshed"))
        meta[name] = f"{DAYS[-1]} 14:07:03"
        return Said(said)

    vendor.answer = answer
    with pytest.raises(UnavailableSource, match="still forming"):
        source(vendor).fetch(AT)


def test_a_forming_day_does_not_spoil_the_one_before(vendor):
    def answer(asked):
        said = indicator(asked.query)
        meta = said["Meta Data"]
        name = next(name for name in meta if name.endswith("Last Refreshed"))
        meta[name] = "2024-03-04 14:07:03"
        return Said(said)

    vendor.answer = answer
    assert source(vendor).fetch(datetime(2024, 3, 4, 19, 7, tzinfo=UTC)).readings[0].at == CLOSE


@pytest.mark.parametrize("value", ["None", "-", ".", "", "NaN", "Infinity", "-inf", "1_0", "٣", 3])
@pytest.mark.parametrize("function", ["TIME_SERIES_DAILY", "RSI", "MACD", "EMA", "SMA"])
def test_a_missing_value_is_not_a_number(vendor, function, value):
    def answer(asked):
        said = indicator(asked.query)
        if asked.query["function"] == function:
            (head,) = [name for name in said if name != "Meta Data"]
            row = said[head][DAYS[-1]]
            row["4. close" if function == "TIME_SERIES_DAILY" else function] = value
        return Said(said)

    vendor.answer = answer
    with pytest.raises(UnavailableSource, match=f"{function} of AAPL"):
        source(vendor).fetch(AT)


@pytest.mark.parametrize(("function", "value"), [("RSI", "101.5"), ("RSI", "-1")])
def test_a_value_out_of_range_makes_no_reading_and_is_asked_again(vendor, function, value):
    vendor.answer = lambda a: Said(
        indicator(a.query, value=value if a.query["function"] == function else None)
    )
    ticks = Ticks()
    alpha = source(vendor, monotonic=ticks)
    with pytest.raises(UnavailableSource, match=r"rsi must lie in 0\.\.100"):
        alpha.fetch(AT)
    vendor.answer = alpha_vendor
    ticks.now += 60
    assert len(alpha.fetch(AT).readings) == 1


@pytest.mark.parametrize(
    "change",
    [
        {"1: Symbol": "IBM"},
        {"1: Symbol": None},
        {"4: Interval": "weekly"},
        {"5: Time Period": 15},
        {"3: Last Refreshed": None},
    ],
)
def test_an_answer_to_another_question_is_refused(vendor, change):
    def answer(asked):
        said = indicator(asked.query)
        if asked.query["function"] == "RSI":
            said["Meta Data"] |= change
        return Said(said)

    vendor.answer = answer
    with pytest.raises(UnavailableSource, match="RSI of AAPL"):
        source(vendor).fetch(AT)


BURST = {"Information": "Please consider spreading out your requests more sparingly (1 request "
         "per second). Lift the free key rate limit (25 requests per day) as well."}  # fmt: skip
QUOTA = {
    "Information": f"We have detected your API key as {KEY} and our standard API rate limit "
    "is 25 requests per day."
}


def test_a_burst_is_waited_out_shortly_and_costs_no_answer(vendor):
    ticks = Ticks()
    alpha = source(vendor, ["AAPL", "IBM"], monotonic=ticks)
    vendor.answer = broken("MACD", Said(BURST))
    with pytest.raises(UnavailableSource, match="too many calls"):
        alpha.fetch(AT)
    assert len(vendor.asked) == 3  # and the next symbol is not tried
    assert not alpha.due(AT)
    ticks.now += 2.0
    assert alpha.due(AT)
    assert not alpha.spent(AT)


def test_a_used_up_quota_stops_until_the_next_day_and_tells_no_key(vendor):
    ticks = Ticks()
    alpha = source(vendor, monotonic=ticks)
    vendor.says(QUOTA)
    with pytest.raises(UnavailableSource, match="daily quota") as caught:
        alpha.fetch(AT)
    assert KEY not in str(caught.value)
    ticks.now += 3600
    assert alpha.spent(AT)
    assert not alpha.due(AT)
    assert alpha.due(MONDAY)


def test_our_own_count_stops_before_the_vendor_does_and_survives_a_restart(vendor):
    counts = Counts()
    alpha = source(vendor, ["AAPL", "IBM"], meter=counts, calls_per_day=7)
    assert [r.symbol for r in alpha.fetch(AT).readings] == ["AAPL"]
    assert alpha.spent(AT)
    again = source(vendor, ["AAPL", "IBM"], meter=counts, calls_per_day=7)
    assert not again.due(AT)
    assert again.fetch(AT) == Harvest()
    assert len(vendor.asked) == 7
    assert len(source(vendor, meter=Counts(), calls_per_day=7).fetch(AT).readings) == 1


def test_calls_are_spread_over_the_minute(vendor):
    ticks, begun = Ticks(), 1000.0
    alpha = source(vendor, ["AAPL", "IBM", "MSFT", "GOOG"], monotonic=ticks, calls_per_minute=10)
    when = []
    while len(when) < 20:
        before = len(vendor.asked)
        if alpha.due(AT):
            alpha.fetch(AT)
        when += [ticks.now - begun] * (len(vendor.asked) - before)
        ticks.now += 0.5
    assert max(sum(t <= other < t + 60 for other in when) for t in when) <= 10
    assert when[9] == 0.0  # a minute's worth at once
    assert when[10:] == [60.0] * 10


def test_a_full_plan_answers_four_symbols_at_once(vendor):
    alpha = source(vendor, ["AAPL", "IBM", "MSFT", "GOOG"])  # 75 a minute
    assert len(alpha.fetch(AT).readings) == 4


def test_a_bucket_never_lets_more_through_in_a_minute_than_the_plan():
    ticks, taken = Ticks(), []
    bucket = Bucket(75, ticks)
    for _ in range(2000):
        if bucket.take():
            taken.append(ticks.now)
        ticks.now += 0.1
    assert max(sum(t <= other < t + 60 for other in taken) for t in taken) <= 75
    assert len(taken) > 100


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"Error Message": "the parameter apikey is invalid or missing."}, "key is invalid"),
        ({"Error Message": "Invalid API call. Please retry"}, "invalid call"),
        ({"Information": "Thank you! This is a premium endpoint."}, "plan does not include"),
        ({"Information": "Invalid inputs. Please refer to the documentation"}, "invalid inputs"),
        ({"Note": "5 calls per minute and 500 calls per day"}, "too many calls"),
        ({"Information": f"something new about {KEY}"}, r"something new about \[key\]"),
        ({"message": "please subscribe", "data": [{"symbol": "AAPL"}]}, "artificial sample data"),
        ({}, "Meta Data must be an object"),
        ({"Global Quote": {}}, "Meta Data must be an object"),
        ([], "must be an object"),
        (None, "must be an object"),
    ],
)
def test_every_failure_with_status_200_is_told_apart(vendor, said, words):
    vendor.says(said)
    with pytest.raises(UnavailableSource, match=words):
        source(vendor).fetch(AT)


def test_the_same_words_inside_data_are_data(vendor):
    def answer(asked):
        said = indicator(asked.query)
        said["Meta Data"]["9. Information"] = "premium, sparingly, detected your API key"
        return Said(said)

    vendor.answer = answer
    assert len(source(vendor).fetch(AT).readings) == 1


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("error_invalid_call", "invalid call"),
        ("error_apikey_invalid", "key is invalid"),
        ("limit_daily_25", "daily quota"),
        ("limit_burst_1_per_second", "too many calls"),
        ("daily_IBM", "nothing about 2024-03-01 yet, the newest row is 2020-05-08"),
        ("rsi_weekly", "Symbol must be IBM"),
        ("global_quote_IBM", "Meta Data"),
        ("news_sentiment_2024-07", "Meta Data"),
    ],
)
def test_a_recorded_reply_is_understood(vendor, name, words):
    vendor.says(fixture("alpha_vantage", name))
    with pytest.raises(UnavailableSource, match=words):
        source(vendor, ["IBM"]).fetch(AT)


def test_a_recorded_day_is_read_once_it_is_over(vendor):
    day = fixture("alpha_vantage", "daily_IBM")  # recorded on 8 May at 14:07

    def answer(asked):
        daily = asked.query["function"] == "TIME_SERIES_DAILY"
        return Said(day if daily else indicator(asked.query, "2020-05-07"))

    vendor.answer = answer
    (reading,) = source(vendor, ["IBM"]).fetch(datetime(2020, 5, 8, 18, 8, tzinfo=UTC)).readings
    assert reading.values["close"] == 121.23
    with pytest.raises(UnavailableSource, match="2020-05-08 is still forming"):
        source(vendor, ["IBM"]).fetch(datetime(2020, 5, 8, 20, 1, tzinfo=UTC))
