"""`python -m beats_core`: the `beats` command."""

from __future__ import annotations

from beats_core.cli import main

if __name__ == "__main__":
    main()
