"""`python -m shroff` is `shroff`."""

from __future__ import annotations

from shroff.cli.main import main

if __name__ == "__main__":
    main()
