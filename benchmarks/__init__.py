"""Side-by-side timings; see docs/benchmarks.md."""
