"""Before any weight is trusted: list, hash, judge, convert. No torch, but for the worker that converts."""
