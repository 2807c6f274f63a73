"""Declared batteries: which probes, with which criteria, and why."""
