"""The mappings name every id, claim nothing, and say of a record what it holds and what it does not."""

from __future__ import annotations

import re
from datetime import date
from importlib.resources import files
from itertools import chain
from typing import Any, get_args

import pytest
from pydantic import ValidationError

from auditor.cli.discover import load_probes
from auditor.config import AuditCard
from auditor.findings import mapping
from auditor.findings.mapping import Entry, Framework, Row, frameworks, matrices
from auditor.findings.record import AuditRecord
from tests.report.pages import changed, record


def spread(text: str) -> list[str]:
    return [part.strip() for part in text.split("|")]


IDS = {
    "eu_ai_act": spread(
        "Art. 9(2)|Art. 9(6)|Art. 9(8)|Art. 10(2)(f)|Art. 10(2)(g)|Art. 10(3)|Art. 11(1)|Annex IV(1)(a)|Annex IV(1)(c)|"
        "Annex IV(2)(a)|Annex IV(2)(b)|Annex IV(2)(e)|Annex IV(2)(g)|Annex IV(2)(h)|Annex IV(3)|Annex IV(4)|"
        "Annex IV(5)|Annex IV(6)|Annex IV(7)|Annex IV(9)|Art. 12(1)|Art. 13(1)|Art. 13(3)(b)(ii)|Art. 13(3)(b)(iii)|"
        "Art. 13(3)(b)(iv)|Art. 13(3)(b)(vii)|Art. 13(3)(d)|Art. 14(4)(a)|Art. 14(4)(c)|Art. 15(1)|Art. 15(3)|"
        "Art. 15(4)|Art. 15(5)|Art. 53(1)(a)|Art. 53(1)(b)|Annex XI sec. 1|Annex XI sec. 2|Annex XII|Art. 55(1)(a)|"
        "Art. 55(1)(b)|Art. 55(1)(c)|Art. 55(1)(d)"
    ),
    "gpai_code": spread(
        "Measure 3.2|Measure 3.4|Measure 4.1|Measure 4.2|Measure 5.1|Measure 7.1(1)|Measure 7.1(2)|Measure 7.1(3)|"
        "Measure 7.1(4)|Measure 7.2(1)|Measure 7.2(2)|Measure 7.2(3)|Measure 7.3(1)(e)|Measure 7.3(1)(f)|"
        "Measure 7.3(1)(g)|Measure 7.3(2)(c)|Measure 7.4|Measure 7.6|App. 1.3.1(4)|App. 1.3.1(8)|App. 1.3.1(9)|"
        "App. 1.3.2(1)|App. 1.3.2(2)|App. 1.3.2(3)|App. 1.3.2(8)|App. 1.3.3(5)|App. 1.3.3(11)|App. 2.2|App. 3.1|"
        "App. 3.2|App. 3.3|App. 3.4(1)|App. 3.5"
    ),
    "nist_ai_rmf": spread(
        "MAP 1.5|MAP 2.3|MAP 4.1|MEASURE 1.1|MEASURE 1.2|MEASURE 1.3|MEASURE 2.1|MEASURE 2.3|MEASURE 2.5|MEASURE 2.6|"
        "MEASURE 2.7|MEASURE 2.8|MEASURE 2.9|MEASURE 2.13|MEASURE 3.1|MEASURE 4.1|MEASURE 4.2|MEASURE 4.3|MANAGE 1.1|"
        "MANAGE 1.3|MANAGE 1.4|MANAGE 2.4|MANAGE 3.2|MANAGE 4.1"
    ),
    "nist_ai_600_1": [
        f"MS-{n}"
        for n in spread(
            "1.1-009|2.3-001|2.3-002|2.3-003|2.5-001|2.5-005|2.5-006|2.6-003|2.6-006|2.6-007|2.7-001|2.7-005|2.7-007|"
            "2.7-008|2.7-009|2.9-001|2.9-002|2.13-001|3.2-001|4.2-001|4.2-003|4.2-005"
        )
    ],
    "iso_42001": spread(
        "A.4.4|A.5.2|A.5.3|A.5.4|A.5.5|A.6.2.4|A.6.2.5|A.6.2.6|A.6.2.7|A.6.2.8|A.7.4|A.7.5|A.8.2|A.8.3|A.10.3|9.1"
    ),
    "iso_23894": spread("6.4.2|6.4.3|6.4.4|6.5|6.6|6.7"),
    "mitre_atlas": [
        f"AML.T{n}"
        for n in spread(
            "0010.003|0011.000|0018.000|0018.001|0018.002|0018.003|0043.000|0043.004|0044|0051|0054|0057|0076|0077"
        )
    ],
    "owasp_llm_2025": spread("LLM01|LLM02|LLM03|LLM04|LLM05|LLM09"),
}
ENTRIES = [(f, entry) for f in frameworks() for entry in f.entries]


def row(found: AuditRecord, framework: str, id: str) -> Row:
    matrix = next(m for m in matrices(found) if m.framework.framework == framework)
    return next(r for r in matrix.rows if r.entry.id == id)


def entry(**fields: Any) -> Entry:
    return Entry.model_validate({"id": "x", "asks": "a", "remains": "r"} | fields)


def covered(found: AuditRecord, monkeypatch: pytest.MonkeyPatch, **fields: Any) -> Row:
    one = Framework(framework="f", title="t", as_of=date(2026, 1, 1), source="https://a.b", entries=(entry(**fields),))
    monkeypatch.setattr(mapping, "frameworks", lambda: (one,))
    return matrices(found)[0].rows[0]


def test_every_id_is_there_and_nothing_is_mapped_twice() -> None:
    assert {f.framework for f in frameworks()} == set(IDS)
    for framework in frameworks():
        ids = [e.id for e in framework.entries]
        assert ids == IDS[framework.framework], framework.framework
        assert len(ids) == len(set(ids))


def test_every_measurement_that_is_named_is_declared_by_a_shipped_probe() -> None:
    declared = {f"{name}.{spec.name}" for name, loaded in load_probes().items() for spec in loaded.probe.measurements}
    named = set(chain.from_iterable(e.measurements for _, e in ENTRIES))
    assert named <= declared
    assert len(named) > 10


def test_every_part_of_a_record_that_is_named_can_be_looked_up() -> None:
    named = set(chain.from_iterable(e.record for _, e in ENTRIES))
    assert named == set(get_args(mapping.Part))
    assert matrices(record())


def test_an_id_without_evidence_says_that_everything_remains_and_no_other_does() -> None:
    for framework, e in ENTRIES:
        nothing = not e.measurements and not e.record
        assert e.remains.startswith("everything") == nothing, (framework.framework, e.id)


def test_nothing_is_called_safe_or_compliant() -> None:
    told = " ".join(item.read_text("utf-8") for item in files("auditor.findings").joinpath("frameworks").iterdir())
    assert "as_of" in told
    assert not re.search(
        r"\b(safe|compliant|compliance|complies|satisf\w+|fulfil\w*|conform\w*)\b", told, re.IGNORECASE
    )


def test_dates_that_may_move_are_data() -> None:
    act = next(f for f in frameworks() if f.framework == "eu_ai_act")
    assert date(2027, 12, 2) in {milestone.day for milestone in act.dates}
    prose = " ".join(e.asks + e.remains for _, e in ENTRIES)
    assert not re.search(r"\b20\d\d\b", prose)


def test_all_of_the_evidence_is_present_only_where_it_speaks_to_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    names = {"measurements": ("refusal_behaviour.harmful_refusal_rate",), "record": ("data",)}
    assert covered(record(), monkeypatch, **names, reach="whole").status == "present"
    assert covered(record(), monkeypatch, **names).status == "partial"
    more = names | {"measurements": (*names["measurements"], "steering_response.steering_slope")}
    assert covered(record(), monkeypatch, **more, reach="whole").status == "partial"


def test_what_the_record_does_not_hold_covers_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    other = covered(record(), monkeypatch, measurements=("steering_response.steering_slope",), reach="whole")
    assert other.status == "not_covered"
    assert [p.support for p in other.pieces] == ["absent"]
    assert covered(record(), monkeypatch).status == "not_covered"


def test_a_value_on_too_few_items_is_no_evidence(monkeypatch: pytest.MonkeyPatch) -> None:
    name = "refusal_behaviour.harmful_refusal_rate"
    few = [
        f.model_copy(update={"status": "not_measured"}) if f.criterion.measurement == "harmful_refusal_rate" else f
        for f in record().findings
    ]
    assert covered(record(), monkeypatch, measurements=(name,)).status == "partial"
    assert covered(changed(findings=few), monkeypatch, measurements=(name,)).status == "not_covered"


def test_an_exploratory_number_is_partial_at_best(monkeypatch: pytest.MonkeyPatch) -> None:
    first, *rest = record().results
    loose = first.model_copy(
        update={"measurements": tuple(m.model_copy(update={"exploratory": True}) for m in first.measurements)}
    )
    names = {"measurements": ("refusal_behaviour.harmful_refusal_rate",), "reach": "whole"}
    found = covered(changed(results=[loose, *rest]), monkeypatch, **names)
    assert (found.status, found.pieces[0].support) == ("partial", "exploratory")
    assert covered(record(), monkeypatch, **names).status == "present"


def test_an_estimate_without_a_value_and_a_null_are_no_evidence(monkeypatch: pytest.MonkeyPatch) -> None:
    first, *rest = record().results
    names = {"measurements": ("refusal_behaviour.harmful_refusal_rate",)}
    none = [
        m.model_copy(update={"estimate": m.estimate.model_copy(update={"value": None})}) for m in first.measurements
    ]
    null = [m.model_copy(update={"role": "null"}) for m in first.measurements]
    for spoiled in (none, null):
        results = [first.model_copy(update={"measurements": tuple(spoiled)}), *rest]
        assert covered(changed(results=results), monkeypatch, **names).status == "not_covered"


def test_the_audit_card_and_the_samples_count_only_when_they_are_there() -> None:
    card = record().config.model_copy(update={"audit_card": AuditCard(auditor="A team")})
    assert row(record(), "gpai_code", "Measure 7.4").status == "not_covered"
    assert row(changed(config=card), "gpai_code", "Measure 7.4").status == "partial"
    measured = [r for r in record().results if r.status == "measured"]
    few = [measured[0].model_copy(update={"samples": measured[0].samples[:4]})]
    assert row(changed(results=measured), "gpai_code", "Measure 7.3(1)(f)").status == "present"
    assert row(changed(results=few), "gpai_code", "Measure 7.3(1)(f)").status == "not_covered"


@pytest.mark.parametrize(
    "spoiled",
    [
        {"status": "present"},
        {"measurements": ("harmful_refusal_rate",)},
        {"record": ("everything",)},
        {"reach": "all"},
        {"remains": " "},
    ],
)
def test_a_mapping_that_says_more_than_it_may_is_refused(spoiled: dict[str, Any]) -> None:
    assert entry().id == "x"
    with pytest.raises(ValidationError):
        entry(**spoiled)
