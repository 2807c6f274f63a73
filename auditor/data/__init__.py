"""What a probe is asked about: examples, read, split by group and checked. No model, no torch."""
