"""A knob is turned by its name, checked by its owner, and a misspelt one turns nothing."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from argo_alpine.costs import FillPolicy
from argo_alpine.domain import InvalidPolicy
from argo_alpine.engine import Policy
from argo_alpine.fields import Grid, knobs, stepped, with_fields

BASE = Policy()
NAMES = sorted(knobs(BASE))
PERIODS = ("indicators.sma", "indicators.ema", "indicators.rsi", "indicators.atr")


@given(st.sampled_from(NAMES))
def test_a_knob_turned_to_where_it_stands_changes_nothing(name):
    assert with_fields(BASE, {name: knobs(BASE)[name]}) == BASE


@given(st.sampled_from(PERIODS), st.integers(1, 256))
def test_only_the_named_knob_moves(name, value):
    turned = knobs(with_fields(BASE, {name: value}))
    assert turned == knobs(BASE) | {name: value}


@given(st.dictionaries(st.sampled_from(PERIODS), st.integers(1, 256)))
def test_the_order_of_turning_never_matters(changes):
    backwards = dict(reversed(changes.items()))
    assert with_fields(BASE, changes) == with_fields(BASE, backwards)
    one_by_one = BASE
    for name, value in changes.items():
        one_by_one = with_fields(one_by_one, {name: value})
    assert one_by_one == with_fields(BASE, changes)


@given(st.sampled_from(NAMES), st.integers(0, 40), st.characters(categories=["Ll"]))
def test_a_misspelt_name_is_refused_whatever_the_slip(name, place, letter):
    wrong = name[:place] + letter + name[place + 1 :]
    if wrong not in NAMES:
        with pytest.raises(InvalidPolicy, match="no field"):
            with_fields(BASE, {wrong: 1})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("consensus.threshold", "75"),
        ("consensus.threshold", True),
        ("consensus.threshold", float("inf")),
        ("indicators.sma", 2.5),
        ("indicators.sma", None),
        ("strategy", 6),
    ],
)
def test_a_value_of_another_type_is_refused_by_name(name, value):
    with pytest.raises(InvalidPolicy, match=f"{name} must be"):
        with_fields(BASE, {name: value})


def test_a_switch_is_a_switch():
    assert with_fields(FillPolicy(), {"stop_first": False}).stop_first is False
    with pytest.raises(InvalidPolicy, match="stop_first must be true or false, was 0"):
        with_fields(FillPolicy(), {"stop_first": 0})


@given(
    st.dictionaries(
        st.sampled_from(PERIODS),
        st.lists(st.integers(1, 99), min_size=1, max_size=4, unique=True).map(sorted).map(tuple),
        min_size=1,
    )
)
def test_a_grid_holds_every_combination_once(axes):
    grid = Grid(axes)
    points = [tuple(point.items()) for point in grid.points]
    assert len(set(points)) == len(points) == len(grid)


@given(st.integers(-500, 500), st.integers(0, 60), st.integers(1, 40))
def test_steps_begin_at_the_low_end_and_never_pass_the_high_one(low, length, step):
    a, b, c = low / 100, (low + length) / 100, step / 100
    values = stepped(a, b, c)
    assert values[0] == a
    assert values[-1] <= b < values[-1] + c + 1e-12
    assert [round(v * 100) for v in values] == [*range(low, low + length + 1, step)]


@pytest.mark.parametrize("words", [(1, 2, 0), (2, 1, 1), ("a", 2, 1), (0, 1, -1), (0, 1e9, 1e-3)])
def test_steps_that_lead_nowhere_are_refused(words):
    with pytest.raises(InvalidPolicy, match="steps"):
        stepped(*words)
