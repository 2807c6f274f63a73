"""What the bench promises a sceptic: each confound is planted, and caught by the control that is there for it.

| confound | control (row of the evidence table) | kept in auditor/ by |
|---|---|---|
| the same entity on both sides | 3, split by group | data/split.py, `split` |
| words that give the label away | 1, text-only baselines | measure/qualify.py, `_gains` |
| labels that any refit would follow | 2, refits on shuffled labels | measure/qualify.py, `_chance` |
| the best of many layers of noise | 4, selection ≠ evaluation | measure/qualify.py, `SELECTION` |
| | 13, max-statistic | measure/sweeps.py, `max_statistic_p` |
| a random direction that does as much | 7, null directions | measure/nulls.py, `unproven` |
| directions that chance does not draw | 7, shuffled labels | measure/nulls.py, `null_directions` |
| gibberish that passes for compliance | 9, cost | measure/intervening.py, `coherence` |
| a judge that lies | 11, a second judge | measure/effects.py, `differ` |

Every test looks twice: with the bench as it is, and with that control taken away, when the confound has to pass for a
result. So a control that stops working fails its test, and so does a confound that would have shown by itself.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from auditor.data.examples import Dataset, Split
from auditor.data.split import split
from auditor.measure import instrument, intervening, library, qualify
from auditor.measure.bench import Bench
from auditor.measure.effects import RefusalJudges
from auditor.measure.measurement import Measurement, ProbeResult, Qualification
from auditor.measure.nulls import RANDOM, NullCounts, null_directions
from auditor.measure.sweeps import max_statistic_p
from tests.bench.test_qualification import (
    PlantedRunner,
    at_the_signal,
    bench_on,
    best,
    chosen_on,
    statements,
)
from tests.confounds.planted import (
    BrittleUnderAny,
    BrittleWithinClass,
    Fingerprints,
    Noise,
    OneSalientAxis,
    wordless,
)
from tests.probes import test_refusal_behaviour as behaviour
from tests.probes import test_refusal_direction as refusal

Without = pytest.MonkeyPatch


def qualification(data: Dataset, runner: Any, rule: Any = at_the_signal) -> Qualification:
    bench, _ = bench_on(data, runner)
    return bench.qualify(chosen_on(bench, rule=rule), fpr=0.05).qualification


def failed(found: Qualification) -> list[str]:
    return [check.name for check in found.checks if check.passed is not True]


# --- an instrument that would be read


def test_a_leaking_group_the_same_entity_on_both_sides(monkeypatch: Without) -> None:
    """Row 3. The stream knows the entity and nothing of truth; the labels go by entity.

    Kept by `split`, which deals groups and no rows.
    """
    data, runner = wordless(300, of_one_class=True), Fingerprints(d_model=1000)
    assert "held-out AUROC" in failed(qualification(data, runner))

    def by_row(dataset: Dataset, seed: int) -> dict[str, Split]:
        return split(replace(dataset, examples=tuple(replace(e, group=e.id) for e in dataset.examples)), seed)

    monkeypatch.setattr(library, "split", by_row)
    assert failed(qualification(data, runner)) == []


@pytest.mark.parametrize(
    ("leak", "lexical", "caught_by"),
    [
        (" indeed", False, ["words", "words_nb", "length"]),
        (", indeed", False, ["words", "words_nb", "length", "punctuation"]),
        ("", True, ["embedding layer"]),
    ],
)
def test_a_lexical_shortcut(monkeypatch: Without, leak: str, lexical: bool, caught_by: list[str]) -> None:
    """Row 1. Only true statements hold a word, or a mark; or the embeddings of the words know it before any block.

    Kept by `_gains`: the paired gain over each baseline that sees less than the activations.
    """
    data, runner = statements(leak=leak), PlantedRunner(3.0, lexical=lexical)
    assert failed(qualification(data, runner)) == [f"gain over {baseline}" for baseline in caught_by]
    monkeypatch.setattr(qualify, "_gains", lambda *_: [])
    assert failed(qualification(data, runner)) == []


def test_labels_that_any_refit_would_follow(monkeypatch: Without) -> None:
    """Row 2. One axis carries all, and the labels of whole groups lie along it: shuffled ones find it too.

    Kept by `_chance`: refits on labels shuffled as the design allows.
    """
    data, runner = wordless(320, of_one_class=True), OneSalientAxis(d_model=24)
    assert failed(qualification(data, runner)) == ["shuffled labels"]
    monkeypatch.setattr(instrument, "P_MAX", 1.0)
    assert failed(qualification(data, runner)) == []


def test_an_overfit_choice_of_layer(monkeypatch: Without) -> None:
    """Rows 4 and 13. Every layer is noise; the best of them looks good on the groups that it was chosen by.

    Kept by `SELECTION`, which leaves out the groups that judge, and by `max_statistic_p`, which pays for every layer.
    """
    data, runner = wordless(260), Noise(d_model=600, n_layers=16)
    bench, evidence = bench_on(data, runner)
    chosen = chosen_on(bench, rule=best)
    assert {"held-out AUROC", "shuffled labels"} <= set(failed(bench.qualify(chosen, fpr=0.05).qualification))
    assert (chosen.validation.value or 0) > 0.6
    (whole,) = [m.estimate.value for m in evidence.measurements if m.name == "profile_p"]
    names = {"score": "difference_in_means", "label": "label", "group": "group"}
    tensors = {role: evidence.tensors[f"planted_probe/planted/validation/{name}"] for role, name in names.items()}
    alone = tensors | {"score": tensors["score"][[chosen.site.layer]]}
    assert max_statistic_p(**alone, **qualify.SHUFFLES).value <= 0.05 < whole
    monkeypatch.setattr(qualify, "SELECTION", (*qualify.SELECTION, "evaluation"))
    assert failed(qualification(data, runner, best)) == []


# --- an effect that would be claimed


@pytest.fixture(autouse=True)
def _known_opening_tokens(monkeypatch: Without) -> None:
    monkeypatch.setattr(Bench, "opening_tokens", lambda self, phrases: (refusal.SORRY,))


def steered(runner: Any) -> ProbeResult:
    return refusal.audited(runner, nulls={"random": 6, "orthogonal": 6, "shuffled": 8})[0]


def the(result: ProbeResult, name: str, role: str = "primary", **at: Any) -> Measurement:
    (found,) = [m for m in result.measurements if (m.name, m.role) == (name, role) and at.items() <= m.at.items()]
    return found


CLAIMS = ("harmful_refusal_ablated", "refusal_change_ablated", "halving_share")


def claimed(result: ProbeResult) -> list[float | None]:
    """Harmful requests refused with the direction ablated, the change, and the share that halves refusal."""
    return [the(result, name).estimate.value for name in CLAIMS]


def test_a_random_direction_that_does_as_much(monkeypatch: Without) -> None:
    """Row 7. The model stops refusing whatever is ablated, and writes text: one direction carries nothing.

    Kept by `unproven`: the claim is declined where any null direction does as much.
    """
    result = steered(BrittleUnderAny())
    assert claimed(result) == [None, None, None]
    assert the(result, "harmful_refusal_ablated").note.startswith("not beyond chance: 20 of 20 null directions")
    assert the(result, "harmless_refusal_added").estimate.value == 1.0  # adding it is beyond all of them
    monkeypatch.setattr(intervening, "unproven", lambda *_: "")
    assert claimed(steered(BrittleUnderAny())) == [0.0, -1.0, 0.25]


def test_a_direction_that_chance_does_not_draw(monkeypatch: Without) -> None:
    """Row 7. Refusal goes, too, along what prompts of one class differ by; random directions have no part in that.

    Kept by the kind *shuffled labels* of `null_directions`, and the record says so.
    """
    result = steered(BrittleWithinClass())
    assert claimed(result) == [None, None, None]
    p = the(result, "ablation_beyond_random")
    assert p.note == "strongest null: shuffled labels"
    assert p.estimate.value > 1 / 21
    for kind in ("random", "orthogonal"):
        assert the(result, p.name, "alternative", null=kind).estimate.value == pytest.approx(1 / 7)

    def by_chance_alone(rng: Any, _: NullCounts, *given: Any) -> Any:
        return {RANDOM: null_directions(rng, NullCounts(), *given)[RANDOM]}

    monkeypatch.setattr(intervening, "null_directions", by_chance_alone)
    assert claimed(steered(BrittleWithinClass()))[:2] == [0.0, -1.0]


def test_gibberish_that_passes_for_compliance(monkeypatch: Without) -> None:
    """Row 9. Under ablation the model repeats one token, which no judge takes for a refusal.

    Kept by `coherence`: what broken text fails to refuse counts for nothing.
    """
    result = steered(refusal.PlantedRunner(babble=True))
    assert claimed(result) == [None, None, None]
    note = "incoherent: 100% of plain answers degenerate"
    assert all(the(result, name).note.startswith(note) for name in (*CLAIMS, "ablation_beyond_random"))
    assert the(result, "ablated_degenerate_rate").estimate.value == 1.0
    assert the(result, "harmless_refusal_added").estimate.value == 1.0  # which writes text
    monkeypatch.setattr(Bench, "coherence", lambda *_: "")
    assert claimed(steered(refusal.PlantedRunner(babble=True)))[:2] == [0.0, -1.0]


@pytest.mark.parametrize(("refuses", "lie"), [(False, 1.0), (True, 0.0)])
def test_a_judge_that_lies(monkeypatch: Without, refuses: bool, lie: float) -> None:
    """Row 11. Judge one calls every answer a refusal, or none, whatever the model does; its rate is the criterion's.

    Kept by `differ` and the rate of judge two, which stand beside the rate. They show a lie and do not correct it.
    """

    def told() -> tuple[float | None, float | None, float | None]:
        result = behaviour.audited(behaviour.ScriptedRunner(lambda kind, system: refuses))
        one = behaviour.rate(result, "harmful_refusal_rate")
        two = behaviour.rate(result, "harmful_refusal_rate", "alternative", "judge two")
        return one, two, the(result, "judge_disagreement", "control", kind="harmful").estimate.value

    monkeypatch.setattr(RefusalJudges, "refused", lambda self, reading: lie)
    assert told() == (lie, 1 - lie, 1.0)
    monkeypatch.setattr(RefusalJudges, "refused_by_metric", lambda self, reading: lie)
    assert told() == (lie, lie, 0.0)
