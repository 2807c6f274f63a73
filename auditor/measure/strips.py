"""Token strips: a few answers of the target on record token by token, with what a monitor makes of each. No torch.

The mean over the tokens of an answer is its score, up to the rounding of the target's numeric type: they are read
again, in a batch of their own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from auditor.arrays import copied
from auditor.data.examples import Example
from auditor.measure.directions import LinearDetector
from auditor.measure.library import View
from auditor.measure.measurement import TokenScores
from auditor.measure.monitor import ANSWER
from auditor.measure.qualify import Workbench
from auditor.model.prompts import pieces, render
from auditor.model.sites import Site


def token_scores(
    bench: Workbench, detector: LinearDetector, site: Site, view: View, examples: Sequence[Example], *, column: str
) -> Iterator[TokenScores]:
    """The scores of each answer's tokens, as they are kept in the answer's row.

    `column`: where the answers' own scores stand in the item table.
    """
    target = bench.runner.target
    rows, of = bench.runner.token_activations(examples, (site,), ANSWER)
    scores = detector.score(copied(rows[:, 0]))
    for i, example in enumerate(examples):
        texts = pieces(target, render(target, example))
        found = TokenScores(detector=column, scores=tuple(map(float, scores[of == i])), texts=texts)
        yield bench.evidence.store_tokens((view.data, example.id), found)
