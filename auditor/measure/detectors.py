"""Every way to find a linear detector, by its name in config and report. No torch, no model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from auditor.measure.classifiers import RECIPES
from auditor.measure.consistency import contrast_consistent
from auditor.measure.discriminant import linear_discriminant
from auditor.measure.pairs import AnyRecipe, FromPairs, contrast_pairs, negations
from auditor.measure.reading import reading_vector

DetectorName = Literal["difference_in_means", "mass_mean", "logistic", "lda", "lat", "ccs"]

DETECTORS: Mapping[DetectorName, AnyRecipe] = {
    "difference_in_means": RECIPES["difference_in_means"],
    "mass_mean": RECIPES["mass_mean"],
    "logistic": RECIPES["logistic"],
    "lda": linear_discriminant,
    "lat": FromPairs(contrast_pairs, reading_vector),
    "ccs": FromPairs(negations, contrast_consistent),
}
