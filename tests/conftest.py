"""What holds for every test: which files start first, and how long one generated example may take. No fixtures."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import settings

LONGEST = ("demo/test_demo_model.py", "demo/test_refuser.py", "cli/test_run.py", "report/test_report_pdf.py")
"""files of ten seconds and more; started first, so that processes that share the suite end at the same time"""

# An example has 0.2 s by default, which a process that waits for its turn on a busy machine can miss.
settings.register_profile("suite", deadline=timedelta(seconds=2))
settings.load_profile("suite")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest files first and leave every other test in its place."""
    items.sort(key=_turn)


def _turn(item: pytest.Item) -> int:
    path = item.path.as_posix()
    return next((turn for turn, name in enumerate(LONGEST) if path.endswith(name)), len(LONGEST))
