"""Does a finding rest on choices that could have been others? Where it does, it is undecided. No torch, no files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from auditor.config_multiverse import Multiverse
from auditor.findings.multiplicity import corrected
from auditor.findings.record import Finding, MultiverseOutcome, SpecificationOutcome


def settled(
    findings: Sequence[Finding],
    others: Mapping[int, Mapping[str, Finding]],
    declared: Mapping[str, Multiverse],
) -> list[Finding]:
    """The findings after Holm's procedure; met and not met stand only where enough specifications agree.

    `others`: by the place of a finding, what it would be under each other specification. Each takes its place in the
    family, so that it is judged as the declared one is. `declared`: the multiverse of each probe.

    A specification that could not be measured agrees with nothing. A better estimate under any specification never
    gives a worse status: the share of *met* can only rise by it, that of *not met* only fall.
    """
    result = corrected(findings)
    for i, alternatives in others.items():
        if not alternatives:
            continue
        instead = {
            name: corrected([*findings[:i], other, *findings[i + 1 :]])[i] for name, other in alternatives.items()
        }
        result[i] = _held(result[i], instead, declared[findings[i].probe].same_status)
    return result


def _held(finding: Finding, instead: Mapping[str, Finding], needed: float) -> Finding:
    outcome = MultiverseOutcome(
        declared_status=finding.status,
        same=1 + sum(other.status == finding.status for other in instead.values()),
        of=1 + len(instead),
        needed=needed,
        others=tuple(
            SpecificationOutcome(specification=name, status=o.status, estimate=o.estimate, reason=o.reason)
            for name, o in instead.items()
        ),
    )
    update: dict[str, object] = {"multiverse": outcome}
    if finding.status in ("met", "not_met") and outcome.same / outcome.of < needed:
        differ = [other.specification for other in outcome.others if other.status != finding.status]
        update["status"] = "undecided"
        update["reason"] = (
            f"{finding.status.replace('_', ' ')} as declared, but {len(differ)} of {outcome.of} specifications say "
            f"otherwise ({', '.join(differ)}); at least {needed:.0%} must agree"
        )
    return finding.model_copy(update=update)
