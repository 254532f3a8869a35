"""The pages of the studies: each number of an answer is one of the tables committed with it."""

import re
from collections.abc import Iterator

import pytest

from tests.studies.committed import STUDIES, committed
from tools.sandbox import ROOT

NUMBER = r"-?\d+(?:,\d{3})*(?:\.\d+)?"


def tables_of(study: str) -> str:
    """All tables of a study, as committed."""
    results = f"studies/{study}/results"
    names = [
        name for name in committed(f"{results}/").split() if name.endswith((".md", ".csv")) and "per_seed" not in name
    ]
    return "\n".join(committed(f"{results}/{name}") for name in names)


def answers(study: str) -> Iterator[str]:
    """The answer on the study's own page, and its rows in the lists of studies."""
    page = (ROOT / "studies" / study / "README.md").read_text(encoding="utf-8")
    yield page.partition("**Answer.**")[2].partition("**Run it.**")[0]
    for name in ("README.md", "studies/README.md"):
        yield from re.findall(rf"^\| \[{study}\].*$", (ROOT / name).read_text(encoding="utf-8"), re.M)


def unsupported(text: str, tables: str) -> list[str]:
    """The decimal numbers and intervals of a text of which no number or interval in the tables is a more exact one."""
    known = [value(number) for number in re.findall(NUMBER, tables)]
    intervals = [tuple(map(value, found)) for found in re.findall(INTERVAL, tables)]
    intervals += [(centre, high, low) for centre, low, high in intervals]  # of the difference the other way round
    missing = [
        " ".join(found)
        for found in re.findall(INTERVAL, text)
        if not any(all(map(rounds_to, exact, found)) for exact in intervals)
    ]
    single = re.findall(r"(?<![\w.,])-?\d+\.\d+(?![\w.]\d)", re.sub(INTERVAL, "", text))
    return missing + [number for number in single if not any(rounds_to(exact, number) for exact in known)]


INTERVAL = rf"({NUMBER}) ?\[({NUMBER}), ({NUMBER})\]"


def value(number: str) -> float:
    return float(number.replace(",", ""))


def rounds_to(exact: float, number: str) -> bool:
    """Whether a number is an exact one rounded, whatever its sign: a text may say by how much something is lower."""
    decimals = len(number.partition(".")[2])
    return abs(abs(exact) - abs(value(number))) <= 0.5 * 10.0**-decimals * (1 + 1e-6)


@pytest.mark.parametrize("study", STUDIES)
def test_a_studys_tables_are_rows_of_those_committed_with_it(study: str) -> None:
    page = (ROOT / "studies" / study / "README.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\|.*\|$", page, re.M)
    assert len(rows) >= 3
    assert [row for row in rows if row not in tables_of(study)] == []


@pytest.mark.parametrize("study", STUDIES)
def test_a_number_in_a_studys_answer_is_one_of_its_tables(study: str) -> None:
    tables, texts = tables_of(study), list(answers(study))
    assert len(texts) == 3
    assert texts[0].strip()
    assert [number for text in texts for number in unsupported(text, tables)] == []


def test_a_number_in_the_front_pages_answer_is_one_of_the_tables_that_it_names() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8").partition("## The answer")[2].partition("## The studies")[0]
    lab = committed("results/lab/answer.md")
    tables = "\n".join([lab, tables_of("lab_revisited"), tables_of("learning_rate")])
    assert text
    assert unsupported(text, tables) == []


def test_a_number_in_the_overview_of_all_studies_is_one_of_their_tables() -> None:
    text = (ROOT / "studies" / "README.md").read_text(encoding="utf-8").partition("## The studies")[0]
    tables = "\n".join([committed("studies/results/summary.md"), *map(tables_of, STUDIES)])
    assert text
    assert unsupported(text, tables) == []


def test_a_number_that_no_table_has_is_found() -> None:
    tables = "| 0.0188 [0.0140, 0.0236] | 0.9427 | 1,000 |"
    assert unsupported("by 0.019 [0.014, 0.024], 0.94 after 1,000 steps, -0.0188 [-0.0236, -0.0140]", tables) == []
    assert unsupported("by 0.019 [0.014, 0.025] to 0.95", tables) == ["0.019 0.014 0.025", "0.95"]
