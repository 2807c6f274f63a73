"""The exceptions of auditor, each with the exit code it ends a command with.

    AuditorError                    anything the user can act on; the message names the place and the way out
    ├── ConfigError          (2)    unknown key, probe, battery or measurement; a missing path
    ├── OutputError          (2)    the run folder cannot be used: not empty, read-only
    ├── UnsupportedModel     (2)    the load checks failed; says which
    ├── UnsafeCheckpoint     (4)    refused before loading
    ├── IncompleteRun        (3)    the measuring process ended early; finished units are kept
    ├── VerifyMismatch       (1)    a stored number, hash or finding cannot be reproduced
    └── AuditError                  raised inside a probe: becomes that probe's result, never ends the run
        ├── ProbeFailed             the probe could not do its work: counts against coverage
        └── Abstention              the probe ran and declines to answer: counts as run
            ├── NotQualified        an instrument did not prove itself on this model
            └── NotTestable         the model shows nothing to test (or too few items do)

Every other exception that reaches the top is a defect of auditor and ends with exit code 3.
"""

from __future__ import annotations


class AuditorError(Exception):
    """Anything the user can act on."""

    exit_code = 2


class ConfigError(AuditorError):
    """The configuration or the command line cannot be used as written."""


class OutputError(AuditorError):
    """The run folder cannot be used."""


class UnsupportedModel(AuditorError):
    """The checkpoint is safe to load but fails a structural or numerical check."""


class UnsafeCheckpoint(AuditorError):
    """The checkpoint is refused before any of it is loaded."""

    exit_code = 4


class IncompleteRun(AuditorError):
    """The measuring process ended before its work was done."""

    exit_code = 3


class VerifyMismatch(AuditorError):
    """Something stored in a run folder cannot be reproduced from its evidence."""

    exit_code = 1


class AuditError(AuditorError):
    """Raised inside a probe: becomes the result of that probe."""

    exit_code = 3


class ProbeFailed(AuditError):
    """The probe could not do its work."""


class Abstention(AuditError):
    """The probe ran and declines to answer, with a reason."""


class NotQualified(Abstention):
    """An instrument did not prove itself on the model under audit."""


class NotTestable(Abstention):
    """The model shows too little of a behaviour for the question to be asked."""
