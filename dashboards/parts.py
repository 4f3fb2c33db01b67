"""Pieces that several pages are made of."""

from collections.abc import Callable, Mapping, Sequence
from html import escape
from typing import Any, Literal, ParamSpec, TypeAlias, TypeVar

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from argo_alpine.domain import Refused, Unavailable
from argo_alpine.votes import SOURCES
from dashboards import charts, client, session, words

P = ParamSpec("P")
T = TypeVar("T")

STILL = {"displayModeBar": False, "scrollZoom": False, "doubleClick": False}
Color: TypeAlias = Literal["red", "orange", "green", "blue", "gray", "primary"]
Look: TypeAlias = tuple[str, str, Color]  # label, icon, colour
SIDES: Mapping[str, Look] = {
    "LONG": ("Long", ":material/north_east:", "blue"),
    "SHORT": ("Short", ":material/south_east:", "orange"),
}
LEVELS: Mapping[str, Color] = {"ok": "green", "degraded": "orange", "down": "red"}


# Three states


def reading(ask: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """What was asked for; otherwise the page says why not, and ends here."""
    try:
        return ask(*args, **kwargs)
    except client.SignedOut as error:
        session.forget(str(error))
        st.rerun()
    except client.Down as error:
        down(error)
    except (Unavailable, Refused) as error:
        st.error(words.plain(error), icon=":material/error:")
    st.stop()


def down(error: client.Down) -> None:
    """Who does not answer, and what to start."""
    with st.container(border=True):
        st.subheader(f":material/cloud_off: {error.service} is not there", anchor=False)
        st.text(words.shown(error))
        everything, alone = client.START[error.service]
        st.caption("Start everything, or this part alone:")
        st.code(f"{everything}\n{alone}", language="bash")
        st.button("Try again", icon=":material/refresh:", key=f"again_{error.service}")


def empty(icon: str, title: str, why: str) -> None:
    """Nothing yet, and when there will be something."""
    with st.container(border=True, horizontal_alignment="center"):
        st.space("small")
        st.markdown(f"### :gray[:material/{icon}:]", text_alignment="center", anchors=False)
        st.markdown(f"**{title}**", text_alignment="center")
        st.caption(why, text_alignment="center")
        st.space("small")


# Said on every page


def sandbox(is_sandbox: bool | None) -> None:
    """That nothing here is real, if so."""
    if is_sandbox:
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            st.badge("SANDBOX", icon=":material/science:", color="orange")
            st.caption("Recorded prices, a simulated broker, no real money.", width="content")


def hypothetical(kind: object) -> None:
    """That no money was made or lost."""
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.badge(words.shown(kind, 20).capitalize(), icon=":material/edit_note:", color="gray")
        st.caption(
            "Hypothetical results of a simulated account. The past promises nothing.",
            width="content",
        )


# Votes and sides


def side(direction: str) -> None:
    """Long or short."""
    name, icon, color = SIDES.get(direction, ("Neutral", ":material/remove:", "gray"))
    st.badge(name, icon=icon, color=color)


def everyone(votes: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """A vote of every source: those that were not heard abstain."""
    heard = {str(vote["source"]): vote for vote in votes}
    silence = {"direction": "NEUTRAL", "confidence": None, "why": "nothing was heard"}
    names = [*SOURCES, *(name for name in heard if name not in SOURCES)]
    return [heard.get(name, {"source": name, **silence}) for name in names]


def ballots(votes: Sequence[Mapping[str, Any]], key: str, threshold: float | None = None) -> None:
    """Who voted what, and in their own words why."""
    every = everyone(votes)
    spoke = sum(vote["direction"] in SIDES for vote in every)
    st.markdown(f"**Votes** :gray[{spoke} of {len(every)} sources spoke]")
    told = ", ".join(f"{words.source(v['source'])} {charts.spoken(v)}" for v in every)
    picture(charts.ballots(every, threshold), key, f"Votes: {told}")
    with st.expander("In their words", key=f"{key}_why"):
        for vote in every:
            st.caption(f"**{words.plain(words.source(vote['source']))}**")
            st.text(words.shown(vote.get("why") or "no reason given"))


def picture(figure: Any, key: str, alt: str) -> None:
    """A chart that stays where it is."""
    st.plotly_chart(figure, key=key, config=STILL, alt=alt)


# Facts


def facts(pairs: Mapping[str, str], width: int = 136) -> None:
    """A row of values under their names, as many beside each other as fit."""
    with st.container(horizontal=True, gap="small"):
        for name, value in pairs.items():
            st.metric(name, value, width=width)


def row(*names: int | float) -> list[DeltaGenerator]:
    """Columns with air between them; on a telephone they follow one another."""
    return st.columns([*names], gap="large")


def embedded(markup: str, title: str, name: str) -> None:
    """A page inside the page.

    The inner frame is a sandbox with an origin of its own: its scripts reach neither this app nor
    its token. A data address would do the same, but browsers open none of more than two megabytes.
    """
    st.download_button(
        "Download", markup, f"{name}.html", "text/html", icon=":material/download:",
        on_click="ignore", key=f"save_{name}",
    )  # fmt: skip
    frame = 'sandbox="allow-scripts" style="border:0;position:fixed;width:100%;height:100%"'
    inner = f'<iframe {frame} title="{escape(title)}" srcdoc="{escape(markup)}"></iframe>'
    st.iframe(inner, height=900, alt=title)
