"""What is true of every picture, whatever it shows."""

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from argo_alpine import plots
from argo_alpine.domain import InvalidData

DAYS = pd.date_range("2024-03-01 21:00", periods=6, tz="UTC")
AT = DAYS.as_unit("us").asi8
EQUITY = np.array([100.0, 104.0, 101.0, 107.0, 98.0, 103.0])
CALENDAR = pd.DataFrame(
    {"Jan": [2.0, np.nan], "Feb": [-3.5, 1.0], "Year": [-9.0, 1.0]}, [2023, 2024]
)
COVERAGE = pd.DataFrame(
    {"asked": [200, 200], "voted": [150, 0], "share": [0.75, 0.0]}, ["massive", "sonar"]
)
REASONS = pd.DataFrame(
    {"moment": ["close", "open"], "reason": ["too_small", "too_small"], "count": [8, 9]}
)

FIGURES = {
    "equity": plots.equity_and_drawdown(DAYS, EQUITY, EQUITY[::-1]),
    "months": plots.monthly_table(CALENDAR),
    "costs": plots.cost_bars({"fees": 1.0, "slippage": 2.0}, 10.0),
    "coverage": plots.coverage_bars(COVERAGE),
    "reasons": plots.reason_bars(REASONS),
}
curves = st.lists(st.floats(1.0, 1e6), min_size=2, max_size=30)


@pytest.mark.parametrize("name", FIGURES)
def test_every_axis_says_what_it_measures(name):
    fig = FIGURES[name]
    assert all(axis.title.text for axis in fig.select_yaxes())
    assert [*fig.select_xaxes()][-1].title.text


@pytest.mark.parametrize("name", FIGURES)
def test_no_picture_has_a_title_or_another_look(name):
    layout = FIGURES[name].layout
    assert layout.title.text is None
    assert layout.template.layout.paper_bgcolor == "white"


@pytest.mark.parametrize("name", FIGURES)
def test_no_picture_carries_a_random_name(name):
    assert "uid" not in FIGURES[name].to_json()


@given(curves)
def test_a_drawdown_is_never_above_zero(values):
    days = pd.date_range("2024-03-01 21:00", periods=len(values), tz="UTC")
    *_, under = plots.equity_and_drawdown(days, np.array(values)).data
    assert max(under.y) == 0.0 and min(under.y) > -100.0


@pytest.mark.parametrize("zone", ["UTC", "Asia/Tokyo", "America/New_York"])
def test_a_date_does_not_depend_on_the_zone_it_came_in(zone):
    fig = plots.equity_and_drawdown(DAYS.tz_convert(zone), EQUITY)
    assert str(fig.data[0].x[0])[:10] == "2024-03-01"


def test_a_benchmark_of_another_period_is_refused():
    with pytest.raises(InvalidData, match="benchmark"):
        plots.equity_and_drawdown(DAYS, EQUITY, EQUITY[1:])


@given(st.lists(st.floats(-50, 50), min_size=2, max_size=2))
def test_a_gain_and_a_loss_of_one_size_are_equally_far_from_white(months):
    frame = pd.DataFrame([months], columns=["Jan", "Feb"], index=[2024])
    cells = plots.monthly_table(frame).data[0]
    assert cells.zmin == -cells.zmax and cells.zmax >= max(map(abs, months))


@given(st.floats(-99, 999))
def test_a_month_is_printed_in_three_digits_and_with_its_sign(percent):
    text = plots.three_digits(percent)
    assert len(text.strip("-").replace(".", "")) <= 3
    assert float(text) == pytest.approx(percent, abs=0.5 if abs(percent) >= 9.95 else 0.05)
    assert text.startswith("-") == (float(text) < 0)  # no minus before a zero


def test_a_month_without_a_return_is_left_blank_and_the_digits_have_a_size():
    frame = pd.DataFrame([[1.0, np.nan]], columns=["Jan", "Feb"], index=[2024])
    cells = plots.monthly_table(frame).data[0]
    assert [*cells.text[0]] == ["1.0", ""]
    assert cells.textfont.size == plots.PRINTED >= 11  # else as small as plotly likes


@given(st.floats(-1e6, 1e6), st.floats(0, 1e4), st.floats(0, 1e4))
def test_costs_lead_from_before_to_after(gross, fees, borrow):
    bars = plots.cost_bars({"fees": fees, "borrow": borrow}, gross).data[0]
    assert float(bars.text[-1].replace(",", "")) == pytest.approx(gross - fees - borrow, abs=1)


def test_answers_of_two_moments_are_never_added_up():
    closes, opens = FIGURES["reasons"].data
    assert {*closes.y}.isdisjoint(opens.y)
    assert closes.x.sum() + opens.x.sum() == REASONS["count"].sum()


def test_drawing_needs_neither_a_browser_page_nor_a_notebook():
    code = (
        "import argo_alpine.plots, sys; "
        "sys.exit(bool({'streamlit', 'IPython', 'matplotlib'} & sys.modules.keys()))"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_importing_the_module_leaves_other_pictures_alone():
    code = (
        "import plotly.io as pio; before = pio.templates.default; import argo_alpine.plots, sys; "
        "sys.exit(pio.templates.default != before)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
