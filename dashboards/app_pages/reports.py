"""Which strategies were judged, and on what evidence?"""

from urllib.parse import quote

import streamlit as st

from dashboards import client, parts, session, words

found = parts.reading(client.reports, session.token())
if not found:
    parts.empty(
        "description", "No reports yet", "The operator renders one: argo-alpine report backtest"
    )
    st.stop()

names = [str(report["name"]) for report in found]
about = dict(zip(names, found, strict=True))
name = st.selectbox("Report", names, format_func=lambda n: words.shown(n, 60), width=420)
chosen = about[name]
st.caption(f"Made {words.when(chosen.get('made_at'), session.zone())}")
if chosen.get("verdict"):
    st.text(words.shown(chosen["verdict"]))
page = parts.reading(client.report, f"/api/reports/{quote(name, safe='')}", session.token())
parts.embedded(page, words.shown(name, 60), "report")
