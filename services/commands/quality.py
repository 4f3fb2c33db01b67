"""Whether signals are worth anything, before money comes into it."""

from datetime import date
from shlex import quote
from typing import TYPE_CHECKING, Annotated

import typer

from services.commands import interrupts
from services.commands.knobs import (
    CAVEAT,
    STOCKS,
    Data,
    First,
    Last,
    Sets,
    Symbols,
    asked,
    base_of,
    is_unsaid,
    listed,
    said_if_slow,
    told_lacks,
)
from services.commands.screen import Json, percent, rows_of, say, show

if TYPE_CHECKING:
    from argo_alpine.signal_quality import SignalQuality
    from services.common.folders import Asked

REPORT = "argo-alpine report signal_quality"


def signal_quality(
    context: typer.Context,
    symbols: Symbols = STOCKS,
    data: Data = "",
    first: First = date(2005, 3, 1),
    last: Last = date(2013, 3, 1),
    threshold: Annotated[float, typer.Option(help="Consensus that counts, percent.")] = 75.0,
    horizon: Annotated[int, typer.Option(min=1, help="Bars a signal may take.")] = 20,
    slippage_bps: Annotated[float, typer.Option(help="Against us, basis points.")] = 5.0,
    spread_bps: Annotated[float, typer.Option(help="Bid to ask; half is paid.")] = 2.0,
    settings: Sets = None,
    report: Annotated[
        bool, typer.Option("--report", help="Say how to get this as a page with pictures.")
    ] = False,
    json: Json = False,
) -> None:
    """How often the consensus was right, what it brought, and which source to thank.

    A signal hits when its target comes before its stop within --horizon bars. The rate is shown
    with its interval beside the one that would have broken even. Every consensus with a side is
    judged, also those that no account could have followed, so this is not a return. --set turns
    any other knob of the policy, such as sizing.target_pct, or of the costs.

    \b
    Examples:
      argo-alpine signal-quality
      argo-alpine signal-quality --symbols AAPL --from 2009-01-01 --horizon 10
      argo-alpine signal-quality --threshold 85 --set sizing.stop_pct=2 --json
      argo-alpine signal-quality --data prices
      argo-alpine signal-quality --report
    """
    if report:
        if settings:
            raise typer.BadParameter(f"--set is not for a report: see {REPORT} --help")
        words = f"{REPORT}{period(context, data, symbols, first, last)}"
        words += f" --threshold {threshold:g} --horizon {horizon}"
        words += f" --slippage-bps {slippage_bps:g} --spread-bps {spread_bps:g}"
        say({"command": words}) if json else print(words)
        return
    said_if_slow("labels.label_all")
    from argo_alpine.signal_quality import signal_quality as judge

    options = {
        "consensus.threshold": threshold,
        "costs.slippage_bps": slippage_bps,
        "costs.spread_bps": spread_bps,
    }
    wanted = base_of(settings or (), options)
    prices = asked(context, data, symbols, first, last, wanted.policy.indicators)
    found = judge(
        *(prices.bars, wanted.policy, wanted.costs, prices.readings),
        start=prices.first,
        horizon=horizon,
    )
    interrupts.check()
    said_quality(found, prices) if json else show_quality(found, prices)


def period(context: typer.Context, data: str, symbols: str, first: date, last: date) -> str:
    """What is judged, as options; beside a folder only what was named."""
    options = {"symbols": ("symbols", ",".join(listed(symbols)))}
    options |= {"first": ("from", str(first)), "last": ("to", str(last))}
    named = [pair for name, pair in options.items() if not (data and is_unsaid(context, name))]
    pairs = [("data", data), *named] if data else named
    return "".join(f" --{option} {quote(value)}" for option, value in pairs)


BY_RULE = "Sources that need each other for the quorum agree by rule, and share what they earn."


def verdict(q: "SignalQuality") -> str:
    """The answer in a sentence, as in the report."""
    from argo_alpine.verdict import signal_verdict

    rate = q.hit_rate
    share = (rate.share, rate.low, rate.high)
    said = signal_verdict(rate.n, share, q.needed, q.net, q.beyond)
    return f"{said} ({q.why_empty})" if q.why_empty else said


def said_quality(q: "SignalQuality", prices: "Asked") -> None:
    """A judgement for programs."""
    from argo_alpine.signal_quality import figures, per_election

    sources = q.sources.assign(**per_election(q))
    about = {"symbols": [*q.symbols], "verdict": verdict(q), "caveat": CAVEAT}
    say(
        {**about, **prices.origin, "figures": figures(q), "sources": rows_of(sources.reset_index())}
    )


def show_quality(q: "SignalQuality", prices: "Asked") -> None:
    """A judgement for people."""
    from argo_alpine.shares import reading
    from argo_alpine.signal_quality import per_election

    print(verdict(q))
    counts = ", ".join(f"{n:,} {name}" for name, n in q.outcomes.items())
    rows = [
        ("Signals", f"{len(q.labels):,} in {q.asked:,} bars"),
        ("Period", " to ".join(q.period)),
        ("How they ended", counts),
        ("Target first [95 %]", q.hit_rate.text),
        ("Break-even at the legs", reading(q.break_even, pct=True)),
        ("Needed, as things were", reading(q.needed, pct=True)),
        ("Above that [95 %]", reading(*q.margin, pct=True)),
        ("Got, after costs [bps, 95 %]", reading(*q.net)),
        ("A long on every bar [bps, 95 %]", reading(*q.always_long)),
        ("Got beyond that [bps, 95 %]", reading(*q.beyond)),
    ]
    show(f"{', '.join(q.symbols)}, over {q.horizon} bars", ("", ""), rows)
    table = []
    credit = per_election(q).to_numpy().tolist()
    for (name, row), (added, low, high) in zip(q.sources.iterrows(), credit, strict=True):
        agreed = reading(row["agreement"], row["agreement_low"], row["agreement_high"], pct=True)
        adds, spoke = reading(added, low, high, digits=1), percent(row["coverage"])
        table.append((str(name), spoke, agreed, f"{row['beside']:,.0f}", adds))
    heads = ("source", "voted", "agreed [95 %]", "n", "adds [bps an election, 95 %]")
    asked = f"{int(q.sources['asked'].max()):,}"
    show(f"Which source to thank: asked {asked} times; Shapley values", heads, table)
    print(BY_RULE)
    told_lacks(prices)
    print(f"{CAVEAT} Pictures and groups: {REPORT}")
