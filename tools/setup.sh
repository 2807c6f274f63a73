#!/usr/bin/env bash
# Everything that `make demo` and `make test` need on a fresh machine: .venv, pinned libraries, Pango for the PDF.
set -euo pipefail
cd "$(dirname "$0")/.."
python="${PYTHON:-python3}"

"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
  echo "auditor needs Python 3.11 or newer; $("$python" --version) was found. Set PYTHON=/path/to/python3.11." >&2
  exit 1
}
[ -x .venv/bin/python ] || "$python" -m venv .venv
# torch first and by its exact version: the CPU build, where the index offers one
.venv/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt torch
.venv/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt \
  --editable '.[adapters,dev,sign]'

pdf_ready() { .venv/bin/python -c 'import weasyprint' >/dev/null 2>&1; }
packages="libpango-1.0-0 libpangoft2-1.0-0 libharfbuzz0b libharfbuzz-subset0"
if ! pdf_ready || ! ldconfig -p 2>/dev/null | grep -q harfbuzz-subset; then
  if command -v apt-get >/dev/null; then
    as_root=""
    [ "$(id -u)" = 0 ] || as_root="sudo -n"
    # shellcheck disable=SC2086  # both are lists of words
    { $as_root apt-get update -qq && $as_root apt-get install -y -qq $packages; } >/dev/null 2>&1 || true
  fi
  pdf_ready || {
    echo "The PDF report needs Pango, which could not be installed here. HTML reports work without it." >&2
    echo "On Debian or Ubuntu: sudo apt-get install $packages; on macOS: brew install pango" >&2
  }
fi
