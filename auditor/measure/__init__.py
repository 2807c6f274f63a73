"""The vocabulary that probes are written in. No torch, but for the bench and its runner."""
