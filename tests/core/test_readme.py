"""The example of the front page runs, says what is printed below it, and shows itself."""

import re
from pathlib import Path

README = (Path(__file__).parents[2] / "README.md").read_text()


def test_the_example_says_what_the_page_says_and_every_answer_shows_itself(capsys):
    code, said = re.search(r"```python\n(.*?)```\n\n```\n(.*?)```", README, re.DOTALL).groups()
    names: dict[str, object] = {}
    exec(code, names)
    assert capsys.readouterr().out == said
    for name in ("run", "page", "quality", "tried", "walk", "bars"):
        assert "<table" in names[name]._repr_html_(), name
