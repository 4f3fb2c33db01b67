"""How a text about a share sounds, judged word by word: it can say nothing else to us."""

import re
import unicodedata
from collections.abc import Iterator, Mapping

LONGEST = 1000  # characters of a text that are read
REACH = 3  # a negation turns the words this far behind it

# strength -> words and phrases; every one is a single opinion about a share
BULLISH: Mapping[float, str] = {
    1.0: """
        bullish; beat expectations; beats expectations; beat estimates; beats estimates; soar;
        soars; soared; soaring; skyrocket; skyrockets; skyrocketing; surge; surges; surged; surging;
        record high; all time high; new high; new highs; blowout quarter;
        raised guidance; raises guidance; raises forecast; price target raised; strong buy;
        upgrade; upgraded; upgrades; breakout; breaks out; broke out; moon; mooning; to the moon;
        excellent; stellar; outstanding; crushed it; crushing it; short squeeze; outperform;
        outperforms; outperformed; outperforming; multibagger; excellent quarter; 🚀; 🐂
    """,
    0.7: """
        rally; rallies; rallied; rallying; beat; beats; strong; stronger; strongest; strength;
        buy; buying; bought; buyers; buy the dip; long; going long; calls; call options;
        accumulate; accumulating; undervalued; cheap; bargain; oversold; growth; growing;
        profit; profits; profitable; profitability; gain; gains; gained; gaining; winner; winning;
        win; upside; uptrend; higher; rise; rises; rising; rose; jump; jumps; jumped; climb; climbs;
        climbed; climbing; rebound; rebounds; rebounded; recovery; recovering; recovers;
        dividend increase; raises dividend; buyback; buybacks; share repurchase; great;
        amazing; fantastic; love; loving; impressive; impressed; robust; solid; healthy;
        confident; optimistic; opportunity; overweight; positive; favorite; 📈; 💰; 💎; 🤑; 🔥; 💪
    """,
    0.4: """
        good; nice; better; best; up; green; support holds; holding up; adding; added; hold;
        holding; happy; excited; expansion; expanding; innovative; innovation; partnership;
        approval; approved; improve; improves; improved; improving; stable; steady; safe; 👍; ✅; 🟢
    """,
}
BEARISH: Mapping[float, str] = {
    1.0: """
        bearish; miss expectations; missed expectations; misses estimates; missed estimates;
        crash; crashes; crashed; crashing; plunge; plunges; plunged; plunging; plummet; plummets;
        plummeted; plummeting; collapse; collapses; collapsed; collapsing; tank; tanks; tanked;
        tanking; bankrupt; bankruptcy; insolvent; default; fraud; fraudulent; scam; ponzi;
        cut guidance; cuts guidance; lowers guidance; lowered guidance; profit warning;
        price target cut; strong sell; downgrade; downgraded; downgrades; breakdown; breaks down;
        broke down; record low; new low; new lows; 52 week low; terrible; disaster; disastrous;
        horrible; awful; worthless; underperform; underperforms; underperformed; underperforming;
        delisted; delisting; capitulation; bloodbath; rug pull; dead cat bounce; 🐻; 💀
    """,
    0.7: """
        selloff; sell off; sell; selling; sold; sellers; dump; dumps; dumped; dumping;
        short; shorting; shorted; puts; put options; miss; misses; missed; weak; weaker; weakest;
        weakness; overvalued; expensive; overbought; bubble; loss; losses; lose; loses; losing;
        lost; loser; decline; declines; declined; declining; drop; drops; dropped; dropping; fall;
        falls; falling; fell; slump; slumps; slumped; slide; slides; sliding; slid; sink; sinks;
        sinking; downside; downtrend; lower; lawsuit; sued; probe; investigation; investigated;
        subpoena; recall; recalls; layoffs; layoff; dilution; diluted; debt; warning; warns;
        warned; bad; ugly; worst; worse; hate; broken; broke; failed; fails; failing; failure;
        negative; underweight; pessimistic; headwinds; dividend cut; cuts dividend; fear;
        panic; trouble; troubled; trapped; bagholder; bagholders; 📉; 🩸; 😱; 🤮
    """,
    0.4: """
        down; red; careful; cautious; caution; risk; risky; risks; worried; worry; worries;
        concern; concerns; concerned; uncertain; uncertainty; slow; slowing; slowdown; delay;
        delayed; delays; disappointing; disappointed; disappoints; resistance; pressure;
        support is gone; avoid; avoiding; doubt; doubts; out of; 👎; ❌; 🔴; 😬
    """,
}
NEGATIONS = frozenset(
    re.split(
        r"\s+",
        """not no never none nobody nothing neither nor without cannot cant can't isn't isnt aren't
        arent wasn't wasnt weren't werent don't dont doesn't doesnt didn't didnt won't wont wouldn't
        wouldnt shouldn't shouldnt couldn't couldnt hasn't haven't hardly barely""",
    )
)
STRONGER: Mapping[str, float] = {
    **{word: 1.4 for word in ("very", "really", "extremely", "massively", "hugely", "super", "so")},
    **{word: 1.4 for word in ("totally", "absolutely", "incredibly", "huge")},
    **{word: 0.6 for word in ("slightly", "somewhat", "bit", "little", "maybe", "perhaps")},
    **{word: 0.6 for word in ("possibly", "kinda", "fairly")},
}


def weights() -> Iterator[tuple[tuple[str, ...], float]]:
    """Every phrase as its words, with its sign."""
    for sign, table in ((1.0, BULLISH), (-1.0, BEARISH)):
        for strength, phrases in table.items():
            for phrase in phrases.split(";"):
                yield tuple(WORD.findall(phrase.lower())), sign * strength


EMOJI = "".join(c for t in (BULLISH, BEARISH) for p in t.values() for c in p if ord(c) > 0x2000)
WORD = re.compile(rf"\$?[a-z0-9]+(?:'[a-z]+)?|[{EMOJI}]|[.!?;]")
CURLY = "\u2019"  # the apostrophe of telephones
ADDRESS = re.compile(r"https?://\S+|www\.\S+|@\w+")
PHRASES: Mapping[tuple[str, ...], float] = dict(weights())
LONGEST_PHRASE = max(map(len, PHRASES))


def cleaned(
    text: str,
    most: int = LONGEST,  # characters
) -> str:
    """Foreign text on one line: normalised, without invisible characters, cut."""
    normal = unicodedata.normalize("NFKC", text[: 4 * most])
    kept = (" " if c.isspace() else c for c in normal if c.isspace() or is_visible(c))
    return " ".join("".join(kept).split())[:most]


def is_visible(character: str) -> bool:
    """Whether a character shows: no control, format, bidirectional, private or unassigned one."""
    kind = unicodedata.category(character)
    return kind[0] != "C" and not "\ufe00" <= character <= "\ufe0f"


def score(text: str) -> float:  # -1..1, 0 when no word counts
    """How a text sounds, from the words in it and nothing else."""
    words = WORD.findall(ADDRESS.sub(" ", cleaned(text).lower().replace(CURLY, "'")))
    found = [*counted(words)]
    gross = sum(abs(weight) for weight in found)
    return max(-1.0, min(1.0, sum(found) / (gross + 0.5))) if found else 0.0


def counted(words: list[str]) -> Iterator[float]:
    """The weight of every phrase found, the longest first, each word used once."""
    i = 0
    while i < len(words):
        length, weight = longest(words, i)
        if length:
            yield weight * stress(words[max(i - REACH, 0) : i])
        i += max(length, 1)


def longest(words: list[str], start: int) -> tuple[int, float]:
    """The longest phrase that begins here, in words, and its weight."""
    for length in range(min(LONGEST_PHRASE, len(words) - start), 0, -1):
        weight = PHRASES.get(tuple(words[start : start + length]))
        if weight is not None:
            return length, weight
    return 0, 0.0


def stress(before: list[str]) -> float:
    """What the words before a phrase make of it: turned, stronger or weaker."""
    factor = 1.0
    for word in reversed(before):
        if word in ".!?;":
            break  # a sentence ends: what stands before speaks of something else
        if word in NEGATIONS:
            factor *= -0.7  # "not good" is not as bad as "bad"
        factor *= STRONGER.get(word, 1.0)
    return factor
