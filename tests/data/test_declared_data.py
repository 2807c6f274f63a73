"""Data sets of one's own: read as declared, refused by file and row, and said to be what they are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from auditor.canonical import sha256_hex
from auditor.cli.child import Job
from auditor.cli.discover import load_probes
from auditor.config import AuditConfig, comparison_digest, config_digest
from auditor.config_data import DataFile, DataSet
from auditor.data import tables
from auditor.data.declared import read_declared
from auditor.data.examples import Example
from auditor.errors import ConfigError
from auditor.findings.record import DatasetIdentity
from tests.data.declaring import FACTS, HEADER, csv_of, declared, facts, stones

GOOD = csv_of(*stones())
HOSTILE = ("</script><b>", "::error::x%0A", "\x1b[2J", "\u202eabc", "=cmd|'x'!A1", "x" * 20_000, "😀")


def refusal(folder: Path, *files: dict[str, Any], **changes: Any) -> str:
    with pytest.raises(ConfigError) as refused:
        declared(folder, *files, **changes)
    return str(refused.value)


def test_a_csv_becomes_examples_by_its_map_and_goes_on_record_with_hash_and_licence(tmp_path: Path) -> None:
    config, found = declared(tmp_path, facts(GOOD))
    data = found["mine"]
    assert data.examples[:2] == (
        Example(id="1", prompt="", completion="Stone 0 is red.", label=True, group="s0"),
        Example(id="2", prompt="", completion="Stone 0 is blue.", label=False, group="s0"),
    )
    assert (data.class_names, data.language, len(data.examples)) == (("false", "true"), "en", 12)
    card = DatasetIdentity.of(data).card
    assert card["licence"] == "CC0-1.0"
    assert card["file: 1"] == f"facts.csv: 12 rows, sha256 {sha256_hex(GOOD.encode())}, CC0-1.0"
    assert config.datasets["mine"].files[0].sha256 == sha256_hex(GOOD.encode())


def test_the_record_holds_a_file_name_and_no_path(tmp_path: Path) -> None:
    config, found = declared(tmp_path, facts(GOOD, path=str(tmp_path / "facts.csv")))
    assert config.datasets["mine"].files[0].path == "facts.csv"
    assert str(tmp_path) not in json.dumps([config.model_dump(mode="json"), dict(found["mine"].card)])


def test_json_lines_with_numbers_and_switches_mean_what_csv_means(tmp_path: Path) -> None:
    lines = [
        json.dumps({"statement": f"Stone {i} is {word}.", "correct": label, "stone": i})
        for i in range(6)
        for word, label in (("red", True), ("blue", False))
    ]
    file = facts("\n".join(lines) + "\n", path="facts.jsonl", positive=["True"], negative=["false"])
    _, found = declared(tmp_path, file)
    assert [(e.label, e.group) for e in found["mine"].examples[:2]] == [(True, "0"), (False, "0")]


def test_several_files_make_one_data_set_and_their_ids_do_not_clash(tmp_path: Path) -> None:
    negated = csv_of(*(row.replace(" is ", " is not ") for row in stones()))
    parts = [facts(GOOD, values={"polarity": "affirmed"})]
    parts.append(facts(negated, path="negated.csv", values={"polarity": "negated"}, positive=["no"], negative=["yes"]))
    _, found = declared(tmp_path, *parts)
    ids = {example.id: example for example in found["mine"].examples}
    assert (ids["1/1"].polarity, ids["2/1"].polarity) == ("affirmed", "negated")
    assert (ids["1/1"].label, ids["2/1"].label) == (True, False)


def test_rows_that_are_not_kept_are_counted(tmp_path: Path) -> None:
    rows = csv_of(*stones(), "Nobody knows stone 9.,unclear,s9")
    assert "the label 'unclear' is listed neither" in refusal(tmp_path, facts(rows))
    _, found = declared(tmp_path, facts(rows, keep={"correct": ["yes", "no"]}))
    assert "12 rows, 1 left out" in DatasetIdentity.of(found["mine"]).card["file: 1"]
    assert "leaves no row of 13" in refusal(tmp_path, facts(rows, keep={"correct": ["perhaps"]}))


def test_rows_that_are_groups_of_their_own_are_said_to_be_treated_as_independent(tmp_path: Path) -> None:
    columns = {"completion": "statement", "label": "correct"}
    each = facts(csv_of(*stones(20)), columns=columns, group="each")
    _, alone = declared(tmp_path, each, probes={"refusal_behaviour": {}})
    assert "rows were treated as independent" in alone["mine"].card["groups"]
    _, grouped = declared(tmp_path, facts(GOOD))
    assert grouped["mine"].card["groups"] == "6, the largest of 2 examples"
    _, mixed = declared(tmp_path, facts(GOOD), each | {"path": "each.csv"}, probes={"refusal_behaviour": {}})
    assert "46, the largest of 2 examples, 40 of them of one row, which is treated" in mixed["mine"].card["groups"]


def test_leakage_and_balance_are_checked_and_said(tmp_path: Path) -> None:
    leaky = csv_of(*stones(60), "Stone 0 is red.,no,s0", "Stone 1 is red.,yes,s1", "Stone x is red.,yes,s99")
    columns = FACTS["columns"] | {"pair": "stone"}
    _, found = declared(tmp_path, facts(leaky))
    told, _, unpaired = str(found["mine"].card["checks"]).rpartition("; ")
    assert unpaired.startswith("no pairs are named")
    assert told == (
        "texts that carry both labels: 1; texts that stand there more than once: 1; groups that hold one class only: 1"
    )
    _, clean = declared(tmp_path, facts(csv_of(*stones(60)), columns=columns))
    assert clean["mine"].card["checks"] == "nothing found"


def test_the_comparison_digest_changes_with_the_data_and_not_with_its_place(tmp_path: Path) -> None:
    def digest(text: str, name: str, **changes: Any) -> str:
        config, found = declared(tmp_path, facts(text, path=name, **changes))
        return comparison_digest(config, {data.name: data.sha256 for data in found.values()}, None)

    first = digest(GOOD, "a.csv")
    assert first == digest(GOOD, "b.csv")
    assert first != digest(GOOD.replace("red", "tan"), "a.csv")
    assert first != digest(GOOD, "a.csv", positive=["no"], negative=["yes"])


def test_a_config_without_data_sets_reads_and_hashes_as_before() -> None:
    assert "datasets" not in AuditConfig().model_dump(mode="json")
    assert config_digest(AuditConfig()) == config_digest(AuditConfig(datasets={}))


def test_what_was_read_reaches_the_measuring_process_as_it_is(tmp_path: Path) -> None:
    _, found = declared(tmp_path, facts(csv_of(*stones(), *(f'"{h}",yes,s1' for h in HOSTILE))))
    sent = TypeAdapter(Job.model_fields["data"].annotation)
    assert sent.validate_json(sent.dump_json(found)) == found


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (b"\xef\xbb\xbf" + GOOD.encode(), "begins with a byte order mark; save it as UTF-8 without one"),
        (GOOD.encode("utf-16"), "not UTF-8 text"),
        (csv_of(*stones(), "Stone é.,yes,s1").encode("latin-1"), "not UTF-8 text"),
        ("", "holds no rows"),
        (HEADER + "\n", "holds no rows"),
        (csv_of(*stones(), "Stone 7 is red.,yes"), "facts.csv:14: 2 cells, and the header has 3"),
        (csv_of(*stones(), "a,yes,s1,more"), "facts.csv:14: 4 cells"),
        (csv_of('"two\nlines",yes,s0', "a,yes"), "facts.csv:4: 2 cells"),
        (csv_of(*stones(), '"never closed,yes,s1'), "facts.csv:14: not CSV"),
        (csv_of(*stones(), '"a"b,yes,s1'), "facts.csv:14: not CSV"),
        ("statement,correct,stone,correct\na,yes,s,no\n", "two columns are named 'correct'"),
        (GOOD.replace("statement", "statemnt", 1), "files.0: no column 'statement'; did you mean 'statemnt'?"),
        (csv_of(*stones(), "Stone 7 is red.,maybe,s7"), "facts.csv:14: the label 'maybe' is listed neither"),
        (csv_of(*stones(), ",yes,s7"), "facts.csv:14: the text is empty"),
        (csv_of(*stones(), "Stone 7 is red.,yes,"), "facts.csv:14: the group is empty"),
        (csv_of(*stones(), "x" * (1 << 20) + ",yes,s7"), "facts.csv:14: a line of more than 1,048,576 characters"),
        (csv_of(*stones(), "x" * 200_000 + ",yes,s7"), "facts.csv:14: not CSV (field larger than field limit"),
        (csv_of(*stones(3)), "mine: 3 groups cannot be split"),
        (csv_of(*(row for row in stones(9) if "yes" in row)), "mine: the fit split holds one class only"),
    ],
    ids=lambda value: value[:40] if isinstance(value, str) and len(value) < 100 else "",
)
def test_a_broken_csv_is_refused_by_file_and_row(tmp_path: Path, text: str | bytes, says: str) -> None:
    fitted = {"truth_probe": {"params": {"fit_on": "mine", "transfer_to": []}}}
    assert says in refusal(tmp_path, facts(text), probes=fitted)


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("{", "facts.jsonl:2: not JSON"),
        ("", "facts.jsonl:2: not JSON"),
        ("[1]", "facts.jsonl:2: a JSON object"),
        ("[" * 50_000, "facts.jsonl:2: not JSON"),
        ('{"statement": NaN}', "facts.jsonl:2: not JSON"),
        ('{"statement": "a", "correct": "yes"}', "facts.jsonl:2: no column 'stone'"),
        ('{"statement": ["a"], "correct": "yes", "stone": "s"}', "facts.jsonl:2: statement holds list, not text"),
        ('{"statement": null, "correct": "yes", "stone": "s"}', "facts.jsonl:2: the text is empty"),
        ('{"statement": "a\\ud800", "correct": "yes", "stone": "s"}', "facts.jsonl:2: holds half a character"),
    ],
    ids=range(9),
)
def test_a_broken_line_of_json_is_refused_by_file_and_row(tmp_path: Path, line: str, says: str) -> None:
    good = json.dumps({"statement": "Stone.", "correct": "yes", "stone": "s"})
    assert says in refusal(tmp_path, facts(f"{good}\n{line}\n", path="facts.jsonl"))


def test_a_file_too_large_or_with_too_many_rows_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (tmp_path / "facts.csv").open("wb") as file:
        file.truncate(100 << 20)  # one line of 100 MiB
    unwritten = {key: value for key, value in facts("").items() if key != "text"}
    assert "facts.csv: larger than 64 MiB" in refusal(tmp_path, unwritten)
    monkeypatch.setattr(tables, "MAX_ROWS", 11)
    assert "more than 11 rows" in refusal(tmp_path, facts(GOOD))


def test_a_file_that_is_missing_or_another_one_is_refused(tmp_path: Path) -> None:
    gone = refusal(tmp_path, {"path": "gone.csv", **FACTS})
    assert "datasets.mine.files.0.path: " in gone
    assert gone.endswith("gone.csv: no such file")
    assert "not a file" in refusal(tmp_path, {"path": ".", "format": "csv", **FACTS})
    assert "is not the file that was declared" in refusal(tmp_path, facts(GOOD, sha256="0" * 64))
    digest = sha256_hex(GOOD.encode())
    assert declared(tmp_path, facts(GOOD, sha256=digest.upper()))[0].datasets["mine"].files[0].sha256 == digest


def test_an_id_used_twice_is_refused_with_both_rows(tmp_path: Path) -> None:
    columns = FACTS["columns"] | {"id": "stone"}
    told = refusal(tmp_path, facts(GOOD, columns=columns))
    assert "facts.csv:3: the id 's0' was used at" in told
    assert told.endswith("facts.csv:2")


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"licence": " "}, "files.0.licence: say under which terms"),
        ({"columns": {"completion": "statement", "label": "correct"}}, "groups never straddle a split"),
        ({"group": "each"}, "groups never straddle a split"),
        ({"columns": {"label": "correct", "group": "stone"}}, "map prompt, completion or both"),
        ({"positive": []}, "positive, negative: list the values"),
        ({"positive": ["yes", "NO"]}, "'no' is listed as positive and as negative"),
        ({"label": "positive"}, "say once where the label comes from"),
        (
            {"values": {"kind": "a"}, "columns": FACTS["columns"] | {"kind": "stone"}},
            "given by a column and as a value",
        ),
        ({"preset": "xtest_safe"}, "no preset named 'xtest_safe'; did you mean 'xstest_safe'?"),
        ({"hub": "org/name"}, "give path: or hub:"),
        ({"split": "train"}, "subset and split are of a data set on the Hub"),
        ({"path": "facts.tsv"}, "say csv, jsonl or json"),
        ({"options": {"positive": "a", "negative": "b"}}, "say once where the label comes from"),
    ],
    ids=range(13),
)
def test_a_declaration_that_is_not_whole_is_refused_with_a_way_out(
    tmp_path: Path, changes: dict[str, Any], says: str
) -> None:
    assert says in refusal(tmp_path, facts(GOOD, **changes))


def test_rows_that_a_column_pairs_are_told_from_rows_that_stand_alone(tmp_path: Path) -> None:
    columns = FACTS["columns"] | {"pair": "stone"}
    _, found = declared(tmp_path, facts(csv_of(*stones()), columns=columns))
    assert found["mine"].card["groups"] == "6, the largest of 2 examples"
    options = {key: value for key, value in FACTS.items() if key == "licence"} | {
        "columns": {"prompt": "asked"},
        "options": {"positive": "good", "negative": "bad"},
        "group": "each",
    }
    rows = "asked,good,bad\n" + "".join(f"What is {i}?,it is {i},it is not {i}\n" for i in range(20))
    _, found = declared(tmp_path, {"path": "facts.csv", "text": rows, **options})
    assert str(found["mine"].card["groups"]).startswith("20, one for each row: rows were treated as independent")


def test_a_statement_and_its_negation_in_another_file_are_two_pairs_of_one_group(tmp_path: Path) -> None:
    columns = FACTS["columns"] | {"pair": "stone"}
    negated = [row.replace(" is ", " is not ") for row in stones()]
    negated = [row.replace(",yes,", ",?,").replace(",no,", ",yes,").replace(",?,", ",no,") for row in negated]
    parts = {"affirmed": csv_of(*stones()), "negated": csv_of(*negated)}
    files = [
        facts(text, columns=columns, values={"polarity": name}) | {"path": f"{name}.csv"}
        for name, text in parts.items()
    ]
    data = declared(tmp_path, *files)[1]["mine"]
    pairs: dict[str, list[Example]] = {}
    for example in data.examples:
        pairs.setdefault(example.pair, []).append(example)
    assert len(pairs) == 12
    assert all(
        {e.label for e in two} == {True, False} and len({e.polarity for e in two}) == 1 for two in pairs.values()
    )
    assert data.card["groups"] == "6, the largest of 4 examples"
    assert "broken pairs" not in str(data.card["checks"])


def test_a_switch_that_yaml_made_of_a_word_is_explained() -> None:
    with pytest.raises(ValidationError, match="put the value in quotes"):
        DataFile.model_validate({"positive": [True]})
    with pytest.raises(ValidationError, match="put the value in quotes"):
        DataSet.model_validate({"language": "en", "class_names": [False, True], "files": [{"path": "a.csv"}]})


@pytest.mark.parametrize(
    ("params", "says"),
    [
        ({"fit_on": "mien"}, "probes.truth_probe.params.fit_on: no data set named 'mien'; did you mean 'mine'?"),
        ({"transfer_to": ["mine", "truth_citis"]}, "params.transfer_to.1: no data set named 'truth_citis'; did you"),
    ],
    ids=["one", "entry"],
)
def test_a_name_that_no_data_set_has_is_refused_with_the_known_ones(
    tmp_path: Path, params: dict[str, Any], says: str
) -> None:
    assert says in refusal(tmp_path, facts(GOOD), probes={"truth_probe": {"params": params}})
    declared(tmp_path, facts(csv_of(*stones(40))), probes={"truth_probe": {"params": {"fit_on": "mine"}}})


@pytest.mark.parametrize("probe", ["refusal_behaviour", "refusal_direction"])
def test_requests_may_be_of_one_class_and_an_unknown_set_is_refused(tmp_path: Path, probe: str) -> None:
    harmful = facts(GOOD, columns={"prompt": "statement", "group": "stone"}, label="positive", positive=[], negative=[])
    _, found = declared(tmp_path, harmful, probes={probe: {"params": {"requests": "mine"}}})
    assert str(found["mine"].card["checks"]).startswith("one class only")
    assert "no data set named 'yours'" in refusal(tmp_path, harmful, probes={probe: {"params": {"requests": "yours"}}})


def test_traits_are_checked_too(tmp_path: Path) -> None:
    asked = {"steering_response": {"params": {"traits": ["trait_sentiment", "trait_miopia"]}}}
    told = refusal(tmp_path, facts(GOOD), probes=asked)
    assert "steering_response.params.traits.1: no data set named 'trait_miopia'; did you mean 'trait_myopia'?" in told


def test_the_name_of_a_shipped_set_is_taken_and_odd_names_are_refused(tmp_path: Path) -> None:
    own = {"language": "en", "class_names": ["a", "b"], "files": [{"path": "x.csv"}]}
    for name, says in (("truth_cities", "is shipped; choose another"), ("\x1b[2J", "a name is made of a-z")):
        config = AuditConfig.model_validate({"datasets": {name: own}, "probes": {"truth_probe": {}}})
        with pytest.raises(ConfigError, match=says):
            read_declared(config, load_probes(["truth_probe"]), root=tmp_path)


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_text_is_kept_as_it_is_and_never_printed_raw(tmp_path: Path, text: str) -> None:
    quoted = '"' + text.replace('"', '""') + '"'
    _, found = declared(tmp_path, facts(csv_of(*stones(), f"{quoted},yes,s1")))
    assert found["mine"].examples[-1].completion == text
    told = refusal(tmp_path, facts(csv_of(*stones(), f"a,{quoted},s1")))
    assert "\x1b" not in told
    assert "\u202e" not in told
    assert len(told) < 1000
