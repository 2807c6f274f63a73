"""A distractor: does a detector that is found without labels find a word that has nothing to do with them instead?

Whatever divides the pairs most plainly satisfies a search by consistency as well as truth does. Source: Farquhar et
al. 2023, arXiv:2312.10029, where one of two random words was put into each prompt, and the search told these apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from auditor.data.examples import Example
from auditor.measure import instrument as checks
from auditor.measure.instrument import Candidate
from auditor.measure.library import SELECTION
from auditor.measure.measurement import Check
from auditor.measure.pairs import FromPairs

if TYPE_CHECKING:
    from auditor.measure.qualify import Workbench

WORDS = ("Banana", "Shed")
"""the words of the source"""
WORD_TOKENS = 3
"""of a word with its full stop, about"""


def begun(examples: Sequence[Example], seed: int) -> tuple[list[Example], NDArray[np.bool_]]:
    """The texts behind one of two words, and whether it is the first [n]; the words are dealt to groups by half.

    A group has one word, so that a word tells nothing of labels, and both texts of a pair have the same.
    """
    groups = sorted({example.group for example in examples})
    dealt = np.random.default_rng(seed).permutation(np.arange(len(groups)) % 2 == 0)
    first = dict(zip(groups, dealt.tolist(), strict=True))
    is_first = np.array([first[example.group] for example in examples], dtype=bool)
    texts = [
        replace(example, prompt=f"{WORDS[0] if one else WORDS[1]}. {example.prompt}".strip())
        for example, one in zip(examples, is_first, strict=True)
    ]
    return texts, is_first


def distracted(bench: Workbench, recipe: FromPairs, chosen: Candidate) -> Check:
    """Refit to the selection split with the words before its texts, and try that on the evaluation split so changed.

    It is still to tell what is labelled. How well it tells the words is noted: of each pair the score of the first
    text minus that of the second, so .5 is no trace, and 0 and 1 are alike, because the words have no order.
    """
    name, view = chosen.recipe, chosen.view
    train = bench.library.examples(view, SELECTION)
    held = bench.library.examples(view, ("evaluation",))
    (to_fit, _), (to_try, is_first) = (begun(examples, bench.library.seed) for examples in (train, held))
    read = [bench.runner.activations(texts, (chosen.site,), chosen.position)[:, 0] for texts in (to_fit, to_try)]
    scores = bench.fitted(recipe, to_fit, np.array(read[0])).score(read[1])
    beside = bench.store_scores(view, held, f"{name} beside a distractor", scores)
    twos = recipe.pair(held)
    of_pairs = [held[row] for row in twos[:, 0]]
    differences = scores[twos[:, 0]] - scores[twos[:, 1]]
    apart = bench.store_scores(view, of_pairs, f"{name} beside a distractor, apart", differences)
    label = bench.store_scores(view, of_pairs, f"begins with {WORDS[0]} ({name})", is_first[twos[:, 0]].astype(float))
    return checks.check_distracted(bench.auroc(view, beside), bench.auroc(view, apart, label=label))
