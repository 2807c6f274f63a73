"""The only place with torch: load, hooks, edits, activations, answers."""
