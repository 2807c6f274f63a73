"""The questions of the battery, one file each."""
