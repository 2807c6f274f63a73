"""A planted direction is found and beats the nulls; without one the numbers say so; cost and choices are read."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from auditor.data.datasets import read
from auditor.data.examples import Dataset, Example
from auditor.errors import NotTestable
from auditor.measure.bench import Bench
from auditor.measure.evidence import Evidence
from auditor.measure.intervals import Estimate
from auditor.measure.library import Library, View
from auditor.measure.nulls import NullCounts
from auditor.measure.options import Item, items_of, questions
from auditor.measure.runner import Answered, Asked, Reading
from auditor.measure.stored import estimated
from auditor.model.sites import Site
from auditor.model.target import TargetModel
from probes import steering_response
from probes.steering_response import SHIFT, SYCOPHANCY, TRAITS, Params, largest_effect
from tests.tiny import tiny_target

DATA = Path(str(steering_response.__file__)).parent / "data"
SENTIMENT = "trait_sentiment"
LAYER, AXIS, D_MODEL = 1, 3, 32
SMALL: dict[str, Any] = {
    "traits": (SENTIMENT,),
    "n_items": 12,
    "n_choices": 0,
    "nulls": {"random": 6, "orthogonal": 6, "shuffled": 8},
    "layer_step": 1,
    "n_neutral": 4,
    "n_texts": 2,
    "max_new_tokens": 4,
}


@cache
def shipped(name: str) -> Dataset:
    return read(DATA / f"{name}.jsonl")


def number(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big")


@dataclass
class PlantedRunner:
    """A model in which one axis at one layer holds the trait and moves the answer; nothing else does either."""

    signal: float = 2.0
    """distance of the class means along the axis"""
    gain: Callable[[Example], float] = lambda example: 1.0
    """by how much the axis moves the answer to an item"""
    base: Callable[[Example, bool], float] = lambda example, trait_first: 0.0
    """lean to the trait's option without any edit, of an item in one order"""
    asked: list[list[Asked]] = field(default_factory=list)
    fitted: list[list[Example]] = field(default_factory=list)

    def __post_init__(self) -> None:
        target = tiny_target("llama")
        self.target: TargetModel = replace(target, max_tokens=None)
        self.tokens: dict[str, tuple[Item, Any]] = {}

    def activations(self, examples, sites, position, *, mean=False):
        assert (position, mean) == ("completion_tokens", True)
        self.fitted.append(list(examples))
        values = np.stack([self._activation(example, sites) for example in examples])
        return values.astype(np.float32)

    def _activation(self, example, sites):
        found = 0.01 * np.random.default_rng(number(example.id)).normal(size=(len(sites), D_MODEL))
        for i, site in enumerate(sites):
            if site == Site(LAYER, "resid_post"):
                # what the text says, whatever label it was given
                found[i, AXIS] += self.signal * (0.5 if example.id.endswith(("-good", "-agrees")) else -0.5)
        return found

    def ask(self, asked, effects, *, max_new_tokens=0, beside_unedited=False, what=""):
        self.asked.append(list(asked))
        return [self._answer(one, effects, max_new_tokens, beside_unedited) for one in asked]

    def _answer(self, one, effects, max_new_tokens, beside_unedited):
        push = sum(float(e.added * e.vector[AXIS]) for e in one.edits if Site(LAYER, "resid_post") in e.sites)
        plain, edited = np.zeros(320, np.float32), np.zeros(320, np.float32)
        if one.prefilled:
            question = self._question(one.example)
            shows = 1.0 if one.example.id.endswith(("-good", "-agrees")) else -1.0
            lean = self.base(one.example, question.trait_first) + shows * self.gain(one.example) * push
            edited[question.trait_token], edited[question.other_token] = lean / 2, -lean / 2
        else:
            edited[5] = push
        broken = bool(one.edits) and abs(one.edits[0].coefficient) > 1
        tokens = (7,) * 48 if broken else tuple(range(48))
        reading = Reading(
            one.example.prompt, "text", tokens[: 12 * max_new_tokens], edited, plain if beside_unedited else None
        )
        return Answered("text" if max_new_tokens else "", {name: effect(reading) for name, effect in effects.items()})

    def _question(self, example):
        if example.prompt not in self.tokens:
            item = next(i for i in _items(example.kind) if example.id in (i.trait.id, i.other.id))
            if item.trait.id != example.id:
                item = Item(replace(item.other, label=True), replace(item.trait, label=False))
            for question in questions(self.target, item):
                self.tokens[question.example.prompt] = item, question
        return self.tokens[example.prompt][1]


@cache
def _items(kind: str) -> tuple[Item, ...]:
    return items_of(shipped(SYCOPHANCY if kind == "letters" else SENTIMENT).examples)


def bench_on(runner: Any, change: Callable[[Dataset], Dataset] = lambda data: data) -> tuple[Bench, Evidence]:
    evidence = Evidence("steering_response", "excerpt")
    library = Library(lambda name: change(shipped(name)), seed=0)
    specs = steering_response.PROBE.measurements
    return Bench(evidence, library, runner, specs, np.random.default_rng(0)), evidence


def audited(runner: Any, change: Callable[[Dataset], Dataset] = lambda data: data, **params: Any) -> Evidence:
    bench, evidence = bench_on(runner, change)
    steering_response.run(bench, Params(**(SMALL | params)))
    return evidence


def found(evidence: Evidence, name: str, role: str = "primary", **at: Any) -> Estimate:
    (one,) = [m for m in evidence.measurements if (m.name, m.role) == (name, role) and at.items() <= m.at.items()]
    return one.estimate


@pytest.fixture(scope="module")
def planted() -> tuple[PlantedRunner, Evidence]:
    runner = PlantedRunner()
    return runner, audited(runner)


def test_a_planted_direction_is_found_at_its_layer(planted: tuple[PlantedRunner, Evidence]) -> None:
    _, evidence = planted
    vector = evidence.directions[f"steering_response/{SENTIMENT}/layer {LAYER}"]
    assert vector[AXIS] > 0.99
    assert evidence.facts[f"{SENTIMENT}: layer"] == LAYER
    assert evidence.charts[0].series[0].chosen == LAYER
    assert found(evidence, "validation_effect", "alternative", layer=0).value == pytest.approx(0, abs=0.1)
    assert found(evidence, "validation_effect", "alternative", layer=LAYER).value == pytest.approx(4, abs=0.05)


def test_it_moves_every_item_as_far_as_it_was_planted_and_beats_every_null_direction(
    planted: tuple[PlantedRunner, Evidence],
) -> None:
    _, evidence = planted
    slope = found(evidence, "steering_slope")
    assert slope.value == pytest.approx(2, abs=0.02)
    assert slope.n == 12
    assert found(evidence, "anti_steerable_share").value == 0
    assert found(evidence, "steering_p").value == pytest.approx(1 / 21)
    margin = found(evidence, "steering_margin")
    strongest = found(evidence, "steering_slope", "null").value
    assert margin.low > 0
    assert strongest > 0
    assert margin.value == pytest.approx(2 * (slope.value - strongest), abs=0.01)


def test_the_dose_response_goes_through_every_coefficient_for_both_arms(
    planted: tuple[PlantedRunner, Evidence],
) -> None:
    _, evidence = planted
    profile, response, choices = evidence.charts
    assert response.x == choices.x == (-2, -1, 0, 1, 2)
    direction, strongest = response.series
    assert direction.y == pytest.approx((-4, -2, 0, 2, 4), abs=0.05)
    assert strongest.y[-1] > strongest.y[0]
    assert choices.series[0].y == (0, 0, 0.5, 1, 1)
    assert choices.series[0].high[0] > 0.1  # none of 12 is not never
    assert profile.measurement == "validation_effect"


def test_the_cost_and_the_broken_texts_are_those_that_were_planted(planted: tuple[PlantedRunner, Evidence]) -> None:
    _, evidence = planted
    logits = np.zeros(320)
    logits[5] = 2.0
    planted_kl = np.log(np.exp(logits).sum()) - np.log(320) - 2 / 320
    assert found(evidence, "steering_kl", "control", coefficient=1.0).value == pytest.approx(planted_kl, rel=0.05)
    assert found(evidence, "steering_kl", "null", coefficient=1.0).value < planted_kl
    rates = [found(evidence, "steered_degenerate_rate", "control", coefficient=c).value for c in (-2.0, 0.0, 1.0, 2.0)]
    assert rates == [1, 0, 0, 1]


def test_every_question_comes_in_both_orders_and_only_validation_items_choose(
    planted: tuple[PlantedRunner, Evidence],
) -> None:
    runner, _ = planted
    library = Library(shipped, seed=0)
    split = {e.id: library.split_of(View(SENTIMENT), e) for e in library.examples(View(SENTIMENT), ("fit",))}
    for part in ("validation", "threshold", "evaluation"):
        split |= {e.id: part for e in library.examples(View(SENTIMENT), (part,))}
    first, *refits = ({split[e.id] for e in texts} for texts in runner.fitted)
    assert first == {"fit"}
    assert all(refit == {"fit", "validation"} for refit in refits)
    steered = [asked for asked in runner.asked if asked[0].prefilled]
    assert {split[one.example.id] for one in steered[0]} == {"validation"}
    assert {split[one.example.id] for asked in steered[1:] for one in asked} == {"evaluation"}
    prompts = [one.example.prompt for one in steered[0] if one.edits == steered[0][0].edits]
    assert len(prompts) == len(set(prompts)) == 2 * 12
    assert {one.example.kind for asked in runner.asked for one in asked if not one.prefilled} == {"plain"}


def test_null_directions_have_the_same_norm_and_site(planted: tuple[PlantedRunner, Evidence]) -> None:
    runner, _ = planted
    edits = {edit for asked in runner.asked for one in asked for edit in one.edits if edit.sites[0].layer == LAYER}
    judged = {e for e in edits if abs(e.coefficient) == 1}
    # three of them: the direction on the fit groups, and refitted on all of the selection split
    assert len({e.vector.tobytes() for e in judged}) == 20 + 2 + 1 - (len({e.vector.tobytes() for e in judged}) == 22)
    main = {e.norm for e in judged}
    assert len(main) == 2
    assert max(main) - min(main) < 0.1


def test_samples_show_random_items_as_they_are_on_record(planted: tuple[PlantedRunner, Evidence]) -> None:
    _, evidence = planted
    assert len({sample.id for sample in evidence.samples}) == 5
    for sample in evidence.samples:
        row = evidence.known(SENTIMENT, sample.id)
        assert sample.values["slope"] == row["values"]["slope"]
        assert sample.answer == row["answers"]["option ahead at +1"]
        assert sample.prompt.endswith(sample.answer)  # the item's own option, which +1 puts ahead
        assert not sample.prompt.endswith(row["answers"]["option ahead at -1"])


def test_every_estimate_can_be_made_again_from_what_was_stored(planted: tuple[PlantedRunner, Evidence]) -> None:
    _, evidence = planted
    for m in evidence.measurements:
        again = estimated(m.estimate.estimator, m.estimate.columns, evidence, m.estimate.params)
        assert again == m.estimate, m.name


def test_the_same_seed_gives_the_same_numbers() -> None:
    first, second = (audited(PlantedRunner()).result("measured") for _ in range(2))
    assert first == second


def shuffled(data: Dataset) -> Dataset:
    """Which of the two options shows the trait is decided by chance."""
    turned = tuple(replace(e, label=e.label ^ bool(number(e.pair) % 2)) for e in data.examples)
    return data if data.name == "requests" else replace(data, examples=turned)


def test_with_shuffled_labels_no_direction_is_found() -> None:
    evidence = audited(PlantedRunner(), shuffled, n_items=60)
    assert found(evidence, "steering_margin").low <= 0
    assert found(evidence, "steering_margin").value < 0.5
    assert found(evidence, "steering_p").value > 0.05
    assert abs(found(evidence, "steering_slope", "alternative").value) < 0.5


def test_the_nulls_are_of_three_kinds_and_the_record_says_which_has_the_strongest() -> None:
    runner = PlantedRunner()
    evidence = audited(runner, nulls={"random": 20, "orthogonal": 5, "shuffled": 7})
    kinds = {"random": 20, "orthogonal": 5, "shuffled labels": 7}
    ps = [m for m in evidence.measurements if m.name == "steering_p"]
    assert {m.at.get("null", "all"): (m.estimate.n, m.estimate.value) for m in ps} == {
        kind: (n, pytest.approx(1 / (n + 1))) for kind, n in {**kinds, "all": 32}.items()
    }
    margins = {m.at.get("null", "all"): m for m in evidence.measurements if m.name == "steering_margin"}
    assert margins["all"].estimate.value == min(margins[kind].estimate.value for kind in kinds)
    # nothing but the axis moves an answer, and only a random direction has a part along it
    assert {m.note for m in (*ps, margins["all"]) if m.role == "primary"} == {"strongest null: random"}
    own = evidence.directions[f"steering_response/{SENTIMENT}/layer {LAYER}"]
    read_twice = [asked for asked in runner.asked if asked[0].prefilled][1:]
    tried = {e.vector.tobytes(): e for asked in read_twice for one in asked for e in one.edits}
    assert sum(abs(float(e.vector @ own)) < 1e-4 for e in tried.values()) == 5 + 7
    assert len({e.norm for e in tried.values()}) == 1


def not_claimed(evidence: Evidence) -> str:
    """Why the slope is not claimed."""
    (claim,) = [m for m in evidence.measurements if (m.name, m.role) == ("steering_slope", "primary")]
    assert claim.estimate.value is None
    return claim.note


def test_a_direction_that_moves_nothing_is_not_beyond_null_ones() -> None:
    evidence = audited(PlantedRunner(gain=lambda example: 0.0))
    assert not_claimed(evidence).startswith("not beyond chance: 20 of 20 null directions do as much")
    assert found(evidence, "steering_slope", "alternative").value == 0
    assert found(evidence, "anti_steerable_share").value == 0
    assert found(evidence, "steering_p").value == 1
    assert found(evidence, "steering_margin").value == 0


def test_a_direction_that_works_the_wrong_way_on_sealed_items_has_a_p_of_one_and_a_margin_below_zero() -> None:
    sealed = {e.id for e in Library(shipped, seed=0).examples(View(SENTIMENT), ("evaluation",))}
    evidence = audited(PlantedRunner(gain=lambda example: -1.0 if example.id in sealed else 1.0))
    assert evidence.facts[f"{SENTIMENT}: layer"] == LAYER
    assert not_claimed(evidence)
    assert found(evidence, "steering_slope", "alternative").high < 0
    assert found(evidence, "steering_slope", "null").value > 0
    assert found(evidence, "steering_p").value == 1
    assert found(evidence, "steering_margin").high < 0


def wrong_way(example: Example) -> bool:
    return number(example.pair) % 4 == 0


def test_items_that_the_direction_turns_the_wrong_way_are_counted() -> None:
    evidence = audited(PlantedRunner(gain=lambda example: -0.5 if wrong_way(example) else 1.0), n_items=60)
    rows = [row for row in evidence.rows("items/steering_response.jsonl") if "slope" in row["values"]]
    turned = sum(number(row["id"].rpartition("-")[0]) % 4 == 0 for row in rows)
    assert 0 < turned < len(rows)
    assert found(evidence, "anti_steerable_share").value == pytest.approx(turned / len(rows))


def test_a_model_without_a_difference_between_the_options_is_not_testable() -> None:
    class Flat(PlantedRunner):
        def activations(self, examples, sites, position, *, mean=False):
            return np.ones((len(examples), len(sites), D_MODEL), np.float32)

    with pytest.raises(NotTestable, match="make no difference inside the model"):
        audited(Flat())


def choices(base: Callable[[Example, bool], float]) -> Evidence:
    """The unsteered part alone: the steering after it is of no interest here."""
    bench, evidence = bench_on(PlantedRunner(base=base))
    bench.unsteered(bench.trait(View(SYCOPHANCY)), 64, SHIFT)
    return evidence


def states_first(example: Example) -> float:
    return 1.0 if example.polarity == "first" else -1.0


def own_opinion(example: Example) -> float:
    """The lean to agree of a model that has a view of its own on every subject."""
    return states_first(example) * (1.0 if number(example.group) % 2 else -1.0)


def test_a_model_that_always_agrees_shifts_by_one_and_one_with_its_own_view_not_at_all() -> None:
    agrees = found(choices(lambda example, _: 1.0), "sycophancy_shift")
    assert agrees.value == 1
    assert agrees.low < 1  # all of 32 is not always
    steady = found(choices(lambda example, _: own_opinion(example)), "sycophancy_shift")
    assert steady.value == 0
    assert steady.low < 0 < steady.high
    contrary = found(choices(lambda example, _: -1.0), "sycophancy_shift")
    assert contrary.value == -1


def test_the_shift_is_the_mean_over_both_sides_and_both_orders() -> None:
    def base(example: Example, trait_first: bool) -> float:
        agrees = number(example.group) % 4 == 0
        return 1.0 if agrees else own_opinion(example)

    evidence = choices(base)
    rows = [r for r in evidence.rows("items/steering_response.jsonl") if r["polarity"] == "first"]
    assert len(rows) == 32
    share = sum(number(row["group"]) % 4 == 0 for row in rows) / len(rows)
    shift = found(evidence, "sycophancy_shift")
    assert shift.value == pytest.approx(share)
    assert shift.low < share < shift.high
    assert shift.n == 32
    assert {bool(r["values"].get("first view chosen, user states it") is None) for r in rows} == {False}
    assert found(evidence, "trait_share").value == pytest.approx((1 + share) / 2)


def test_a_lean_to_the_letter_that_leaves_no_room_for_the_option_declines_the_shift() -> None:
    evidence = choices(lambda example, trait_first: 1.0 if trait_first else -1.0)
    (declined,) = [m for m in evidence.measurements if m.name == "sycophancy_shift"]
    assert declined.estimate.value is None
    assert "named first is ahead in 100% of the questions" in declined.note
    assert found(evidence, "first_option_share", "control").value == 1


def test_a_model_that_answers_by_the_letter_shows_no_shift_because_it_cannot_and_is_not_read() -> None:
    def base(example: Example, trait_first: bool) -> float:
        letter = 1.0 if number(example.group) % 2 else -1.0
        return letter if trait_first else -letter

    evidence = choices(base)
    (declined,) = [m for m in evidence.measurements if m.name == "sycophancy_shift"]
    assert 0.3 < found(evidence, "first_option_share", "control").value < 0.7
    assert found(evidence, "consistent_choice_share", "control").value == 0
    assert declined.estimate.value is None
    assert "both orders on 0% of the items" in declined.note


def test_a_lean_to_the_letter_within_bounds_cancels() -> None:
    def base(example: Example, trait_first: bool) -> float:
        leans = number(example.group) % 4 == 0
        return (1.0 if trait_first else -1.0) if leans else 1.0

    evidence = choices(base)
    bias = found(evidence, "first_option_share", "control").value
    assert 0.55 < bias < 0.7
    assert found(evidence, "sycophancy_shift").value == pytest.approx(1 - 2 * (bias - 0.5))


def test_the_user_takes_either_side_of_each_question_that_is_read_for_the_shift() -> None:
    runner = PlantedRunner()
    bench, _ = bench_on(runner)
    bench.unsteered(bench.trait(View(SYCOPHANCY)), 40, SHIFT)
    (asked,) = runner.asked
    seen = {(one.example.group, one.example.template, one.example.polarity) for one in asked}
    assert len(asked) == 80
    assert {(g, t, {"first": "second", "second": "first"}[p]) for g, t, p in seen} == seen


def test_each_trait_stands_alone_and_the_probe_abstains_where_none_can_be_asked() -> None:
    runner = PlantedRunner()
    runner.target = replace(runner.target, chat=replace(runner.target.chat, thinking="always on"))
    with pytest.raises(NotTestable, match="trait_sentiment: .*; trait_sycophancy: "):
        audited(runner, traits=(SENTIMENT, SYCOPHANCY))

    class OneTrait(PlantedRunner):
        def activations(self, examples, sites, position, *, mean=False):
            found = super().activations(examples, sites, position, mean=mean)
            return found if examples[0].kind == "words" else np.ones_like(found)

    evidence = audited(OneTrait(), traits=(SYCOPHANCY, SENTIMENT), n_choices=8)
    assert "no difference" in str(evidence.facts[f"{SYCOPHANCY}: not testable"])
    assert found(evidence, "steering_slope").value > 1
    assert [m.name for m in evidence.measurements].count("sycophancy_shift") == 1


def test_only_the_chosen_direction_goes_on_to_sealed_items_and_only_once() -> None:
    bench, _ = bench_on(PlantedRunner())
    trait = bench.trait(View(SENTIMENT))
    rows = trait.profile(steering_response.difference_in_means, point="resid_post", layers=(0, 1), n=8)
    direction = trait.choose(steering_response.difference_in_means, rows, largest_effect)
    with pytest.raises(ValueError, match="choose first"):
        bench.trait(View(SENTIMENT)).nulls(NullCounts())
    with pytest.raises(ValueError, match="was not chosen"):
        bench.dose(trait, replace(direction, norm=2 * direction.norm), (-2, -1, 0, 1, 2))
    dose = bench.dose(trait, direction, (-2, -1, 0, 1, 2))
    with pytest.raises(ValueError, match="respond first"):
        dose.cost(View("requests"), 4)
    nulls = trait.nulls(NullCounts(random=10, orthogonal=5, shuffled=5))
    dose.respond(8, nulls)
    with pytest.raises(ValueError, match="on record already"):
        dose.respond(8, nulls)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"coefficients": (-1, 0, 1)}, "at least five"),
        ({"coefficients": (0, 0.5, 1, 2, 3)}, "with -1, 0 and 1"),
        ({"coefficients": (-2, -1, 0, 1, 1, 2)}, "none is given twice"),
        ({"coefficients": (2, 1, 0, -1, -2)}, "ascend"),
        ({"nulls": {"random": 9, "orthogonal": 5, "shuffled": 5}}, "19 null directions are too few; at least 20"),
        ({"nulls": {"shuffled": 4}}, "greater than or equal to 5"),
        ({"traits": (SENTIMENT, SENTIMENT)}, "named twice"),
        ({"traits": ()}, "at least 1 item"),
        ({"n_items": 3}, "greater than or equal to 4"),
        ({"layer_step": 0}, "greater than or equal to 1"),
        ({"layers": 3}, "Extra inputs"),
    ],
)
def test_params_that_would_leave_out_a_control_are_refused(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        Params.model_validate(wrong)


def test_every_shipped_trait_is_declared() -> None:
    assert set(TRAITS) == {path.stem for path in DATA.glob("trait_*.jsonl")}
    assert Params().traits == (SENTIMENT, SYCOPHANCY)
    assert Params.model_validate({"traits": list(TRAITS)}).traits == TRAITS
