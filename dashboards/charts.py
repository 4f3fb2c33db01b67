"""Values in, chart out. No Streamlit here, so notebooks can draw the same pictures."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from plotly.graph_objects import Bar, Figure, Heatmap, Scatter

from argo_alpine import plots
from argo_alpine.plots import BLUE, GREY, ORANGE
from dashboards import words

SIDES = {"LONG": (1, BLUE, "Long"), "SHORT": (-1, ORANGE, "Short")}
CLEAR = "rgba(0,0,0,0)"
FAINT = "rgba(128,136,146,0.25)"
LINE = "rgba(128,136,146,0.7)"


def dressed(fig: Figure, height: int) -> Figure:
    """A figure that takes the page's background and leaves its space to the data."""
    fig.update_layout(
        template="none", height=height, paper_bgcolor=CLEAR, plot_bgcolor=CLEAR,
        showlegend=False, margin={"l": 0, "r": 0, "t": 8, "b": 0}, dragmode=False,
    )  # fmt: skip
    fig.update_xaxes(fixedrange=True, automargin=True, gridcolor=FAINT, zerolinecolor=LINE)
    return fig.update_yaxes(fixedrange=True, automargin=True, gridcolor=FAINT, zerolinecolor=LINE)


def local(times: Sequence[Any], zone: str) -> pd.DatetimeIndex:
    """Times as the reader's clock shows them, named UTC for a picture that only knows UTC."""
    aware = pd.to_datetime(pd.Index(times), utc=True, format="ISO8601")
    return pd.DatetimeIndex(aware).tz_convert(zone).tz_localize(None).tz_localize("UTC")


def equity(points: Sequence[Mapping[str, Any]], zone: str) -> Figure:
    """Money above, distance from the last high beneath."""
    worth = np.array([point["equity"] for point in points], np.float64)
    fig = plots.equity_and_drawdown(local([point["at"] for point in points], zone), worth)
    dressed(fig, 420)
    fig.update_yaxes(title_text="", tickformat=",.0f", row=1)
    fig.update_yaxes(title_text="", ticksuffix=" %", row=2)
    fig.update_traces(line_width=2)
    fig.update_traces(fillcolor="rgba(213,94,0,0.16)", selector={"fill": "tozeroy"})
    return fig.update_xaxes(title_text="")


def ballots(votes: Sequence[Mapping[str, Any]], threshold: float | None = None) -> Figure:
    """A bar per source, to the right for long and to the left for short; abstainers stay grey."""
    fig = Figure()
    names = [words.inert(words.source(vote["source"])) for vote in votes]
    for name, vote in zip(names, votes, strict=True):
        fig.add_trace(ballot(name, vote))
    if threshold:
        for edge in (-threshold, threshold):
            fig.add_vline(x=edge, line={"color": LINE, "width": 1, "dash": "dot"})
    dressed(fig, 46 + 38 * max(len(votes), 1)).update_layout(bargap=0.45)
    ticks = [-100, -50, 0, 50, 100]
    told = ["Short 100", "50", "0", "50", "Long 100"]
    fig.update_layout(margin_r=28).update_xaxes(
        range=[-112, 112], tickvals=ticks, ticktext=told, zeroline=True
    )
    return fig.update_yaxes(autorange="reversed", showgrid=False, ticklabelstandoff=8)


def ballot(name: str, vote: Mapping[str, Any]) -> Bar:
    """One source's bar; nothing but a word for one that abstains."""
    sign, color, _ = SIDES.get(str(vote["direction"]), (0, GREY, ""))
    confidence = float(vote["confidence"] or 0.0) if sign else 0.0
    label = words.sure(confidence) if sign else "abstains"
    return Bar(
        x=[sign * confidence], y=[name], orientation="h", marker={"color": color},
        text=[label], textposition="auto" if sign else "outside", cliponaxis=False,
        insidetextanchor="middle", constraintext="none",
        textfont={"color": "white"} if sign else {"color": GREY},
        outsidetextfont={"color": GREY}, hoverinfo="skip",
    )  # fmt: skip


def votes_now(sources: Sequence[Mapping[str, Any]]) -> Figure:
    """Who says what of which symbol now: blue long, orange short, empty an abstention."""
    symbols = list(dict.fromkeys(v["symbol"] for source in sources for v in source["votes"]))
    cast = {(s["name"], v["symbol"]): v for s in sources for v in s["votes"]}
    grid = [[cast.get((source["name"], symbol)) for symbol in symbols] for source in sources]
    names = [words.inert(words.source(source["name"])) for source in sources]
    axes = {"x": [words.inert(symbol, 12) for symbol in symbols], "y": names}
    fig = Figure()
    for spoke, color, low in ((True, "white", ORANGE), (False, GREY, FAINT)):
        mine = [[vote if bool(leaning(vote)) == spoke else None for vote in row] for row in grid]
        fig.add_trace(
            Heatmap(
                **axes,
                z=[[leaning(vote) if vote else None for vote in row] for row in mine],
                text=[[stacked(vote) for vote in row] for row in mine],
                texttemplate="%{text}", textfont={"size": 12, "color": color}, hoverinfo="skip",
                colorscale=[[0, low], [0.5, FAINT], [1, BLUE]], zmin=-1, zmax=1,
                showscale=False, hoverongaps=False, xgap=4, ygap=4,
            )
        )  # fmt: skip
    dressed(fig, 60 + 48 * max(len(sources), 1))
    fig.update_xaxes(side="top", type="category", showgrid=False, zeroline=False)
    return fig.update_yaxes(autorange="reversed", showgrid=False, zeroline=False)


def leaning(vote: Mapping[str, Any] | None) -> int:
    """To which side a vote leans: 1 long, -1 short, 0 neither."""
    return 0 if vote is None or vote["direction"] not in SIDES else SIDES[vote["direction"]][0]


def spoken(vote: Mapping[str, Any] | None) -> str:
    """A vote in two words."""
    if vote is None or vote["direction"] not in SIDES:
        return "abstains"
    return f"{SIDES[vote['direction']][2]} {words.sure(vote['confidence'])}"


def stacked(vote: Mapping[str, Any] | None) -> str:
    """The same, one above the other, for a narrow cell; nothing for none."""
    return spoken(vote).replace(" ", "<br>", 1) if vote else ""


def interval(rate: float, low: float, high: float) -> Figure:
    """A share with its interval, beside the coin it has to beat."""
    fig = Figure()
    fig.add_vline(x=50, line={"color": LINE, "width": 1, "dash": "dot"})
    span = {"color": BLUE, "width": 8}
    x, y = [100 * low, 100 * high], [0, 0]
    fig.add_trace(Scatter(x=x, y=y, mode="lines", line=span, opacity=0.35, hoverinfo="skip"))
    dot = {"color": BLUE, "size": 14}
    fig.add_trace(Scatter(x=[100 * rate], y=[0], mode="markers", marker=dot, hoverinfo="skip"))
    dressed(fig, 96).update_yaxes(visible=False, range=[-1, 1])
    return fig.update_xaxes(range=[0, 100], dtick=25, ticksuffix=" %", zeroline=False)


def exposure(held: Mapping[str, float]) -> Figure:
    """How much of the equity is in each symbol, in percent: right of zero long, left short."""
    bars = Bar(
        x=[*held.values()], y=[words.inert(symbol, 12) for symbol in held], orientation="h",
        marker={"color": [BLUE if value >= 0 else ORANGE for value in held.values()]},
        text=[f"{words.amount(value, 1)} %" for value in held.values()], textposition="outside",
        cliponaxis=False, hoverinfo="skip",
    )  # fmt: skip
    edge = 1.35 * max((abs(value) for value in held.values()), default=10.0)
    least = -edge if any(value < 0 for value in held.values()) else 0.0
    fig = dressed(Figure(bars), 50 + 38 * max(len(held), 1)).update_layout(bargap=0.45)
    fig.update_xaxes(range=[least, edge], ticksuffix=" %", nticks=6)
    return fig.update_yaxes(autorange="reversed", showgrid=False, ticklabelstandoff=8)
