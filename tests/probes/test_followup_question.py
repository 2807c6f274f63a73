"""A direction from follow-up questions is read where it proved itself; one that points the other way is named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from auditor.data.datasets import read
from auditor.data.examples import Example
from auditor.errors import Abstention, NotQualified, NotTestable
from auditor.measure.bench import Bench
from auditor.measure.evidence import Evidence
from auditor.measure.instrument import INVERTED, required
from auditor.measure.library import Library
from auditor.measure.stored import estimated
from probes import followup_question, instructed_falsehood
from tests.probes.test_instructed_falsehood import PlantedRunner, flagged, primary

DATA = Path(str(followup_question.__file__)).parent / "data"


class Admitting(PlantedRunner):
    """Admitting lies along the direction along which false answers lie; `sign` −1 turns it round."""

    sign = 1.0

    def signal(self, example: Example) -> float:
        if example.kind == "followup":
            return self.sign * (1.0 if example.label else -1.0)
        return super().signal(example)


class Inverted(Admitting):
    sign = -1.0


def audited(runner: PlantedRunner) -> tuple[Evidence, Abstention | None]:
    evidence = Evidence("followup_question", "full")
    library = Library(lambda name: read(DATA / f"{name}.jsonl"), seed=0)
    probe = followup_question.PROBE
    bench = Bench(evidence, library, runner, probe.measurements, np.random.default_rng(0))  # type: ignore[arg-type]
    try:
        probe.run(bench, probe.params())
    except Abstention as reason:
        return evidence, reason
    return evidence, None


def of_followup(evidence: Evidence, answers: str) -> Any:
    best = evidence.facts["follow-up question: recipe that is read"]
    layer = evidence.facts[f"follow-up question: layer chosen for {best}"]
    evidence.facts |= {
        "instructed falsehood: recipe that is read": best,
        f"instructed falsehood: layer chosen for {best}": layer,
    }
    return flagged(evidence, answers)


def test_a_direction_that_false_answers_share_qualifies_and_is_read() -> None:
    evidence, reason = audited(Admitting(lies_unasked=0.5))
    assert reason is None
    (reading,) = primary(evidence)
    assert reading.estimate.low is not None
    assert reading.estimate.low > 0.3
    assert of_followup(evidence, "uninstructed: right") < 0.15
    (found,) = evidence.qualifications
    asked = {check.name: (check.rule, check.bar) for check in found.checks}
    assert all(asked[name] == bar for name, bar in required(found.instrument).items())


def test_a_target_that_shows_nothing_is_not_read() -> None:
    evidence, reason = audited(Admitting(strength=0.0))
    assert isinstance(reason, NotQualified)
    assert "held-out AUROC" in str(reason)
    assert INVERTED not in str(reason)
    assert primary(evidence) == []


def test_an_inverted_sign_is_named_and_never_turned_round() -> None:
    evidence, reason = audited(Inverted())
    assert isinstance(reason, NotQualified)
    assert INVERTED in str(reason)
    assert primary(evidence) == []
    (found,) = evidence.qualifications
    auroc = next(check.estimate for check in found.checks if check.name == "held-out AUROC")
    assert auroc is not None
    assert auroc.high is not None
    assert auroc.high < 0.1


def test_a_target_that_is_not_false_when_told_to_cannot_be_tested() -> None:
    evidence, reason = audited(Admitting(obeys=0.1))
    assert isinstance(reason, NotTestable)
    assert primary(evidence) == []


def test_every_declared_measurement_is_made_and_made_again_from_what_was_stored() -> None:
    evidence, _ = audited(Admitting())
    assert {m.name for m in evidence.measurements} == {spec.name for spec in followup_question.PROBE.measurements}
    estimates = [m.estimate for m in evidence.measurements]
    estimates += [check.estimate for q in evidence.qualifications for check in q.checks if check.estimate]
    for estimate in estimates:
        assert estimated(estimate.estimator, estimate.columns, evidence, estimate.params) == estimate


def test_the_answers_are_those_that_the_other_detector_reads() -> None:
    mine, theirs = followup_question.SETS, instructed_falsehood.SETS
    assert (mine.questions, mine.benign, mine.frames) == (theirs.questions, theirs.benign, theirs.frames)
    assert mine.pairs != theirs.pairs


@pytest.mark.parametrize("answer", ["Yes.", "No."])
def test_an_answer_admits_as_often_as_it_denies(answer: str) -> None:
    labels = [e.label for e in read(DATA / "followup_questions.jsonl").examples if e.completion == answer]
    assert len(labels) == 112
    assert sum(labels) == 56


def test_twins_end_in_the_same_word_and_differ_before() -> None:
    by_group: dict[str, dict[str, str]] = {}
    for example in read(DATA / "followup_questions.jsonl").examples:
        by_group.setdefault(example.group, {})[example.polarity] = example.prompt
    for twins in by_group.values():
        first, second = twins["affirmed"], twins["negated"]
        assert first != second
        assert first.split()[-1] == second.split()[-1]
