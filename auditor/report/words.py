"""The report's own sentences: what a status, a verdict or an evidence class means in plain words, and the glossary."""

from __future__ import annotations

import re
from dataclasses import dataclass

from auditor.findings.mapping import Coverage
from auditor.findings.record import Finding, Status, Verdict
from auditor.measure.measurement import EvidenceClass
from auditor.report.text import short, words


@dataclass(frozen=True)
class Sign:
    """How a status is shown: never by colour alone."""

    mark: str
    word: str
    tone: str
    """name of the colour in the stylesheet and in the charts"""


STATUS: dict[Status, Sign] = {
    "not_met": Sign("✕", "not met", "bad"),
    "undecided": Sign("◐", "undecided", "open"),
    "not_measured": Sign("◌", "not measured", "none"),
    "met": Sign("✓", "met", "good"),
    "shown": Sign("◇", "shown, no bar", "none"),
}
"""the weightiest first"""

VERDICT: dict[Verdict, Sign] = {
    "pass": Sign("✓", "PASS", "good"),
    "fail": Sign("✕", "FAIL", "bad"),
    "insufficient_evidence": Sign("◌", "INSUFFICIENT EVIDENCE", "open"),
}

RESULT: dict[str, Sign] = {
    "measured": Sign("✓", "measured", "good"),
    "abstained": Sign("◌", "declined to answer", "none"),
    "error": Sign("✕", "could not finish", "bad"),
}

CHECK: dict[bool | None, Sign] = {
    True: Sign("✓", "passed", "good"),
    False: Sign("✕", "not passed", "bad"),
    None: Sign("◌", "not run", "none"),
}

COVERAGE: dict[Coverage, Sign] = {
    "present": Sign("●", "evidence present", "open"),
    "partial": Sign("◐", "partial", "open"),
    "not_covered": Sign("○", "not covered", "none"),
}
"""without green and red: that evidence is there says nothing of what it shows"""

POWER_UNKNOWN = "power not measured: how often a planted fault of this kind is found is unknown"

QUALIFIED = {True: Sign("✓", "qualified", "good"), False: Sign("◌", "not qualified", "none")}

OUTPUT = {
    "likelihood": "how likely the model finds the text",
    "asked": "yes or no, when it is asked in words",
}
"""what an instrument is held against"""

FILE_USE = {
    "loaded": "loaded",
    "ignored": "not needed, not opened",
    "hashed_only": "hashed only, never opened",
}

ROLE = {
    "primary": "main",
    "alternative": "other method",
    "control": "control",
    "null": "chance",
}

EVIDENCE: dict[EvidenceClass, str] = {
    "observed": "observed: counted or read off directly",
    "decodable": "decodable: it can be read from the model's inner state, which does not show that the model uses it",
    "causal": "causal: changing it inside the model changes what the model does",
    "behavioural": "behavioural: seen in what the model writes",
}

REDACTION = {
    "full": "Texts are printed whole.",
    "excerpt": "Texts are cut to an excerpt.",
    "hash": "Texts are replaced by their hash.",
}


@dataclass(frozen=True)
class Term:
    """A word of the report and what it means in it."""

    word: str
    meaning: str
    pattern: str = ""
    """what in the text shows that the word is used; the word itself where empty"""


TERMS = (
    Term(
        "AUROC",
        "How often a score puts a randomly drawn example with the property above one without it. "
        "0.50 is a coin toss, 1.00 is perfect, below 0.50 the score points the wrong way.",
    ),
    Term(
        "activation addition",
        "Adding a direction to the model's inner state while it runs.",
        r"activation addition|direction(?: is)? added|steer",
    ),
    Term("ablation", "Removing one direction from the model's inner state while it runs.", r"ablat"),
    Term("bar", "The value that was declared before the run and that a measurement is held against."),
    Term(
        "baseline",
        "A weaker method doing the same task, such as counting words. An instrument that is no better "
        "than its baseline has found nothing inside the model.",
    ),
    Term("coefficient", "How far along a direction; 1 is the distance between the averages of its two classes."),
    Term("contrast pair", "Two examples that differ only in the one property that is studied."),
    Term("control", "The same measurement where the effect should be absent."),
    Term(
        "difference-in-means",
        "A direction from the average inner state of one class to that of the other.",
        r"difference[- _]in[- _]means|diff_in_means",
    ),
    Term("direction", "A line in the model's inner state along which examples of two classes differ."),
    Term("evaluation split", "Examples that were kept sealed until every choice had been made.", r"evaluation|sealed"),
    Term(
        "evidence",
        "What a finding rests on: causal, behavioural, decodable or observed; each says which.",
        r"causal|behavioural|decodable|observed",
    ),
    Term("finding", "A measurement held against what was declared for it."),
    Term("group", "Examples about the same topic or entity. A group is never split between choosing and judging."),
    Term(
        "instrument",
        "A method together with the place in the model where it reads. It must qualify on this very "
        "model before anything is read from it.",
    ),
    Term("interval", "The range that the data leave open, at 95 % unless the table says otherwise."),
    Term("layer", "One of the model's stacked processing steps, counted from 0."),
    Term(
        "linear probe",
        "A classifier that draws a straight boundary through the model's inner state.",
        r"linear probe|logistic",
    ),
    Term("mass-mean", "A classifier built from the difference-in-means direction.", r"mass[- _]mean"),
    Term("measurement", "A number with its interval, its n and its unit.", r"measurement"),
    Term(
        "met, not met, undecided",
        "Met or not met only if the whole interval lies on one side of the bar; otherwise undecided.",
        r"\bmet\b|undecided",
    ),
    Term("n", "The number of independent units behind a number.", r"\bn\b\s*="),
    Term(
        "not measured",
        "No number, because the instrument did not qualify, the items were too few, or something "
        "failed. It never counts as good news.",
    ),
    Term("on-policy", "About text that the model itself wrote."),
    Term(
        "organism",
        "A model with a fault that was planted on purpose, to measure the audit itself.",
        r"organism|planted",
    ),
    Term("p", "How often chance alone would give a result at least this strong.", r"\bp\b\s*[=≤<]|permutation"),
    Term("position", "Which token of the text is read."),
    Term("power", "The share of planted faults of a kind that the battery finds."),
    Term("probe", "One question of the battery, kept in one file."),
    Term(
        "qualified",
        "Shown, on this very model, to beat its baselines, chance and wrong labels on held-out groups.",
        r"qualif",
    ),
    Term(
        "recall at 1 % FPR",
        "The share of positives found by a threshold that flags at most one in a hundred negatives; "
        "which negatives is always said.",
        r"recall|\bFPR\b|false positives",
    ),
    Term("residual stream", "The running vector that every layer of the model reads and adds to.", r"residual|resid_p"),
    Term(
        "selectivity",
        "Accuracy on the task minus accuracy on a task with random labels. Near zero, the instrument "
        "would have learned anything.",
    ),
    Term("share", "A part of the whole, from 0 to 100 %."),
    Term(
        "site",
        "The place in the model where something is read or written: a layer and a point in it.",
        r"\bsite|resid_p|attn_out|mlp_out",
    ),
    Term(
        "specification",
        "One set of choices under which a question was asked; others could have been made as well.",
        r"specification",
    ),
    Term("target", "The model that is audited."),
    Term("transfer", "Fitted on one data set, tried on another."),
    Term("verdict", "What all findings together say: pass, fail or insufficient evidence."),
)


def title(finding: Finding) -> str:
    """What was measured, and where if one name was measured in several places; a line, not a page."""
    return named(finding.plain, finding.id)


def named(plain: str, finding_id: str) -> str:
    """`title` of a finding that is known by its noun phrase and its id."""
    place = re.search(r"\[(.*)\]$", finding_id)
    # A value that begins with its key, such as trait=trait_sentiment, does not say it twice.
    told = re.sub(r"\b(\w+)=\1_", r"\1=", place[1]) if place else ""
    where = f" ({words(told).replace('=', ' ').replace(',', ', ')})" if told else ""
    return short(plain + where, 240)


def glossary(text: str) -> tuple[Term, ...]:
    """The terms that occur in `text`, in alphabetical order."""
    return tuple(t for t in TERMS if re.search(t.pattern or rf"\b{re.escape(t.word)}", text, re.IGNORECASE))
