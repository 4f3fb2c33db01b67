"""A rule names what checks it, and that exists."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
RULES = sorted((ROOT / "Rules").glob("[0-9]*.md"))
PARTS = ("**Rule.**", "**Why.**", "**Checked by**", "**Exceptions.**")


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.stem)
def test_a_rule_has_its_four_parts_on_one_page(rule):
    text = rule.read_text()
    assert text.startswith(f"# {rule.stem[:2]} ")
    assert [text.count(part) for part in PARTS] == [1, 1, 1, 1]
    assert len(text.splitlines()) <= 40


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.stem)
def test_what_checks_a_rule_exists(rule):
    line = next(line for line in rule.read_text().splitlines() if "**Checked by**" in line)
    checks = re.findall(r"`([^`]+)`", line)
    assert checks
    for check in checks:
        path, _, name = check.partition("::")
        assert (ROOT / path).is_file(), check
        assert not name or f"def {name}(" in (ROOT / path).read_text(), check


def test_the_index_lists_every_rule():
    index = (ROOT / "Rules" / "README.md").read_text()
    assert {rule.name for rule in RULES} == set(re.findall(r"\]\((\d\d_\w+\.md)\)", index))
    assert len(re.findall(r"^\| \d\d \|", index, flags=re.MULTILINE)) == 18
