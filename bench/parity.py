"""Do the engines trade alike? Before any time is compared, every round trip is.

The same crossings go through our loop and through each peer. Bars of entry and exit must be the
same; a difference counts as explained only by a rule that the peer, or we, have written down.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from argo_alpine.backtest import Backtest
from argo_alpine.risk import GAPPED
from bench import peers
from bench.markets import Prices, directions
from bench.ours import as_ours, obeying, our_quality

Trips = dict[int, int]  # bar of the entry -> bar of the exit; the last bar for what is still held

BEYOND = "the open lies beyond a leg: we refuse the entry (gapped), peers enter"
ENTRY_BAR = "vectorbt looks at no leg on the bar of the entry"
FROM_FILL = "the peer measures legs from the fill, we from the decision close"
LAST_BAR = "backtesting.py fills what the last close decided at that bar's own open"


@dataclass(frozen=True)
class Comparison:
    """Our round trips beside those of one peer."""

    market: str
    brackets: bool
    peer: str
    ours: int
    theirs: int
    legs: int  # of our exits, those by stop or target
    explained: Mapping[str, int] = field(default_factory=dict)  # rule -> round trips
    unexplained: tuple[str, ...] = ()

    @property
    def is_alike(self) -> bool:
        """Whether every round trip is the same, or explained."""
        return not self.unexplained


def our_trips(run: Backtest) -> Trips:
    """Round trips of a run of ours."""
    at, trades, held = run.bars.at, run.trades, run.holdings

    def bars_of(times: "pd.Series[pd.Timestamp]", side: str) -> NDArray[np.int64]:
        stamps = pd.DatetimeIndex(times).tz_localize(None).to_numpy().astype("datetime64[us]")
        return np.searchsorted(at, stamps.astype(np.int64), "right" if side == "open" else "left")

    at_open = (trades["why"] == "close").to_numpy()  # legs carry the close of their bar
    exits = np.where(at_open, bars_of(trades["closed"], "open"), bars_of(trades["closed"], "close"))
    done = dict(zip(bars_of(trades["opened"], "open"), exits, strict=True))
    still = bars_of(held["opened"], "open") if len(held) else ()
    return {int(entry): int(exit) for entry, exit in done.items()} | {
        int(entry): len(at) - 1 for entry in still
    }


def backtesting_trips(prices: Prices, brackets: bool) -> Trips:
    """Round trips of backtesting.py."""
    trades = peers.run_backtesting(prices, brackets)["_trades"]
    return dict(zip(trades["EntryBar"], trades["ExitBar"], strict=True))


def vectorbt_trips(prices: Prices, brackets: bool) -> Trips:
    """Round trips of vectorbt."""
    trades = peers.run_vectorbt(prices, brackets).trades.records
    return dict(zip(trades["entry_idx"], trades["exit_idx"], strict=True))


def raptorbt_trips(prices: Prices, brackets: bool) -> Trips:
    """Round trips of raptorbt."""
    return {t.entry_idx: t.exit_idx for t in peers.run_raptorbt(prices, brackets).trades()}


PEERS: Mapping[str, Callable[[Prices, bool], Trips]] = {
    "backtesting": backtesting_trips,
    "vectorbt": vectorbt_trips,
    "raptorbt": raptorbt_trips,
}


def entry_rule(entry: int, theirs: Trips, peer: str, refused: set[int], last: int) -> str:
    """Why an entry may be in one of the two books only; empty when nothing says so."""
    if entry in theirs and entry in refused:
        return BEYOND
    return LAST_BAR if peer == "backtesting" and entry in theirs and entry == last else ""


def exit_rule(entry: int, ours: Trips, peer: str, brackets: bool, prices: Prices) -> str:
    """Why an exit may be at another bar; empty when nothing says so."""
    if not brackets or peer == "backtesting":
        return ""
    if peer == "vectorbt" and ours[entry] == entry:
        return ENTRY_BAR
    moved = abs(prices.open[entry, 0] / prices.close[entry - 1, 0] - 1)
    return FROM_FILL if moved > 1e-5 else ""


def compared(market: str, prices: Prices, brackets: bool, peer: str, late: int = 0) -> Comparison:
    """Our round trips beside a peer's; `late` shifts our directions, which must be noticed."""
    wishes = np.roll(directions(prices), late, axis=0)
    run = obeying(as_ours(prices), wishes, brackets)
    ours, theirs = our_trips(run), PEERS[peer](prices, brackets)
    refused = {int(t) for t in np.flatnonzero(run.log["refusal"][:, 0] & GAPPED)}
    rules = {
        entry: entry_rule(entry, theirs, peer, refused, len(prices.at) - 1)
        for entry in ours.keys() ^ theirs.keys()
    } | {
        entry: exit_rule(entry, ours, peer, brackets, prices)
        for entry in ours.keys() & theirs.keys()
        if ours[entry] != theirs[entry]
    }
    unexplained = tuple(
        f"entry at bar {entry}: our exit {ours.get(entry)}, theirs {theirs.get(entry)}"
        for entry, rule in sorted(rules.items())
        if not rule
    )
    explained = dict(Counter(rule for rule in rules.values() if rule))
    legs = int((run.trades["why"] != "close").sum())
    return Comparison(market, brackets, peer, len(ours), len(theirs), legs, explained, unexplained)


def is_noticed(prices: Prices, peer: str) -> bool:
    """Positive control: directions that are one bar late must not pass."""
    return not compared("control", prices, False, peer, late=1).is_alike


def scored_alike(confidences: NDArray[np.int64], hits: NDArray[np.bool_]) -> Comparison:
    """The Brier score of the same signals, ours and scikit-learn's."""
    (n, ours), (all_of_them, theirs) = (
        our_quality(confidences, hits),
        peers.sklearn_quality(confidences, hits),
    )
    apart = n != all_of_them or abs(ours - theirs) > 1e-9
    unexplained = (f"Brier score: ours {ours}, theirs {theirs}",) if apart else ()
    return Comparison("signals", False, "sklearn", n, all_of_them, 0, {}, unexplained)
