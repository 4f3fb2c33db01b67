"""Turn an executed notebook into one page of HTML that asks nobody for anything."""

import html
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from string import Template
from typing import Any, TypeAlias

Json: TypeAlias = Any  # what a notebook file holds

SHELL = Path(__file__).with_name("report.html")
PLOTLY = "application/vnd.plotly.v1+json"
VOID = {"br", "col", "hr", "img", "wbr"}
WORDS = (
    "a abbr b blockquote caption circle code colgroup dd del details div dl dt em figcaption "
    "figure g h1 h2 h3 h4 h5 h6 i kbd li line ol p path polygon polyline pre rect s section small "
    "span strong style sub summary sup svg table tbody td text tfoot th thead title tr ul"
)
KEPT = VOID | {*WORDS.split()}
ADDRESSES = re.compile(
    r"action|background|cite|data|formaction|href|longdesc|ping|poster|src|srcset|xlink:href"
)
REACHES_OUT = re.compile(r"//|url\s*\(|@import|javascript:|image-set|\\", re.IGNORECASE)
COLOURS = re.compile(r"\x1b\[[0-9;]*m")
UNBROKEN = re.compile(
    r"\[[\d\u2212][^][]{1,24}\]|\b\d{4}-\d\d-\d\d\b|[+\u2212-]?[\d,.]*\d %|n = [\d,]*\d"
)
DIGEST = re.compile(r"\b[0-9a-f]{64}\b")
JOINT = re.compile(r"(?<=[a-z])\.(?=[a-z])")


def is_quiet(name: str, value: str) -> bool:
    """Whether an attribute can neither run anything nor fetch anything."""
    if name.startswith("on"):
        return False
    if ADDRESSES.fullmatch(name):
        return value.startswith(("#", "data:image/"))
    return name in {"alt", "title"} or not REACHES_OUT.search(value)


def unbroken(text: str) -> str:
    """Escaped text whose intervals, dates and shares stay whole; digests may break."""
    return UNBROKEN.sub(
        r'<span class="whole">\g<0></span>', DIGEST.sub(r"<code>\g<0></code>", text)
    )


class Quiet(HTMLParser):
    """Markup without scripts, without requests, and with every tag closed."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.out: list[str] = []
        self.open: list[str] = []
        self.links: list[tuple[str, int]] = []  # address, and where its text begins

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keep what is harmless; a link becomes its text, followed by its address."""
        if tag == "script":
            self.open.append(tag)
        if tag not in KEPT:
            return
        given = {name: value or "" for name, value in attrs}
        if tag == "a" and not is_quiet("href", given.get("href", "#")):
            self.links.append((given["href"], len(self.out)))
            return
        kept = [f' {k}="{html.escape(v)}"' for k, v in given.items() if is_quiet(k, v)]
        self.out.append(f"<{tag}{''.join(kept)}>")
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Close `<circle />`, which HTML would leave open."""
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        """Close what was opened, and nothing else."""
        if tag == "a" and self.links:
            address, begin = self.links.pop()
            if address not in html.unescape("".join(self.out[begin:])):
                self.out.append(f" ({html.escape(address)})")
        elif tag in self.open:
            while True:
                last = self.open.pop()
                self.out.append("" if last == "script" else f"</{last}>")
                if last == tag:
                    return

    def handle_data(self, data: str) -> None:
        """Keep text as text, and a style sheet that fetches nothing."""
        inside = self.open[-1] if self.open else ""
        if inside == "style":
            self.out.append("" if REACHES_OUT.search(data) or "<" in data else data)
        elif inside != "script":
            self.out.append(self.text(html.escape(data, quote=False)))

    def text(self, escaped: str) -> str:
        """Text that breaks where a reader would, unless it is code or in a drawing."""
        if not {"svg", "pre", "code"}.isdisjoint(self.open):
            return escaped
        return unbroken(JOINT.sub(".<wbr>", escaped) if "thead" in self.open else escaped)

    def close(self) -> None:
        """Close whatever is still open."""
        super().close()
        for tag in [*reversed(self.open)]:
            self.handle_endtag(tag)


def quiet(markup: str) -> str:
    """Markup that makes no request."""
    parser = Quiet()
    parser.feed(markup)
    parser.close()
    return "".join(parser.out)


def prose(text: str) -> str:
    """Markdown as quiet HTML."""
    from markdown_it import MarkdownIt

    return quiet(MarkdownIt("commonmark").enable(["table", "strikethrough"]).render(text))


def inert(value: Json) -> str:
    """JSON that cannot end the script it stands in."""
    return json.dumps(value, sort_keys=True).replace("<", "\\u003c")


def text_of(source: str | Sequence[str]) -> str:
    """A notebook's text, which may be kept as lines."""
    return source if isinstance(source, str) else "".join(source)


def preformatted(text: str) -> str:
    """Text as a terminal shows it."""
    return f"<pre>{html.escape(COLOURS.sub('', text))}</pre>"


def image(kind: str, content: str) -> str:
    """A picture carried in its own address."""
    return f'<img alt="figure" src="data:{kind};base64,{"".join(content.split())}">'


@dataclass(slots=True)
class Page:
    """The body of a page in the making, and the figures to be drawn on it."""

    body: list[str] = field(default_factory=list)
    figures: list[Json] = field(default_factory=list)

    def figure(self, content: Json) -> str:
        """A place for a figure; as wide as the page, whatever the figure asks for."""
        layout = {k: v for k, v in content.get("layout", {}).items() if k != "width"}
        self.figures.append({"data": content.get("data", []), "layout": layout})
        return f'<div class="plot" id="plot-{len(self.figures)}"></div>'

    def shown(self, data: Mapping[str, Json]) -> str:
        """The richest of the forms an output comes in; data for machines is not shown."""
        if PLOTLY in data:
            return self.figure(data[PLOTLY])
        for kind, show in (("text/html", quiet), ("text/markdown", prose)):
            if kind in data:
                return show(text_of(data[kind]))
        if "image/svg+xml" in data:
            return quiet(text_of(data["image/svg+xml"]))
        for kind in ("image/png", "image/jpeg"):
            if kind in data:
                return image(kind, text_of(data[kind]))
        if "application/json" in data:
            return ""
        return preformatted(text_of(data.get("text/plain", "")))

    def add(self, cell: Json) -> None:
        """A cell's prose, or what its code left; never the code."""
        if cell["cell_type"] == "markdown":
            self.body.append(prose(text_of(cell["source"])))
        for output in cell.get("outputs", []):
            if output["output_type"] == "stream":
                self.body.append(preformatted(text_of(output["text"])))
            elif shown := self.shown(output.get("data", {})):
                self.body.append(f'<div class="output">{shown}</div>')

    def scripts(self) -> str:
        """plotly.js once, then a call for each figure; nothing without figures."""
        if not self.figures:
            return ""
        from plotly.offline import get_plotlyjs

        # no row of buttons: it hides the legend, and one of its buttons would send the figure away
        config = inert({"responsive": True, "displaylogo": False, "displayModeBar": False})
        draw = "\n".join(
            f'Plotly.newPlot("plot-{n}", {inert(f["data"])}, {inert(f["layout"])}, {config});'
            for n, f in enumerate(self.figures, 1)
        )
        resize = 'document.querySelectorAll(".plot").forEach(p => Plotly.Plots.resize(p))'
        library = get_plotlyjs().replace("</script", "<\\/script")
        return (
            f'<script id="plotly">{library}</script>\n'
            f'<script>\n{draw}\naddEventListener("beforeprint", () => {resize});\n</script>'
        )


def title_of(notebook: Json) -> str:
    """The first heading of a notebook."""
    for cell in notebook["cells"]:
        if cell["cell_type"] == "markdown" and (
            found := re.search(r"^# +(.+)$", text_of(cell["source"]), re.MULTILINE)
        ):
            return found[1].strip()
    return "Report"


def rows(pairs: Mapping[str, object]) -> str:
    """Names and values as a table."""
    cells = (
        f"<tr><th>{html.escape(k)}</th><td>{html.escape(str(v))}</td></tr>"
        for k, v in pairs.items()
    )
    return f"<table>{''.join(cells)}</table>"


def page(
    notebook: Json,  # executed
    origin: Mapping[str, object],  # what the page was made from, for its foot
) -> str:
    """A notebook as one file: prose and outputs, no code, no request."""
    made = Page()
    for cell in notebook["cells"]:
        made.add(cell)
    return Template(SHELL.read_text(encoding="utf-8")).substitute(
        title=html.escape(title_of(notebook)),
        body="\n".join(made.body),
        footer=f"<p>Made from</p>\n{rows(origin)}",
        scripts=made.scripts(),
    )
