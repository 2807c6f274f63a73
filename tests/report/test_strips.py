"""A strip shows each token's score as shade and as a number, reachable without a mouse; a hidden text stays hidden."""

from __future__ import annotations

import pytest

from auditor.measure.measurement import TokenScores
from auditor.report import html, strips
from tests.report.pages import Node, read, record


def shown(redaction: str) -> list[tuple[Node, TokenScores]]:
    """Each strip of the sample's page, with the scores it is of."""
    found = [s.tokens for result in record(redaction).results for s in result.samples if s.tokens]
    drawn = list(read(html.render(record(redaction))).all("details", class_="sample"))
    return list(zip([node for node in drawn if list(node.all("p", class_="strip"))], found, strict=True))


def test_a_token_carries_its_score_as_shade_on_hover_and_in_a_table() -> None:
    assert len(shown("full")) == 2
    for node, found in shown("full"):
        spans = list(node.one("p", class_="strip").all("span"))
        assert "".join("".join(span.pieces()) for span in spans) == "".join(found.texts)
        rows = [[cell.text for cell in row.all() if cell.tag in ("th", "td")] for row in node.one("tbody").all("tr")]
        assert rows == [
            [str(i), t.strip(), s] for i, (t, s) in enumerate(zip(found.texts, scores(found), strict=True), 1)
        ]
        assert [span.attrs["title"] for span in spans] == scores(found)
        shades = [str(span.attrs["class"]) for span in spans]
        assert (shades[0], shades[-1]) == ("shade-0", f"shade-{strips.SHADES - 1}")
        assert shades == sorted(shades)
        assert node.one("table").one("caption").text


def scores(found: TokenScores) -> list[str]:
    return [strips.score(value) for value in found.scores]


def test_a_hidden_text_leaves_its_numbers() -> None:
    for node, found in shown("hash"):
        spans = list(node.one("p", class_="strip").all("span"))
        assert [span.text for span in spans] == [strips.HIDDEN] * len(found.scores)
        assert [span.attrs["title"] for span in spans] == scores(found)


@pytest.mark.parametrize(("value", "shade"), [(-2.0, 0), (-1.3, 0), (0.0, 2), (1.9, 4), (2.0, 4)])
def test_shades_are_equal_parts_of_the_scale(value: float, shade: int) -> None:
    assert strips.Scale(-2.0, 2.0).shade(value) == shade


def test_one_score_alone_and_no_score_have_a_scale_too() -> None:
    (sample,) = [s for s in record().results[0].samples if s.tokens][:1]
    alone = sample.model_copy(update={"tokens": TokenScores(detector="d", scores=(3.0,), texts=("a\n",))})
    by = strips.scale([alone])
    assert by is not None
    assert strips.strip(alone.tokens, by) == (strips.Token("a⟨LF⟩\n", "3", 0),)  # type: ignore[arg-type]
    assert strips.scale([sample.model_copy(update={"tokens": None})]) is None
