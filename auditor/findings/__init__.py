"""Findings: the record, and holding it against the criteria. No torch, no probes."""
