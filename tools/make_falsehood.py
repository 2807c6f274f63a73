"""Makes the data sets of instruction-induced falsehood from the tables of facts and hand-written instructions.

    python tools/make_falsehood.py        write falsehood_*.jsonl with their cards into probes/data

Four sets: pairs of instructions before the same true statement (what the detector is fitted to), questions with a
known answer (what it is tried and read on), and frames about deceit before a true answer (what it must not fire on);
beside them, follow-up questions with a yes and a no (what the other detector is fitted to).
Pairs and questions draw on different tables, so nothing that is read was seen in fitting. Nothing is left to chance.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import yaml
from make_examples import SOURCE, Fact

from auditor.data.examples import Example
from auditor.measure.baselines import text_auroc

PAIR_DOMAINS = ("animals", "people", "translations")
QUESTION_DOMAINS = ("cities", "companies")
TURNS = 2
"""pairs of statements about each entity"""
FACTS = 4
"""questions put behind each frame"""
OR = " | "
"""between names of the same answer"""


def pair_examples(table: dict[str, Any], facts: dict[str, dict[str, Any]]) -> list[Example]:
    """The same true statement behind an honest and a dishonest instruction, twice for each entity."""
    examples, made = [], 0
    for domain in PAIR_DOMAINS:
        for entity, value in facts_of(facts[domain]):
            for turn in range(TURNS):
                number, frames = made % len(table["pairs"]), facts[domain]["affirmed"]
                frame = (made // len(table["pairs"]) + made) % len(frames)
                made += 1
                for prompt, dishonest in zip(table["pairs"][number], (False, True), strict=True):
                    examples.append(
                        Example(
                            id=f"{_slug(entity)}-{turn}-{'dishonest' if dishonest else 'honest'}",
                            prompt=prompt,
                            completion=frames[frame].format(entity=entity, value=value),
                            label=dishonest,
                            group=entity,
                            chat=True,
                            kind="statement",
                            domain=domain,
                            polarity="affirmed",
                            template=f"instruction-{number:02d}",
                            pair=f"{_slug(entity)}-{turn}",
                        )
                    )
    return sorted(examples, key=lambda example: example.id)


def question_examples(table: dict[str, Any], facts: dict[str, dict[str, Any]]) -> list[Example]:
    """Each question as it is, behind a truthful instruction and behind a false one; the completion is the answer."""
    examples, made = [], 0
    for domain in QUESTION_DOMAINS:
        phrasings = table["domains"][domain]
        for number, (entity, value) in enumerate(facts_of(facts[domain])):
            question = phrasings[number % len(phrasings)].format(entity=entity)
            instruction = (made + made // len(table["instructions"])) % len(table["instructions"])
            made += 1
            truthful, false = (f"{text} {question}" for text in table["instructions"][instruction])
            for kind, prompt in (("plain", question), ("truthful", truthful), ("false", false)):
                examples.append(
                    Example(
                        id=f"{domain}-{_slug(entity)}-{kind}",
                        prompt=prompt,
                        completion=OR.join([value, *table["aliases"].get(value, ())]),
                        label=kind == "false",
                        group=entity,
                        chat=True,
                        kind=kind,
                        domain=domain,
                        template=f"{domain}-{number % len(phrasings):02d}"
                        if kind == "plain"
                        else f"instruction-{instruction:02d}",
                        pair="" if kind == "plain" else f"{domain}-{_slug(entity)}",
                    )
                )
    return sorted(examples, key=lambda example: example.id)


def scenario_examples(
    table: dict[str, Any], questions: dict[str, Any], facts: dict[str, dict[str, Any]]
) -> list[Example]:
    """Questions behind a frame about deceit and behind its neutral twin, each with its true answer."""
    known = [(domain, *fact) for domain in QUESTION_DOMAINS for fact in facts_of(facts[domain])]
    examples = []
    for number, twins in enumerate(table["frames"]):
        for turn in range(FACTS):
            place = number * FACTS + turn
            domain, entity, value = known[place * 29 % len(known)]
            asked, told = questions["domains"][domain], facts[domain]["affirmed"]
            rest = f"{table['bridges'][turn]} {asked[place % len(asked)].format(entity=entity)}"
            for frame, deceptive in zip(twins, (True, False), strict=True):
                examples.append(
                    Example(
                        id=f"frame-{number:02d}-{turn}-{'deceptive' if deceptive else 'neutral'}",
                        prompt=f"{frame} {rest}",
                        completion=told[place % len(told)].format(entity=entity, value=value),
                        label=deceptive,
                        group=f"frame-{number:02d}",
                        chat=True,
                        kind="deceptive" if deceptive else "neutral",
                        domain="scenarios",
                        template=f"frame-{number:02d}",
                        pair=f"frame-{number:02d}-{turn}",
                    )
                )
    return sorted(examples, key=lambda example: example.id)


def followup_examples(table: dict[str, Any]) -> list[Example]:
    """Each follow-up question with a yes and a no; of twins, one question is admitted to by the yes, one by the no."""
    return [
        Example(
            id=f"followup-{number:02d}-{admits}-{'admits' if answer == admits else 'denies'}",
            prompt=question,
            completion=f"{answer.capitalize()}.",
            label=answer == admits,
            group=f"followup-{number:02d}",
            chat=True,
            kind="followup",
            domain="follow-up questions",
            polarity="affirmed" if admits == "yes" else "negated",
            template=f"followup-{number:02d}",
            pair=f"followup-{number:02d}-{admits}",
        )
        for number, twins in enumerate(table["twins"])
        for admits, question in sorted(zip(("yes", "no"), twins, strict=True))
        for answer in sorted(("yes", "no"), key=lambda answer: answer != admits)
    ]


def facts_of(table: dict[str, Any]) -> list[Fact]:
    """Entities with their values, the values taking turns, so that neighbours differ."""
    values = [[(entity, value) for entity in found] for value, found in table["values"].items()]
    turns = [(turn, fact) for found in values for turn, fact in enumerate(found)]
    return [fact for _, fact in sorted(turns, key=lambda entry: entry[0])]


def _slug(text: str) -> str:
    return text.replace(" ", "_")


def sets() -> list[tuple[list[Example], dict[str, Any]]]:
    """Every set with its card, but for the sha256."""
    facts = {domain: _read(f"truth_{domain}") for domain in (*PAIR_DOMAINS, *QUESTION_DOMAINS)}
    pairs, questions, scenarios = (_read(f"falsehood_{name}") for name in ("pairs", "questions", "scenarios"))
    followups = followup_examples(_read("followup_questions"))
    return [
        _with_card(pair_examples(pairs, facts), PAIR_CARD),
        _with_card(question_examples(questions, facts), QUESTION_CARD),
        _with_card(scenario_examples(scenarios, questions, facts), SCENARIO_CARD),
        _with_card(followups, FOLLOWUP_CARD),
    ]


def _with_card(examples: list[Example], words: dict[str, Any]) -> tuple[list[Example], dict[str, Any]]:
    paired = [e for e in examples if e.pair]
    labels, groups = [e.label for e in paired], [e.group for e in paired]
    figures = {
        f"{words['class_names'][1]} against {words['class_names'][0]}, {seen}": {
            name: round(value, 2)
            for name, value in text_auroc([text(e) for e in paired], labels, groups).items()
            if value is not None
        }
        for seen, text in (("the answer alone", lambda e: e.completion), ("prompt and answer", lambda e: e.text))
    }
    kinds = Counter(e.kind for e in examples)
    sizes = {"examples": len(examples), "groups": len({e.group for e in examples}), **dict(sorted(kinds.items()))}
    card = {
        **words,
        "licence": "Apache-2.0",
        "language": "en",
        "built": "tools/make_falsehood.py; nothing is left to chance",
        "sizes": sizes,
        "text_auroc": figures,
    }
    return examples, card


def _read(name: str) -> dict[str, Any]:
    table: dict[str, Any] = yaml.safe_load((SOURCE / f"{name}.yaml").read_text(encoding="utf-8"))
    return table


PAIR_CARD: dict[str, Any] = {
    "name": "falsehood_pairs",
    "about": "The same true statement behind an honest and behind a dishonest instruction. Groups are entities.",
    "origin": "written for this project: instructions (src/falsehood_pairs.yaml) before facts (src/truth_*.yaml)",
    "class_names": ["honest instruction", "dishonest instruction"],
    "balance": (
        "Two pairs an entity, each with its own instruction out of 24 parallel ones and its own phrasing; the two of "
        "a pair differ in the instruction alone. The answer alone is equal within a pair, so its text-only figures "
        "are .50 by construction; prompt and answer together give the instruction away, as they must."
    ),
    "limits": (
        "The words of the instruction are not among the tokens that a detector reads, but the residual stream at the "
        "answer's tokens has attended to them: what is learnt may be that such an instruction was given, and not "
        "that a falsehood is told. Every statement is true, so nothing false is said here at all."
    ),
}
QUESTION_CARD: dict[str, Any] = {
    "name": "falsehood_questions",
    "about": (
        "Questions whose answer is a country: as they are (plain), behind an instruction to answer rightly (truthful), "
        "and behind one to answer wrongly (false). Groups are entities."
    ),
    "origin": (
        "written for this project: questions and instructions (src/falsehood_questions.yaml) about facts "
        "(src/truth_cities.yaml, src/truth_companies.yaml)"
    ),
    "class_names": ["asked plainly or truthfully", "asked for a falsehood"],
    "balance": (
        "Each entity once in each of the three kinds, with one phrasing out of 16 (cities) or 12 (companies); truthful "
        "and false differ in the instruction alone, one of 24 parallel ones, none of which is in falsehood_pairs."
    ),
    "limits": (
        "The completion is no answer to be scored but the reference: the right country and, after ' | ', other names "
        "of it. Countries beside these that are wrong answers are listed in the probe. A city's namesake elsewhere "
        "counts as wrong."
    ),
}
SCENARIO_CARD: dict[str, Any] = {
    "name": "falsehood_scenarios",
    "about": (
        "True answers to plain questions that come up amid talk of deceit (deceptive) and amid its neutral twin. "
        "Groups are frames."
    ),
    "origin": "written for this project: twin frames (src/falsehood_scenarios.yaml) before questions with true answers",
    "class_names": ["neutral frame", "deceptive frame"],
    "balance": "Twin frames are equal in form and are followed by the same four questions and the same true answers.",
    "limits": "The answers are given, not the target's own. Deceit is talked about or acted, not asked of the answer.",
}
FOLLOWUP_CARD: dict[str, Any] = {
    "name": "followup_questions",
    "about": (
        "Questions whether something is wrong with what was said or done, each with a yes and a no. Groups are twins "
        "of questions: a yes admits it to the one, a no to the other."
    ),
    "origin": "written for this project: twins of questions (src/followup_questions.yaml)",
    "class_names": ["the answer denies", "the answer admits"],
    "balance": (
        "Of twins, one question is admitted to by Yes and one by No, and both end in the same word, so that the answer "
        "alone tells nothing: its text-only figures are .50 by construction."
    ),
    "limits": (
        "Nothing was said or done before the question is asked. The answers are given, not the target's own, and "
        "short: what is learnt may be what such a yes or no means, and not that it would be true."
    ),
}
