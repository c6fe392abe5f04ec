# SPDX-License-Identifier: GPL-2.0-or-later
"""`python -m cgpot`: the command line."""

from cgpot.cli import main

if __name__ == "__main__":
    main()
