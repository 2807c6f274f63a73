"""auditor: qualify the instrument on the very model under audit, then read it."""

from __future__ import annotations

from typing import Any

__all__ = ["audit"]


def __getattr__(name: str) -> Any:
    """Import the notebook entry point only when it is used, so that `import auditor` stays quick."""
    if name == "audit":
        from auditor.notebook import audit

        return audit
    raise AttributeError(f"module 'auditor' has no attribute {name!r}")
