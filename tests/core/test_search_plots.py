"""Pictures of a search show every trial, and a gap where there is no number."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from argo_alpine.plots import LOOK
from argo_alpine.search_plots import choices_over_time, plateau_map, promised_and_kept

NAMES = ("sizing.stop_pct", "consensus.threshold")
VALUES = ((2.0, 3.0, 4.0), (70.0, 75.0))
WALK = pd.DataFrame(
    {
        "test_from": pd.to_datetime(["2010-01-04", "2011-01-03", "2012-01-03"], utc=True),
        "test_to": pd.to_datetime(["2010-12-31", "2011-12-30", "2012-12-31"], utc=True),
        NAMES[0]: [2.0, None, 4.0],
        "inside": [1.6, np.nan, 1.1],
        "outside": [0.4, np.nan, -0.3],
        "outside_low": [-1.4, np.nan, -2.1],
        "outside_high": [2.2, np.nan, 1.5],
    }
)
TRIALS = pd.DataFrame(
    [(a, b, a + b / 100, a + b / 200) for a in VALUES[0] for b in VALUES[1]],
    columns=[*NAMES, "score", "plateau"],
)
PICTURES = {
    "promised": promised_and_kept(WALK, "Sharpe ratio"),
    "choices": choices_over_time(WALK, {NAMES[0]: VALUES[0]}),
    "map": plateau_map(TRIALS, NAMES, 0, 5, "Sharpe ratio"),
}


@pytest.mark.parametrize("name", PICTURES)
def test_every_picture_has_the_look_named_axes_and_no_title(name):
    layout = PICTURES[name].layout
    assert layout.template == LOOK
    assert layout.title.text is None
    assert layout.xaxis.title.text
    assert layout.yaxis.title.text


def test_a_fold_without_a_score_is_a_gap_and_not_a_zero():
    for trace in PICTURES["promised"].data[-2:]:
        assert np.isnan(trace.y[1])
        assert len(trace.x) == len(WALK)
    assert PICTURES["choices"].data[0].y == ("2", None, "4")


@given(st.permutations(range(len(TRIALS))))
def test_the_map_does_not_depend_on_the_order_of_the_trials(order):
    turned = plateau_map(TRIALS.iloc[order], NAMES, 0, 5, "Sharpe ratio")
    assert turned.to_json() == PICTURES["map"].to_json()


def test_every_trial_has_its_cell_and_both_answers_their_mark():
    left, right = (t for t in PICTURES["map"].data if t.type == "heatmap")
    for a, b, score, plateau in TRIALS.itertuples(index=False):
        place = [*left.y].index(f"{b:g}"), [*left.x].index(f"{a:g}")
        assert left.z[place] == pytest.approx(score, abs=1e-4)
        assert right.z[place] == pytest.approx(plateau, abs=1e-4)
    marks = [(t.x[0], t.y[0]) for t in PICTURES["map"].data if t.type == "scatter"]
    assert marks == [("2", "70"), ("4", "75")] * 2


def test_where_nothing_could_be_judged_nothing_is_marked():
    unknown = TRIALS.assign(score=np.nan, plateau=np.nan)
    fig = plateau_map(unknown, NAMES, None, None, "Sharpe ratio")
    assert [t.type for t in fig.data] == ["heatmap"] * 2
