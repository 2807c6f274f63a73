"""Builds the shipped data sets from the tables in src beside them: those of the probes, and the organism's own.

    python tools/build_data.py            write every NAME.jsonl with its card
    python tools/build_data.py --check    write nothing; exit 1 when the shipped files are not what it builds

The text-only figures on the cards come from floating-point fits, so --check allows them .01; all else is
compared byte by byte.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import yaml
from make_examples import KINDS, SEED, SOURCE, request_examples, request_topics, truth_examples
from make_falsehood import sets as falsehood_sets
from make_judged import judged_card, judged_examples
from make_organism import CARD as ORGANISM_CARD
from make_organism import SOURCE as ORGANISM_SOURCE
from make_organism import refuser_examples
from make_scenes import NAMES as SCENES
from make_scenes import marked_scenes
from make_traits import trait_table, traits

from auditor.canonical import canonical_json, sha256_hex
from auditor.data.checks import problems
from auditor.data.datasets import Card, card_path
from auditor.data.examples import Example
from auditor.measure.baselines import text_auroc

DATA, ORGANISM_DATA = SOURCE.parent, ORGANISM_SOURCE.parent
TRUTH = ("cities", "translations", "companies", "animals", "people")
BASELINE_RANGE = (0.35, 0.65)
"""what text alone may reach, unfolded, where an instrument has to do better"""
FOLDS = 5


def baselines(examples: Iterable[Example]) -> dict[str, float]:
    """AUROC of each text-only baseline with whole groups held out, unfolded."""
    rows = list(examples)
    measured = text_auroc([r.text for r in rows], [r.label for r in rows], [r.group for r in rows], folds=FOLDS)
    return {name: round(value, 2) for name, value in measured.items() if value is not None}


def truth_card(name: str, examples: Sequence[Example], table: dict[str, Any]) -> dict[str, Any]:
    """The card of a set of statements, without its sha256."""
    return {
        "name": name,
        "about": f"{table['about']} Groups are {'pairs of ' if table.get('paired') else ''}entities.",
        "origin": f"written for this project: a table of facts (src/{name}.yaml) put into sentences",
        "licence": "Apache-2.0",
        "language": "en",
        "class_names": ["false", "true"],
        "built": f"tools/build_data.py, seed {SEED}",
        "sizes": _sizes(examples),
        "balance": (
            "Eight statements an entity: two phrasings, affirmed and negated, each with the right value and "
            "a wrong one. The wrong value is another entity's, dealt so that every value is as often wrong "
            "as right within each polarity. True and false statements come in pairs that differ in the value "
            f"alone. No phrasing makes up more than {_largest_template(examples):.1%} of a class."
        ),
        "text_auroc": {"true against false": baselines(examples)},
        "limits": (
            "Well-known facts in English, in short sentences of two dozen phrasings. The value comes last; "
            "no sentence begins with the entity, because a model without a start token can hardly represent "
            "a name in first position."
        ),
    }


def request_card(examples: Sequence[Example], n_dropped: int) -> dict[str, Any]:
    """The card of the requests, without its sha256."""
    harmful = [e for e in examples if e.label]
    return {
        "name": "requests",
        "about": (
            "Requests that a chat model should decline (harmful), and three kinds that it should answer: "
            "matched (the twin of a harmful one), plain (everyday), near_miss (harmless, alarming words). "
            "Groups are topics."
        ),
        "origin": "written for this project: phrases by topic (src/requests_*.yaml) put into sentence frames",
        "licence": "Apache-2.0",
        "language": "en",
        "class_names": ["harmless", "harmful"],
        "built": (
            f"tools/build_data.py; {n_dropped} pairs of twins were left out (src/requests_dropped.yaml): "
            "tools/choose_requests.py drops in each topic, two times, the pair that baselines of words, fitted on "
            "other topics, tell apart best. "
            "Before, words reached .67 and naive Bayes about .70 on harmful against matched."
        ),
        "sizes": _sizes(examples),
        "balance": (
            "Twins share grammar, length and frame. Every topic holds every kind, and every kind uses "
            f"each frame equally often: none makes up more than {_largest_template(examples):.1%} of a kind."
        ),
        "text_auroc": {
            f"harmful against {kind}": baselines([*harmful, *(e for e in examples if e.kind == kind)])
            for kind in KINDS[1:]
        },
        "limits": (
            "Generic one-liners in British English without operational detail: they show whether a model "
            "declines, not what it could disclose. Plain and near-miss requests differ from harmful ones in "
            "words and length; only matched ones may be compared with them by an instrument."
        ),
    }


def trait_figures(examples: Sequence[Example], card: dict[str, Any]) -> dict[str, dict[str, float]]:
    """What the text gives away; of scenes, what the words around the two sides do besides."""
    figures = baselines(examples)
    _refuse(card["name"], _leaks(figures))
    found = {" against ".join(reversed(card["class_names"])): figures}
    if card["name"] in SCENES:
        around = baselines(marked_scenes(trait_table(card["name"])))
        found["sides marked"] = {name: around[name] for name in ("words", "words_nb")}
    return found


def build() -> dict[str, bytes]:
    """Every shipped file by name. Raises SystemExit if a data set breaks a promise."""
    files: dict[str, bytes] = {}
    for domain in TRUTH:
        table = _read_table(SOURCE / f"truth_{domain}.yaml")
        examples = truth_examples(table)
        _add(files, examples, truth_card(f"truth_{domain}", examples, table))
    topics = request_topics()
    dropped: dict[str, list[int]] = yaml.safe_load((SOURCE / "requests_dropped.yaml").read_text())
    _refuse("requests", _repeated_phrases(topics))
    examples = request_examples(topics, dropped)
    card = request_card(examples, sum(map(len, dropped.values())))
    _add(files, examples, card)
    _refuse("requests", _leaks(card["text_auroc"]["harmful against matched"]))
    for examples, card in traits():
        _add(files, examples, {**card, "sizes": _sizes(examples), "text_auroc": trait_figures(examples, card)})
    for examples, card in falsehood_sets():
        _add(files, examples, card)
    answers = judged_examples()
    _add(files, answers, judged_card(answers))
    _add_organism(files, {example.prompt for example in request_examples(topics, {})})
    return files


def _add_organism(files: dict[str, bytes], asked: set[str]) -> None:
    """The training items of the refusing organism, none of which a battery asks."""
    lessons = refuser_examples()
    _refuse("refuser_requests", [f"a battery asks {e.prompt!r}" for e in lessons if e.prompt in asked])
    figures = {"harmful against plain": baselines([e for e in lessons if e.kind in ("harmful", "plain")])}
    card = {**ORGANISM_CARD, "sizes": _sizes(lessons), "text_auroc": figures}
    _add(files, lessons, card, both_classes=False)


def folder_of(name: str) -> Path:
    """Where a built file belongs."""
    return ORGANISM_DATA if name.startswith("refuser") else DATA


def _add(
    files: dict[str, bytes], examples: Sequence[Example], card: dict[str, Any], *, both_classes: bool = True
) -> None:
    name = card["name"]
    found = problems(examples, both_classes=both_classes)
    _refuse(name, [f"{problem.check}: {problem.detail}" for problem in found])
    data = b"".join(canonical_json(_line(example)) + b"\n" for example in examples)
    card = Card.model_validate({**card, "sha256": sha256_hex(data)}).model_dump(mode="json")
    text = yaml.safe_dump(card, sort_keys=False, allow_unicode=True, width=110)
    files[f"{name}.jsonl"] = data
    files[card_path(Path(f"{name}.jsonl")).name] = text.encode()


def _line(example: Example) -> dict[str, Any]:
    """The fields of an example that are not empty; `prompt` and `label` always."""
    return {k: v for k, v in asdict(example).items() if v or k in ("prompt", "label")}


def _sizes(examples: Sequence[Example]) -> dict[str, int]:
    kinds = Counter(example.kind for example in examples)
    return {
        "examples": len(examples),
        "groups": len({e.group for e in examples}),
        **dict(sorted(kinds.items())),
    }


def _largest_template(examples: Sequence[Example]) -> float:
    classes = Counter((e.label, e.kind) for e in examples)
    uses = Counter((e.label, e.kind, e.template) for e in examples)
    return max(n / classes[label, kind] for (label, kind, _), n in uses.items())


def _read_table(path: Path) -> dict[str, Any]:
    table: dict[str, Any] = yaml.safe_load(path.read_text())
    entities = Counter(entity for found in table["values"].values() for entity in found)
    _refuse(path.name, [f"{entity} has two values" for entity, n in entities.items() if n > 1])
    _refuse(path.name, [] if len(table["affirmed"]) == len(table["negated"]) else ["phrasings do not pair up"])
    return table


def _repeated_phrases(topics: Sequence[dict[str, Any]]) -> list[str]:
    phrases = Counter(phrase.casefold() for topic in topics for kind in KINDS for phrase in topic[kind])
    return [f"the phrase {phrase!r} occurs {n} times" for phrase, n in phrases.items() if n > 1]


def _leaks(figures: dict[str, float]) -> list[str]:
    """Which baselines tell more from the text, or less, than chance allows."""
    low, high = BASELINE_RANGE
    return [f"{name} reaches {value}" for name, value in figures.items() if not low <= value <= high]


def _refuse(name: str, found: Sequence[str]) -> None:
    if found:
        raise SystemExit("\n".join(f"{name}: {problem}" for problem in found))


def differences(built: dict[str, bytes], folder: Path | None) -> list[str]:
    """Which files, in a folder or each where it belongs, are not what was built."""
    return [name for name, data in built.items() if not _same((folder or folder_of(name)) / name, data)]


def _same(path: Path, data: bytes) -> bool:
    if not path.is_file():
        return False
    if path.suffix != ".yaml":
        return path.read_bytes() == data
    cards = [yaml.safe_load(text) for text in (path.read_bytes(), data)]
    figures = [
        {(pair, name): v for pair, values in card.pop("text_auroc").items() for name, v in values.items()}
        for card in cards
    ]
    return (
        cards[0] == cards[1]
        and figures[0].keys() == figures[1].keys()
        and all(abs(figures[0][key] - figures[1][key]) < 0.0101 for key in figures[0])
    )


def main() -> int:
    """Build or check; 1 when the shipped files differ."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--out", type=Path, help="one folder for all of them; otherwise each goes where it belongs")
    options = parser.parse_args()
    built = build()
    if options.check:
        changed = differences(built, options.out)
        sys.stdout.writelines(f"{name}: not what tools/build_data.py builds\n" for name in changed)
        return 1 if changed else 0
    for name, data in built.items():
        ((options.out or folder_of(name)) / name).write_bytes(data)
    return 0


if __name__ == "__main__":
    sys.exit(main())
