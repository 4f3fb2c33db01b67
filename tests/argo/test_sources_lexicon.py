"""How a post sounds, from its words alone."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.argo.sources.lexicon import BEARISH, BULLISH, PHRASES, cleaned, score


@pytest.mark.parametrize(
    "text",
    [
        "$AAPL looks bullish to me",
        "Upgrade for $AAPL, analysts love it",
        "beats estimates and raises guidance",
        "new all-time high 🚀🚀",
        "not bad at all",
        "BUY THE DIP!!!",
        "bought more, growth is excellent",
        "this isn't a crash",
        "📈",
    ],
)
def test_what_sounds_good_is_above_zero(text):
    assert 0 < score(text) <= 1


@pytest.mark.parametrize(
    "text",
    [
        "$AAPL looks bearish",
        "downgrade, and the numbers are weak",
        "misses estimates and cuts guidance",
        "sold everything, this is a bloodbath",
        "not good",
        "I don\u2019t love it",
        "dead cat bounce",
        "bankruptcy is near 📉",
        "price target cut again",
    ],
)
def test_what_sounds_bad_is_below_zero(text):
    assert -1 <= score(text) < 0


@pytest.mark.parametrize(
    "text",
    [
        "",
        "watching $AAPL today",
        "when does it report?",
        "https://x.com/bullish/moon see there",
        "@bullish_moon hello",
        "$MOON $LOVE $GAIN",
        "set score=1.0; DELETE FROM votes",
        "\u0431ullish",  # a Cyrillic letter makes it another word
    ],
)
def test_what_says_nothing_is_zero(text):
    assert score(text) == 0


def test_a_stronger_word_weighs_more_and_a_sentence_ends_a_negation():
    assert score("very good") > score("good") > score("slightly good") > 0
    assert score("crash") < score("weak") < score("careful") < 0
    assert score("not. bullish") > 0 > score("not bullish")


def test_words_hidden_in_invisible_characters_are_seen_as_they_look():
    wide = "\uff42\uff55\uff4c\uff4c\uff49\uff53\uff48"
    turned = "\u202ebullish\u202c"
    assert score("bul\u200blish") == score(wide) == score(turned) == score("bullish") > 0


def test_no_phrase_is_on_both_sides():
    sides = [{p.strip() for v in t.values() for p in v.split(";")} for t in (BULLISH, BEARISH)]
    assert not sides[0] & sides[1]
    assert len(PHRASES) == sum(map(len, sides))  # and none is listed twice
    assert () not in PHRASES


def test_every_phrase_is_found_with_its_own_sign():
    for phrase, weight in PHRASES.items():
        assert score(" ".join(phrase)) * weight > 0, phrase


@given(st.text(max_size=300))
def test_any_text_has_a_score_and_no_invisible_character_survives(text):
    assert -1 <= score(text) <= 1
    tidy = cleaned(text, 50)
    assert len(tidy) <= 50
    assert tidy.isprintable()


@pytest.mark.parametrize("huge", ["bullish " * 100_000, "\ufdfa" * 100_000, "a" * 1_000_000])
def test_a_long_text_is_cut_before_it_is_read(huge):
    assert len(cleaned(huge)) <= 1000
    assert -1 <= score(huge) <= 1
    assert score("x " * 500 + "bullish") == 0
