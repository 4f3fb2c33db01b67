from datetime import UTC, datetime
from fractions import Fraction

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from argo_alpine.consensus import ConsensusPolicy, ballots, consensus
from argo_alpine.domain import Direction, InvalidPolicy, InvalidVote, Vote
from argo_alpine.engine import WEIGHTS

NOW = datetime(2024, 3, 1, 21, tzinfo=UTC)
POLICY = ConsensusPolicy(WEIGHTS)

AGREED = [  # Weighted Consensus v6.0, row by row: massive, alpha_vantage, x, sonar
    ("L80 L80 L80 L80", "LONG", 80.0, 1.0),
    ("L90 L80 L70 S60", "LONG", 76.0, 1.0),
    ("- L80 L85 L70", "LONG", 79.16, 0.6),
    ("- L95 L95 -", "NEUTRAL", 95.0, 0.45),
    ("L75 L75 L75 L75", "LONG", 75.0, 1.0),
    ("S90 S80 S70 L60", "SHORT", 76.0, 1.0),
    ("L100 S100 S100 S100", "NEUTRAL", 60.0, 1.0),
    ("L30 L90 L90 L90", "NEUTRAL", 66.0, 1.0),
]


def a_ballot(text):
    sides = {"L": Direction.LONG, "S": Direction.SHORT}
    spoken = [(s, v) for s, v in zip(WEIGHTS, text.split(), strict=True) if v != "-"]
    return [Vote(s, "AAPL", sides[v[0]], float(v[1:]), NOW) for s, v in spoken]


@pytest.mark.parametrize(("ballot", "direction", "confidence", "turnout"), AGREED)
def test_cases_7_weighted_consensus_v6_is_what_was_agreed(ballot, direction, confidence, turnout):
    result = consensus(a_ballot(ballot), POLICY, NOW)
    assert (result.direction.name, result.confidence, result.turnout) == (
        direction,
        confidence,
        turnout,
    )


def a_vote(source):
    hundredths = st.integers(0, 10_000).map(lambda c: c / 100)
    directions = st.sampled_from(Direction)
    return st.builds(Vote, st.just(source), st.just("AAPL"), directions, hundredths, st.just(NOW))


sources = st.lists(st.sampled_from(sorted(WEIGHTS)), min_size=1, unique=True)
elections = sources.flatmap(lambda names: st.tuples(*map(a_vote, names)))


def chances(votes):
    """The probability of LONG that each vote claims, by source."""
    return {
        v.source: Fraction(round(v.confidence * 100), 10_000)
        if v.direction > 0
        else 1 - Fraction(round(v.confidence * 100), 10_000)
        for v in votes
        if v.direction
    }


@given(elections, st.randoms(use_true_random=False))
def test_the_order_of_arrival_never_changes_the_decision(votes, random):
    shuffled = random.sample(votes, len(votes))
    counted, recounted = consensus(votes, POLICY, NOW), consensus(shuffled, POLICY, NOW)
    assert (counted.direction, counted.confidence) == (recounted.direction, recounted.confidence)


@given(elections)
def test_mirrored_votes_mirror_the_decision(votes):
    mirrored = [
        Vote(v.source, v.symbol, Direction(-v.direction), v.confidence, v.at) for v in votes
    ]
    assert consensus(mirrored, POLICY, NOW).direction == -consensus(votes, POLICY, NOW).direction


@given(elections)
def test_the_decision_is_that_of_exact_fractions(votes):
    claims = chances(votes)
    spoken = sum(Fraction(WEIGHTS[s], 10_000) for s in claims)
    result = consensus(votes, POLICY, NOW)
    if not claims:
        assert (result.direction, result.turnout) == (Direction.NEUTRAL, 0.0)
        return
    pooled = sum(Fraction(WEIGHTS[s], 10_000) * p for s, p in claims.items()) / spoken
    assert min(claims.values()) <= pooled <= max(claims.values())
    wanted = 1 if pooled >= Fraction(3, 4) else -1 if 1 - pooled >= Fraction(3, 4) else 0
    assert result.direction == (wanted if spoken >= Fraction(1, 2) else 0)
    assert result.confidence == int(max(pooled, 1 - pooled) * 10_000) / 100


@given(elections, st.sampled_from([51.0, 60.0, 75.0, 90.0]), st.sampled_from([0.0, 50.0, 90.0]))
def test_raising_threshold_or_quorum_never_makes_a_signal(votes, threshold, quorum):
    loose = consensus(votes, ConsensusPolicy(WEIGHTS, threshold, quorum), NOW)
    assume(loose.direction == Direction.NEUTRAL)
    for stricter in ((threshold + 5, quorum), (threshold, min(quorum + 10, 100.0))):
        assert consensus(votes, ConsensusPolicy(WEIGHTS, *stricter), NOW).direction == 0


@given(elections)
def test_one_who_abstains_lowers_turnout_and_nothing_else(votes):
    loudest = consensus(votes, POLICY, NOW)
    absent = [s for s in WEIGHTS if s not in {v.source for v in votes}]
    silent = [Vote(s, "AAPL", Direction.NEUTRAL, 50.0, NOW) for s in absent]
    with_silence = consensus([*votes, *silent], POLICY, NOW)
    assert (loudest.confidence, loudest.turnout) == (
        with_silence.confidence,
        with_silence.turnout,
    )


@pytest.mark.parametrize("weights", [{"a": 9_999}, {"a": 10_001, "b": -1}, {"a": 10_000.0}])
def test_weights_are_whole_not_below_zero_and_sum_to_all(weights):
    with pytest.raises(InvalidPolicy, match="basis points"):
        ConsensusPolicy(weights)


@pytest.mark.parametrize("knob", [{"threshold": 50.0}, {"quorum": 100.5}, {"quorum": -1.0}])
def test_a_threshold_is_above_half_and_a_quorum_a_share(knob):
    with pytest.raises(InvalidPolicy, match="must lie between"):
        ConsensusPolicy(WEIGHTS, **knob)


def test_a_source_votes_once():
    vote = Vote("massive", "AAPL", Direction.LONG, 80.0, NOW)
    with pytest.raises(InvalidVote, match="voted twice"):
        ballots([vote, vote], POLICY)


@pytest.mark.parametrize("side", [Direction.LONG, Direction.SHORT])
def test_a_threshold_and_a_quorum_carry_when_they_are_just_met(side):
    votes = [Vote(source, "AAPL", side, 75.0, NOW) for source in WEIGHTS]
    assert consensus(votes, POLICY, NOW).direction == side
    two = [v for v in votes if v.source in ("massive", "x_sentiment")]
    for quorum, carried in ((60.0, side), (60.01, Direction.NEUTRAL)):
        policy = ConsensusPolicy(WEIGHTS, quorum=quorum)
        assert consensus(two, policy, NOW).direction == carried


def test_a_threshold_is_rounded_to_hundredths():
    assert 64.07 * 100 < 6407  # in binary
    votes = [Vote(s, "AAPL", Direction.LONG, 64.06, NOW) for s in ("massive", "alpha_vantage")]
    policy = ConsensusPolicy(WEIGHTS, threshold=64.07)
    assert consensus(votes, policy, NOW).direction == Direction.NEUTRAL
