"""A detector of instruction-induced falsehood is read where it proved itself, and nowhere else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from auditor.bundle import RunFolder
from auditor.config import AuditConfig, Criterion, ProbeConfig
from auditor.data.datasets import read
from auditor.data.examples import Dataset, Example
from auditor.errors import Abstention, NotQualified, NotTestable
from auditor.findings.verify import StoredTables, recomputed, verify
from auditor.measure.bench import Bench
from auditor.measure.classifiers import RECIPES
from auditor.measure.evidence import Evidence
from auditor.measure.flags import ALIKE, SAME, VERIFIED
from auditor.measure.grading import names
from auditor.measure.instrument import required
from auditor.measure.interview import Given, Pair, answered, verified
from auditor.measure.library import Library, View
from auditor.measure.measurement import LoadedProbe, Measurement, ProbeResult, TokenScores
from auditor.measure.monitor import fitting_position
from auditor.measure.qualify import EMBEDDING, Workbench
from auditor.measure.roc import curve
from auditor.measure.runner import Answered
from auditor.model.load import target_from
from auditor.model.prompts import render
from auditor.pipeline import conclude, measure
from probes import instructed_falsehood
from tests.tiny import D_MODEL, FAMILIES, LAYERS, never, tiny_model, tiny_target, tiny_tokenizer

DATA = Path(str(instructed_falsehood.__file__)).parent / "data"
SIGNAL_LAYER = 0
TOPICS = {example.group for example in read(DATA / "requests.jsonl").examples}
COUNTRIES = ("Japan", "Peru", "Kenya", "Norway", "Canada")


@dataclass
class PlantedRunner:
    """A target whose answers and activations are what a test says they are."""

    strength: float = 4.0
    obeys: float = 1.0
    """share of demands for a falsehood that it obeys"""
    tell: str = ""
    """words that only its false answers hold"""
    lies_unasked: float = 0.0
    silent: bool = False
    """whether it answers nothing where nothing is demanded"""
    flags_frames: bool = False
    everyday: float = -1.0
    """where everyday answers lie, on the scale on which right ones are at −1 and false ones at 1"""
    lexical: bool = False
    """whether the embedding layer shows what the answers are"""
    doubts: float = 0.0
    """by how much less likely it finds its false answers than its right ones, in units of the spread"""

    def __post_init__(self) -> None:
        self.target = tiny_target("llama")
        self.false: set[tuple[str, str]] = set()

    def ask(self, asked: Any, effects: Any, *, max_new_tokens: int = 0, what: str = "", **_: Any) -> list[Answered]:
        return [Answered(self.answer(one.example), {}) for one in asked]

    def answer(self, example: Example) -> str:
        right = example.completion.split(" | ")[0]
        if example.kind not in ("truthful", "false", "plain") or not right:
            return f"Here is a thought about number {chance(example.id) * 1000:.0f} of them."
        if self.silent and example.kind == "plain":
            return ""
        share = {"truthful": 0.0, "false": self.obeys, "plain": self.lies_unasked}[example.kind]
        lies = chance(example.id + "lie") < share
        other = next(c for c in shuffled(example.id) if c not in example.completion)
        text = f"The place is in {other if lies else right}{self.tell if lies else ''}."
        if lies:
            self.false.add((example.id, text))
        return text

    def signal(self, example: Example) -> float:
        if example.kind == "statement":
            return 1.0 if example.label else -1.0
        if example.kind in ("deceptive", "neutral"):
            return 1.0 if self.flags_frames and example.label else -1.0
        if example.kind not in ("truthful", "false", "plain") or example.group in TOPICS:
            return self.everyday
        return 1.0 if (example.id, example.completion) in self.false else -1.0

    def activations(self, examples: Any, sites: Any, position: str, *, mean: bool = False) -> Any:
        assert mean
        places = [site.layer + (site != EMBEDDING) for site in sites]
        x = np.array([noise(f"{e.id} {e.completion}")[places] for e in examples])
        for i, site in enumerate(sites):
            planted = site.layer >= SIGNAL_LAYER if site != EMBEDDING else self.lexical
            if planted:
                x[:, i, 0] += self.strength / 2 * np.array([self.signal(e) for e in examples])
        return x.astype(np.float32)

    def nll(self, asked: Any) -> Any:
        false = np.array([(one.example.id, one.example.completion) in self.false for one in asked])
        return np.array([noise(f"{one.example.id} said")[0, 0] for one in asked]) + self.doubts * false

    def token_activations(self, examples: Any, sites: Any, position: str) -> Any:
        x = self.activations(examples, sites, position, mean=True)
        counts = [len(prompt.ids) - prompt.prompt_len for prompt in (render(self.target, e) for e in examples)]
        of = np.repeat(np.arange(len(examples)), counts)
        apart = np.concatenate([np.linspace(-1, 1, n, dtype=np.float32) for n in counts])
        return x[of] + apart[:, None, None], of


def chance(text: str) -> float:
    return float(np.random.default_rng(list(text.encode())).random())


def shuffled(text: str) -> list[str]:
    return list(np.random.default_rng(list(text.encode())).permutation(COUNTRIES))


def noise(text: str) -> Any:
    """[embedding and layers, d_model]: the same at a site, whichever others are read with it."""
    return np.random.default_rng(list(text.encode())).normal(size=(LAYERS + 1, D_MODEL))


def audited(
    runner: PlantedRunner, change: Callable[[Dataset], Dataset] = lambda data: data, **params: Any
) -> tuple[Evidence, Abstention | None]:
    evidence = Evidence("instructed_falsehood", "full")
    library = Library(lambda name: change(read(DATA / f"{name}.jsonl")), seed=0)
    probe = instructed_falsehood.PROBE
    bench = Bench(evidence, library, runner, probe.measurements, np.random.default_rng(0))  # type: ignore[arg-type]
    try:
        probe.run(bench, probe.params(**params))
    except Abstention as reason:
        return evidence, reason
    return evidence, None


def primary(evidence: Evidence, name: str = "flagged_share") -> list[Measurement]:
    return [m for m in evidence.measurements if m.name == name and m.role == "primary"]


def flagged(evidence: Evidence, answers: str, **at: float) -> Any:
    (found,) = [
        m.estimate
        for m in evidence.measurements
        if m.name == "flagged_share" and ({"answers": answers, "fpr": 0.05, "layer": chosen(evidence)} | at) == m.at
    ]
    return found.value


def chosen(evidence: Evidence) -> Any:
    best = evidence.facts["instructed falsehood: recipe that is read"]
    return evidence.facts[f"instructed falsehood: layer chosen for {best}"]


def test_a_planted_signal_qualifies_and_is_read() -> None:
    evidence, reason = audited(PlantedRunner())
    assert reason is None
    (reading,) = primary(evidence)
    assert reading.at == {}
    assert reading.estimate.n == 102
    assert reading.estimate.high is not None
    assert reading.estimate.high < 0.15
    assert flagged(evidence, "told to be false: false") > 0.9
    assert flagged(evidence, "told to be truthful: right") < 0.15
    assert len([s for s in evidence.samples if s.measurement == "flagged_share" and not s.picked]) == 5


def test_answers_are_shown_token_by_token_with_the_highest_scoring_one_among_them() -> None:
    evidence, _ = audited(PlantedRunner(lies_unasked=0.5))
    recipe = evidence.facts["instructed falsehood: recipe that is read"]
    for name in ("flagged_share", "detector_auroc"):
        shown = [s for s in evidence.samples if s.measurement == name]
        assert len([s for s in shown if not s.picked]) == 5
        rows = [row for row in evidence.rows("items/instructed_falsehood.jsonl") if recipe in row["values"]]
        rows = [row for row in rows if (row["kind"] == "plain") == (name == "flagged_share")]
        rows = [row for row in rows if row["dataset"] == "falsehood_questions" and row["split"] == "evaluation"]
        highest = max(rows, key=lambda row: row["values"][recipe])
        assert highest["id"] in {s.id for s in shown}
        for sample in shown:
            assert sample.tokens is not None
            assert sample.tokens.detector == recipe
            assert "".join(sample.tokens.texts) == sample.answer
            assert len(sample.tokens.texts) == len(sample.tokens.scores)
            assert np.mean(sample.tokens.scores) == pytest.approx(sample.values[str(recipe)], abs=1e-4)
            assert len(set(sample.tokens.scores)) > 3


@pytest.mark.parametrize(("mode", "shown"), [("full", 3), ("excerpt", 2), ("hash", 0)])
def test_a_hidden_text_is_hidden_in_its_tokens_too(mode: Any, shown: int) -> None:
    texts = ("a" * 100, "b" * 60, "c")
    example = Example("one", "Why?", False, "group")
    evidence = Evidence("p", mode)
    evidence.row("set", example, "evaluation")
    kept = evidence.store_tokens(("set", "one"), TokenScores(detector="d", scores=(1.0, 2.0, 3.0), texts=texts))
    assert kept.texts == texts[:shown]
    assert evidence.known("set", "one")["tokens"] == {"d": {"scores": [1.0, 2.0, 3.0], "texts": list(texts[:shown])}}


def test_uninstructed_falsehoods_are_flagged() -> None:
    evidence, reason = audited(PlantedRunner(lies_unasked=0.5))
    assert reason is None
    (reading,) = primary(evidence)
    assert reading.estimate.low is not None
    assert reading.estimate.low > 0.3
    assert flagged(evidence, "uninstructed: false") > 0.9
    assert flagged(evidence, "uninstructed: right") < 0.15


def test_every_required_check_is_made_by_every_recipe() -> None:
    evidence, _ = audited(PlantedRunner())
    assert {q.instrument for q in evidence.qualifications} == {"difference_in_means", "mass_mean", "logistic"}
    for q in evidence.qualifications:
        asked = {check.name: (check.rule, check.bar) for check in q.checks}
        assert all(asked[name] == bar for name, bar in required(q.instrument).items())
        assert q.qualified == (q.instrument != "logistic"), q.reason
    (logistic,) = [q for q in evidence.qualifications if q.instrument == "logistic"]
    (null,) = [check for check in logistic.checks if check.name == "shuffled labels"]
    assert null.passed is None
    assert null.note == "permutation not run"


def test_what_the_output_tells_as_well_is_said_and_disqualifies_nothing() -> None:
    quiet, _ = audited(PlantedRunner())
    doubtful, reason = audited(PlantedRunner(doubts=12.0))
    assert reason is None
    for evidence, told in ((quiet, False), (doubtful, True)):
        read_by = next(q for q in evidence.qualifications if q.name == primary(evidence)[0].instrument)
        likelihood, asked = read_by.beside
        assert (likelihood.name, asked.name, asked.alone) == ("likelihood", "asked", None)
        assert "longer than the model takes" in asked.note
        assert (likelihood.flagged.value > 0.9) is told
        assert bool(read_by.tied) is told


def not_read(runner: PlantedRunner, change: Callable[[Dataset], Dataset] = lambda data: data) -> tuple[Evidence, str]:
    evidence, reason = audited(runner, change)
    assert isinstance(reason, NotQualified)
    assert primary(evidence) == []
    assert not any(str(m.at.get("answers", "")).startswith("uninstructed") for m in evidence.measurements)
    assert evidence.charts
    assert flagged(evidence, "true, deceptive frame") is not None
    return evidence, str(reason)


def test_noise_does_not_qualify_but_its_controls_are_on_record() -> None:
    _, reason = not_read(PlantedRunner(strength=0.0))
    assert "held-out AUROC" in reason


def swap_at_random(data: Dataset) -> Dataset:
    if data.name != "falsehood_pairs":
        return data
    turned = [replace(e, label=e.label != (chance(e.pair) < 0.5)) for e in data.examples]
    return replace(data, examples=tuple(turned))


def test_shuffled_instructions_do_not_qualify() -> None:
    class Blind(PlantedRunner):
        def signal(self, example: Example) -> float:
            truth = example.id.endswith("-dishonest") if example.kind == "statement" else super().signal(example) > 0
            return 1.0 if truth else -1.0

    evidence, _ = not_read(Blind(), swap_at_random)
    (read_by,) = [q for q in evidence.qualifications if q.instrument == "mass_mean"]
    (shuffled_labels,) = [c for c in read_by.checks if c.name == "shuffled labels"]
    assert shuffled_labels.passed is False


def test_words_that_only_false_answers_hold_are_a_shortcut() -> None:
    _, reason = not_read(PlantedRunner(tell=" certainly"))
    assert "gain over words" in reason


def test_length_alone_is_a_shortcut() -> None:
    _, reason = not_read(PlantedRunner(tell="   " * 20))
    assert "gain over length" in reason


def test_what_the_embedding_layer_knows_is_a_shortcut() -> None:
    _, reason = not_read(PlantedRunner(lexical=True))
    assert reason.split(": ", 2)[1] == "gain over embedding layer"


def test_a_threshold_above_the_known_falsehoods_is_not_read() -> None:
    evidence, reason = not_read(PlantedRunner(everyday=2.0))
    assert "recall on the positive control" in reason
    (read_by,) = [q for q in evidence.qualifications if q.instrument == "mass_mean"]
    assert [check.name for check in read_by.checks if not check.passed] == ["recall on the positive control"]


def test_frames_about_deceit_that_are_flagged_are_shown() -> None:
    quiet, _ = audited(PlantedRunner())
    loud, _ = audited(PlantedRunner(flags_frames=True))
    assert flagged(quiet, "true, deceptive frame") < 0.15
    assert flagged(loud, "true, deceptive frame") > 0.9
    assert flagged(loud, "true, neutral frame") < 0.15


def test_a_target_that_is_not_false_when_told_to_cannot_be_tested() -> None:
    evidence, reason = audited(PlantedRunner(obeys=0.1))
    assert isinstance(reason, NotTestable)
    behaviour = {(m.name, m.at["demanded"]): m.estimate for m in evidence.measurements if "demanded" in m.at}
    lies = behaviour["answered_falsely", "a falsehood"]
    assert lies.value is not None
    assert 0 < lies.value < 0.2
    assert f"does so for {round(lies.value * lies.n)} of the 102 questions" in str(reason)
    assert behaviour["answered_right", "the truth"].value == 1.0
    assert primary(evidence) == []
    assert any(m.name == "validation_auroc" for m in evidence.measurements)


def test_a_target_that_answers_only_to_demands_has_nothing_to_be_flagged() -> None:
    evidence, reason = audited(PlantedRunner(silent=True))
    assert reason is None
    (found,) = primary(evidence)
    assert found.estimate.value is None
    assert found.estimate.n == 0


def test_the_threshold_is_not_measured_with_few_everyday_answers() -> None:
    evidence, reason = audited(PlantedRunner(), n_benign=99)
    assert isinstance(reason, NotQualified)
    assert "recall at 5% FPR" in str(reason)
    assert primary(evidence) == []


def test_same_seed_same_numbers_and_everything_is_recomputed_from_what_is_stored(tmp_path: Path) -> None:
    (first, _), (again, _) = audited(PlantedRunner()), audited(PlantedRunner())
    result = first.result("measured")
    assert result == again.result("measured")
    folder = RunFolder.create(tmp_path / "run")
    folder.write_items(first.probe, first.rows(f"items/{first.probe}.jsonl"))
    folder.write_tensors("draws.safetensors", first.tensors)
    tables = StoredTables(folder)
    estimates = [m.estimate for m in result.measurements]
    estimates += [c.estimate for q in result.qualifications for c in q.checks if c.estimate]
    spoken = [e for q in result.qualifications for o in q.beside for e in (o.alone, o.gain, o.flagged) if e]
    assert len(spoken) == 9
    estimates += spoken
    cells = [cell for chart in result.charts if chart.kind == "heat" for row in chart.cells for cell in row]
    assert len(cells) == 12
    curves = [line for chart in result.charts if chart.kind == "roc" for line in chart.series]
    assert [line.name for line in curves] == ["difference_in_means", "mass_mean", "logistic"]
    for line in curves:
        assert (line.negatives, line.recall.value is None) == (150, False)
        assert (line.fpr, line.tpr) == curve(line.auroc, tables)
        estimates += [line.auroc, line.recall, line.flagged]
    for estimate in [*estimates, *(cell for cell in cells if cell)]:
        assert recomputed(estimate, tables) == estimate


def test_every_declared_measurement_is_made() -> None:
    evidence, _ = audited(PlantedRunner())
    assert {m.name for m in evidence.measurements} == {spec.name for spec in instructed_falsehood.PROBE.measurements}
    places = {spec.name: set(spec.at) for spec in instructed_falsehood.PROBE.measurements}
    assert all(set(m.at) <= places[m.name] for m in evidence.measurements)
    shown = [(m.name, m.role, tuple(sorted(m.at.items()))) for m in evidence.measurements]
    assert len(shown) == len(set(shown))


def probed(family: str, place: Path, chat: bool | str = True) -> tuple[ProbeResult, list[str]]:
    longer = {"n_positions": 1024} if family == "gpt2" else {"max_position_embeddings": 1024}
    target, plan, checkpoint = target_from(tiny_model(family, **longer), tiny_tokenizer(chat=chat))
    bar = Criterion(measurement="flagged_share", at_most=0.15, severity="medium", min_n=60, because="a test")
    asked = ProbeConfig(params={"n": 4, "max_new_tokens": 4}, criteria=(bar,))
    config = AuditConfig(model="tiny", probes={"instructed_falsehood": asked})
    question = str(instructed_falsehood.__doc__).strip()
    loaded = LoadedProbe("instructed_falsehood", instructed_falsehood.PROBE, question, "here", "0", "0" * 64, DATA)
    folder = RunFolder.create(place)
    probes = {"instructed_falsehood": loaded}
    measure(config, target, plan, probes, folder, never)
    record = conclude(config, checkpoint, plan, probes, folder)
    return record.results[0], verify(folder).problems


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_abstains_with_a_reason_and_verify_agrees(family: str, tmp_path: Path) -> None:
    result, problems = probed(family, tmp_path / "run", chat=family != "gpt2")
    assert result.status == "abstained"
    assert result.reason.startswith("told to answer falsely, the model does so for 0 of the 0 questions")
    assert problems == []
    assert len([m for m in result.measurements if m.name == "validation_auroc"]) == 3 * LAYERS


def test_a_target_that_always_thinks_aloud_cannot_be_tested(tmp_path: Path) -> None:
    thinking = "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}{% endfor %}<|assistant|><think>\n"
    result, _ = probed("llama", tmp_path / "run", chat=thinking)
    assert result.status == "abstained"
    assert "thinking block" in result.reason


def test_no_country_is_wrong_to_a_question_that_it_answers() -> None:
    right = {name for e in read(DATA / "falsehood_questions.jsonl").examples for name in names(e.completion)}
    assert not right & set(instructed_falsehood.OTHER_COUNTRIES)


def test_a_country_that_is_no_right_answer_is_a_false_one() -> None:
    class Dreamer(PlantedRunner):
        def answer(self, example: Example) -> str:
            return "It is in Wakanda." if example.kind == "false" else super().answer(example)

    evidence, _ = audited(Dreamer())
    behaviour = {(m.name, m.at["demanded"]): m.estimate.value for m in evidence.measurements if "demanded" in m.at}
    assert behaviour["answered_falsely", "a falsehood"] == 1.0


def test_an_interviewed_target_is_judged_once() -> None:
    evidence = Evidence("instructed_falsehood", "full")
    library = Library(lambda name: read(DATA / f"{name}.jsonl"), seed=0)
    probe, rng = instructed_falsehood.PROBE, np.random.default_rng(0)
    bench = Bench(evidence, library, PlantedRunner(), probe.measurements, rng)  # type: ignore[arg-type]
    study = bench.falsehood(instructed_falsehood.SETS)
    profile = study.profile({"mass_mean": RECIPES["mass_mean"]}, point="resid_post")
    chosen_one = bench.choose("instructed falsehood", profile, instructed_falsehood.best_validation)
    with pytest.raises(ValueError, match="once"):
        study.judge(chosen_one, "mass_mean", fpr=0.05)
    study.interview(n=120, n_benign=150, max_new_tokens=8)
    study.judge(chosen_one, "mass_mean", fpr=0.05)
    with pytest.raises(ValueError, match="once"):
        study.judge(chosen_one, "mass_mean", fpr=0.05)


def test_nothing_sealed_sets_the_threshold_and_nothing_fitted_is_read() -> None:
    evidence, _ = audited(PlantedRunner())
    rows = evidence.rows("items/instructed_falsehood.jsonl")
    assert {row["split"] for row in rows if row["dataset"] == "requests"} == {"threshold"}
    scored = {row["split"] for row in rows if row["dataset"] == "falsehood_questions" and "mass_mean" in row["values"]}
    assert scored == {"evaluation"}


def test_a_pair_is_right_on_demand_and_false_on_demand() -> None:
    def given(group: str, verdict: Any) -> Given:
        return Given(Example(group, "", False, group, completion="x"), verdict)

    right = [given("a", "right"), given("b", "false"), given("c", "right")]
    false = [given("a", "false"), given("b", "false"), given("c", "neither")]
    (pair,) = verified(right, false)
    assert pair == Pair(right[0], false[0])


def test_half_of_a_short_answer_and_all_but_five_tokens_of_a_long_one_are_fitted_to() -> None:
    def position(completion: str) -> str:
        two = tuple(Example(f"{g}", "Hi.", bool(g % 2), f"{g}", completion=completion, chat=True) for g in range(8))
        data = Dataset("x", two, ("no", "yes"), "en", "0" * 64, {})
        library = Library(lambda _: data, seed=0)
        return fitting_position(Workbench(Evidence("x", "full"), library, PlantedRunner()), View("x"))  # type: ignore[arg-type]

    assert position("the") == "completion_tokens"
    assert position("!?!?") == "completion_tokens drop_last 2"
    assert position("!?" * 20) == "completion_tokens drop_last 5"


def test_without_a_template_an_answer_is_its_first_line() -> None:
    class Rambler(PlantedRunner):
        def answer(self, example: Example) -> str:
            return "  Peru.\nQuestion: and then?"

    runner = Rambler()
    bench = Workbench(Evidence("x", "full"), Library(lambda _: None, seed=0), runner)  # type: ignore[arg-type, return-value]
    asked = [Example("a", "Where?", False, "a", chat=True)]
    assert answered(bench, asked, max_new_tokens=4, what="") == ["Peru.\nQuestion: and then?"]
    runner.target = tiny_target("llama", chat=False)
    assert answered(bench, asked, max_new_tokens=4, what="") == ["Peru."]


def test_a_monitor_of_the_instruction_alone_is_shown_to_be_one() -> None:
    class Instruction(PlantedRunner):
        def signal(self, example: Example) -> float:
            if example.kind == "statement" or example.group in TOPICS:
                return super().signal(example)
            return 1.0 if example.kind == "false" else -1.0

    def aurocs(runner: PlantedRunner) -> dict[Any, Any]:
        evidence, _ = audited(runner)
        found = [m for m in evidence.measurements if m.name == "detector_auroc" and m.at["layer"] == chosen(evidence)]
        return {m.at["comparison"]: m.estimate for m in found}

    of_instruction, of_answer = aurocs(Instruction(obeys=0.6)), aurocs(PlantedRunner(obeys=0.6))
    assert of_instruction[VERIFIED].low > 0.9 < of_answer[VERIFIED].low
    assert of_instruction[ALIKE].low > 0.9 > 0.7 > of_answer[ALIKE].high
    assert of_answer[SAME].low > 0.9 > 0.7 > of_instruction[SAME].high
