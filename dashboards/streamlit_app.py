"""The dashboard: where its pages are, what they are called, and who may see them."""

from pathlib import Path

import streamlit as st

from dashboards import client, parts, session

MARK = Path(__file__).with_name("mark.svg")
SUBSCRIBERS = {
    "signals": ("Signals", ":material/sensors:"),
    "performance": ("Performance", ":material/show_chart:"),
    "backtest": ("Backtest", ":material/history:"),
    "reports": ("Reports", ":material/description:"),
    "account": ("Account", ":material/person:"),
}
OPERATOR = {
    "engine": ("Engine", ":material/settings:"),
    "sources": ("Sources", ":material/hub:"),
    "risk": ("Risk", ":material/shield:"),
}
WIDTH = 1080  # pixels: beyond, lines get too long to read


def pages(named: dict[str, tuple[str, str]]) -> list[st.Page]:
    """Pages under their names."""
    return [
        st.Page(f"app_pages/{name}.py", title=title, icon=icon, url_path=name)
        for name, (title, icon) in named.items()
    ]


st.set_page_config(page_title="Argo Alpine", page_icon=str(MARK), layout="wide")
st.logo(str(MARK), size="large")

offered = {"Subscribers": pages(SUBSCRIBERS)}
if session.is_operator():
    offered["Operator"] = pages(OPERATOR)
chosen = st.navigation(offered)
service = client.ARGO if chosen.url_path in OPERATOR else client.ALPINE

st.sidebar.caption(f"Times in {session.zone()}")
with st.container(width=WIDTH):
    parts.sandbox(client.sandbox(service))
    st.title(chosen.title, anchor=False)
    if service == client.ALPINE and not session.token():
        session.sign_in()
    else:
        chosen.run()
