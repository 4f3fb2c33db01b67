"""Pictures and words are functions of what they are given."""

import ast
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashboards import charts, words
from tests.dashboards.fake_api import HOSTILE, Fake, equity, sources, votes


def test_charts_and_words_know_no_streamlit() -> None:
    for module in (charts, words):
        tree = ast.parse(Path(str(module.__file__)).read_text())
        names = {a.name for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names}
        names |= {n.module or "" for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)}
        assert not any(name.startswith("streamlit") for name in names)


def test_the_same_values_make_the_same_picture() -> None:
    points, cast = equity(Fake()), votes(Fake(), "LONG")
    assert charts.equity(points, "UTC") == charts.equity(points, "UTC")
    assert charts.ballots(cast) == charts.ballots(cast)


def test_a_bar_points_where_its_source_does() -> None:
    lengths = [trace.x[0] for trace in charts.ballots(votes(Fake(), "LONG")).data]
    assert lengths == [91.2, 83.5, -57.12, 0.0]


def test_a_curve_is_drawn_on_the_readers_clock() -> None:
    points = [{"at": "2005-07-01T20:00:00Z", "equity": 1.0}, {"at": "2005-07-01T21:00:00Z", "equity": 2.0}]  # fmt: skip  # noqa: E501
    figure = charts.equity(points, "America/New_York")
    assert str(figure.data[0].x[0]).startswith("2005-07-01T16:00")


def test_drawdown_stands_beneath_equity() -> None:
    points = [{"at": f"2005-07-0{n}T20:00:00Z", "equity": worth}
              for n, worth in ((1, 100.0), (2, 90.0), (3, 110.0))]  # fmt: skip
    assert [round(v, 6) for v in charts.equity(points, "UTC").data[1].y] == [0.0, -10.0, 0.0]


@pytest.mark.parametrize("figure", [
    charts.ballots([{"source": HOSTILE, "direction": "LONG", "confidence": 60.0}]),
    charts.votes_now(sources(Fake("hostile"))),
    charts.exposure({HOSTILE: 10.0}),
])  # fmt: skip
def test_foreign_text_is_inert_in_a_chart(figure) -> None:
    assert "<script" not in json.dumps(figure.to_plotly_json(), default=str)


@given(st.text())
def test_no_text_gets_out_of_its_line(text: str) -> None:
    told = words.plain(text)
    assert "\n" not in told and "\r" not in told
    assert len(words.shown(text)) <= 600


@given(st.text(alphabet="[](){}*_`<>#$:~|!\\&@abw./h", max_size=40))
def test_every_sign_of_markdown_is_escaped(text: str) -> None:
    told = words.plain(text)
    for n, sign in enumerate(told):
        if sign in "[](){}*_`<>#$~|!&@:":
            before = len(told[:n]) - len(told[:n].rstrip("\\"))
            assert before % 2 == 1
    assert ":" not in told or f":{words.JOINER}" in told


def test_turning_and_invisible_signs_are_dropped() -> None:
    assert words.shown("a\u202eb\u0000c\u200bd") == "a b c d"


@given(st.floats(0, 100))
def test_a_confidence_is_never_told_higher_than_it_is(confidence: float) -> None:
    assert float(words.sure(confidence).removesuffix(" %")) <= confidence + 1e-6


def test_nearly_enough_is_not_shown_as_enough() -> None:
    assert words.sure(74.999) == "74.99 %"
    assert words.sure(75.0) == "75 %"


@pytest.mark.parametrize(
    ("seconds", "told"),
    [(2, "just now"), (59, "59 seconds ago"), (60, "1 minute ago"), (7300, "2 hours ago")],
)
def test_an_age_is_told_in_the_unit_people_use(seconds: int, told: str) -> None:
    now = datetime(2026, 1, 5, tzinfo=UTC)
    assert words.ago((now - timedelta(seconds=seconds)).isoformat(), now) == told


@pytest.mark.parametrize(
    ("given_", "zone"),
    [
        (("Europe/Berlin", "UTC"), "Europe/Berlin"),
        ((None, "Asia/Tokyo"), "Asia/Tokyo"),
        (("../../etc/passwd", ""), "UTC"),
        (("Nowhere/Land", 3), "UTC"),
    ],
)
def test_a_zone_is_one_or_utc(given_: tuple[object, ...], zone: str) -> None:
    assert words.zone_of(*given_) == zone
