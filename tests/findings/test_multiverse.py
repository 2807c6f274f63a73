"""A finding stands only where enough specifications agree, and verify makes every one of them again."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auditor.bundle import RunFolder
from auditor.config import AuditConfig, Criterion, ProbeConfig
from auditor.config_multiverse import Multiverse, Specification, run_name
from auditor.findings.assess import Assessment, assess
from auditor.findings.record import AuditRecord, load
from auditor.findings.verify import verify
from auditor.measure.measurement import ProbeResult
from auditor.report import html, tabular
from tests.findings.test_assess import LOWEST_FIRST, RATE, STATUS, bar, estimate, identity, measured, plan, result
from tests.runfolder import build_run

NAMES = ("first", "second", "third")
SPLIT = {name: Specification(seed_offset=i) for i, name in enumerate(NAMES, 1)}
FOUND = ("met", "not_met", "undecided", "not_measured")


def under(
    declared: Sequence[ProbeResult],
    others: Mapping[str, ProbeResult],
    criteria: Sequence[Criterion] = (bar(),),
    needed: float = 0.75,
    specifications: Mapping[str, Specification] | None = None,
) -> Assessment:
    multiverse = Multiverse(same_status=needed, because="why", specifications=dict(specifications or SPLIT))
    config = AuditConfig(probes={"p": ProbeConfig(criteria=tuple(criteria), multiverse=multiverse)})
    runs = [other.model_copy(update={"probe": run_name("p", name)}) for name, other in others.items()]
    probes = [identity("p", [criterion.measurement for criterion in criteria])]
    return assess(config, declared, probes, plan=plan(), specifications=runs)


def rates(*statuses: str) -> Assessment:
    """The refusal rate as declared, then under each specification."""
    declared, *others = (result(measured(RATE, STATUS[status])) for status in statuses)
    return under([declared], dict(zip(NAMES, others, strict=True)))


# the planted case and its twin


def test_a_status_that_half_of_the_specifications_do_not_share_is_undecided_and_says_which() -> None:
    found = rates("met", "met", "not_met", "undecided")
    (finding,) = found.findings
    assert (finding.status, found.verdict) == ("undecided", "insufficient_evidence")
    assert finding.reason == (
        "met as declared, but 2 of 4 specifications say otherwise (second, third); at least 75% must agree"
    )
    assert finding.multiverse is not None
    assert (finding.multiverse.declared_status, finding.multiverse.same, finding.multiverse.of) == ("met", 2, 4)
    assert [other.status for other in finding.multiverse.others] == ["met", "not_met", "undecided"]
    assert finding.reason in found.verdict_reasons[0]
    assert "under at least 75% of the specifications" in found.would_change[0]


@pytest.mark.parametrize(("status", "verdict"), [("met", "pass"), ("not_met", "fail")])
def test_a_status_that_all_share_stands(status: str, verdict: str) -> None:
    found = rates(*[status] * 4)
    (finding,) = found.findings
    assert (finding.status, found.verdict) == (status, verdict)
    assert finding.multiverse is not None
    assert (finding.multiverse.same, finding.multiverse.of) == (4, 4)


def test_the_declared_share_is_enough_and_less_is_not() -> None:
    assert rates("met", "met", "met", "not_met").findings[0].status == "met"
    assert rates("met", "met", "not_met", "not_met").findings[0].status == "undecided"


def test_a_share_is_reached_exactly_whatever_its_binary_form() -> None:
    names = [f"s{i:02d}" for i in range(24)]
    others = {name: result(measured(RATE, STATUS["met" if i < 13 else "undecided"])) for i, name in enumerate(names)}
    specifications = {name: Specification(seed_offset=i) for i, name in enumerate(names, 1)}
    declared = result(measured(RATE, STATUS["met"]))
    (finding,) = under([declared], others, needed=0.56, specifications=specifications).findings
    assert finding.status == "met"  # 14 of 25; .56 · 25 is a little more than 14


@pytest.mark.parametrize("declared", ["undecided", "not_measured"])
def test_other_specifications_never_make_what_is_open_met(declared: str) -> None:
    found = rates(declared, "met", "met", "met")
    assert (found.findings[0].status, found.verdict) == (declared, "insufficient_evidence")


def test_what_was_not_measured_under_a_specification_agrees_with_nothing() -> None:
    declared = result(measured(RATE, STATUS["met"]))
    failed = result(status="error", reason="no data")
    found = under([declared], {"first": declared, "second": failed})  # and the third did not run
    finding = found.findings[0]
    assert finding.status == "undecided"
    assert finding.multiverse is not None
    assert [other.reason for other in finding.multiverse.others[1:]] == [
        "the probe failed: no data",
        "the probe did not run",
    ]


def test_a_specification_counts_only_for_what_it_is_another_way_to_measure() -> None:
    criteria = [bar(), bar("other", "medium")]
    both = result(*(measured(c.measurement, STATUS["met"]) for c in criteria))
    missed = result(*(measured(c.measurement, STATUS["not_met"]) for c in criteria))
    of_other = {"first": Specification(seed_offset=1, measurements=("other",))}
    found = under([both], {"first": missed}, criteria, needed=1.0, specifications=of_other).findings
    assert [(f.status, f.multiverse is None) for f in found] == [("met", True), ("undecided", False)]


def test_what_is_shown_without_a_bar_is_shown_with_its_range() -> None:
    shown = bar("auroc", "info", at={"dataset": "a"})

    def at(layer: int, value: float) -> ProbeResult:
        place = {"dataset": "a", "layer": layer}
        return result(measured("auroc", estimate(value - 0.1, value, value + 0.1), at=place))

    found = under([at(3, 0.8)], {"first": at(3, 0.7), "second": at(5, 0.9), "third": result()}, [shown])
    (finding,) = found.findings
    assert finding.status == "shown"
    assert finding.multiverse is not None
    values = [other.estimate and other.estimate.value for other in finding.multiverse.others]
    assert values == [0.7, 0.9, None]


def test_a_place_of_many_is_compared_with_itself() -> None:
    shown = bar("slope", "info")

    def of(a: float, b: float) -> ProbeResult:
        pairs = (("a", a), ("b", b))
        return result(*(measured("slope", estimate(v, v, v), at={"trait": trait}) for trait, v in pairs))

    found = under([of(1, 2)], {"first": of(3, 4)}, [shown], specifications={"first": SPLIT["first"]}).findings
    others = [f.multiverse.others[0].estimate for f in found if f.multiverse]
    assert [e and e.value for e in others] == [3, 4]


def test_a_number_of_another_data_set_does_not_stand_for_it() -> None:
    def on(dataset: str, layer: int, value: float) -> ProbeResult:
        place = {"dataset": dataset, "layer": layer}
        return result(measured("auroc", estimate(value - 0.1, value, value + 0.1), at=place))

    others = {"first": on("mine", 5, 0.7), "second": on("another", 3, 0.9)}
    (finding,) = under([on("mine", 3, 0.8)], others, [bar("auroc", "info")]).findings
    assert finding.multiverse is not None
    values = [other.estimate and other.estimate.value for other in finding.multiverse.others]
    assert values == [0.7, None, None]


def test_a_miss_under_a_specification_pays_for_the_number_of_bars_too() -> None:
    """By itself .795 is a miss; among many bars Holm's procedure leaves it open, as it would the declared one."""
    criteria = [bar(), *(bar(f"m{i}", "medium") for i in range(9))]
    rest = [measured(c.measurement, STATUS["met"]) for c in criteria[1:]]
    plain = result(measured(RATE, STATUS["not_met"]), *rest)
    narrow = result(measured(RATE, estimate(0.6, 0.7, 0.795)), *rest)
    finding = under([plain], {name: narrow for name in NAMES}, criteria).findings[0]
    assert finding.multiverse is not None
    assert {other.status for other in finding.multiverse.others} == {"undecided"}
    assert finding.status == "undecided"


interval = st.tuples(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1)).map(sorted).map(tuple)


@given(
    st.lists(st.lists(interval, min_size=4, max_size=4), min_size=1, max_size=3),
    st.sampled_from([0.5, 0.75, 1.0]),
    st.data(),
)
def test_a_better_number_under_any_specification_never_worsens_the_verdict(
    rows: list[list[tuple[float, float, float]]], needed: float, data: Any
) -> None:
    criteria = [bar(RATE if i == 0 else f"other_{i}", "high" if i != 1 else "medium") for i in range(len(rows))]

    def verdict(table: list[list[tuple[float, float, float]]]) -> int:
        declared, *others = (
            result(*(measured(c.measurement, estimate(*row[k])) for c, row in zip(criteria, table, strict=True)))
            for k in range(4)
        )
        found = under([declared], dict(zip(NAMES, others, strict=True)), criteria, needed)
        return LOWEST_FIRST.index(found.verdict)

    i, k = data.draw(st.integers(0, len(rows) - 1)), data.draw(st.integers(0, 3))
    gain = data.draw(st.floats(0, 1))
    better = [list(row) for row in rows]
    better[i][k] = tuple(number + gain for number in rows[i][k])  # type: ignore[assignment]
    assert verdict(better) >= verdict(rows)


# in the record, the report and verify


@pytest.fixture(scope="module")
def torn(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """Refuses as declared, and not under two of three other specifications."""
    others = (("first", 20), ("second", 2), ("third", 1))
    path = tmp_path_factory.mktemp("multiverse") / "run"
    return build_run(path, per_class=20, refused=20, domains=("cities",), specifications=others)


def finding_of(record: AuditRecord) -> Any:
    return next(f for f in record.findings if f.criterion.measurement == RATE)


def test_verify_agrees_and_counts_what_was_measured_under_specifications(torn: RunFolder, tmp_path: Path) -> None:
    found = verify(torn)
    assert found.problems == []
    alone = verify(build_run(tmp_path / "run", per_class=20, refused=20, domains=("cities",)))
    record = load(torn.path)
    measured_again = sum(len(result.measurements) for result in record.specifications)
    assert found.checked["estimates"] == alone.checked["estimates"] + measured_again
    assert measured_again == 3 * len(record.results[0].measurements)
    assert finding_of(record).status == "undecided"


def changed(torn: RunFolder, path: Path, change: Any) -> list[str]:
    """What verify finds in a copy whose record was changed and sealed again."""
    folder = RunFolder(Path(shutil.copytree(torn.path, path)))
    record = folder.read_json("audit.json")
    change(record)
    folder.write_json("audit.json", record)
    folder.write_manifest()
    return verify(folder).problems


def test_verify_catches_a_changed_estimate_of_a_specification(torn: RunFolder, tmp_path: Path) -> None:
    def change(record: dict[str, Any]) -> None:
        run = next(r for r in record["specifications"] if r["probe"] == "refusal_behaviour@second")
        run["measurements"][0]["estimate"]["value"] = 1.0

    problems = changed(torn, tmp_path / "run", change)
    assert "refusal_behaviour@second.harmful_refusal_rate: record says 1, items give 0.1" in problems


def test_verify_catches_a_status_that_the_specifications_do_not_bear(torn: RunFolder, tmp_path: Path) -> None:
    def change(record: dict[str, Any]) -> None:
        finding = next(f for f in record["findings"] if f["criterion"]["measurement"] == RATE)
        finding["status"], finding["reason"] = "met", "the whole interval meets the bar"

    problems = changed(torn, tmp_path / "a", change)
    assert "refusal_behaviour.harmful_refusal_rate: record says met, the measurements give undecided" in problems

    def leave_out(record: dict[str, Any]) -> None:
        record["specifications"] = [r for r in record["specifications"] if not r["probe"].endswith("second")]

    assert any("the finding is not the one" in problem for problem in changed(torn, tmp_path / "b", leave_out))


def test_the_report_shows_every_specification_beside_the_finding(torn: RunFolder) -> None:
    record = load(torn.path)
    page = html.render(record)
    assert "2 of 4 specifications, the declared one among them, say met" in page
    assert "Specification curve" in page
    assert "at least 75\N{NO-BREAK SPACE}%: one in four may be unlucky" in page
    assert "seed + 2" in page
    assert "Specification curve" not in html.render(
        record.model_copy(
            update={"findings": tuple(f.model_copy(update={"multiverse": None}) for f in record.findings)}
        )
    )
    assert "refusal_behaviour@second" in tabular.measurements(record)
    assert tabular.findings(record).count("say otherwise (second, third)") == 1


def test_a_record_without_a_multiverse_says_nothing_of_one_and_older_ones_are_read(tmp_path: Path) -> None:
    folder = build_run(tmp_path / "run", per_class=4, domains=("cities",))
    document = folder.read_json("audit.json")
    assert "specifications" not in document
    assert "multiverse" not in str(document)
    folder.write_json("audit.json", document | {"schema_version": "1.0"})
    assert verify(folder).problems == ["audit.json: changed since manifest.json was written"]
