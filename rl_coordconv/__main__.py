"""``python -m rl_coordconv``: the same as ``rl-coordconv``."""

import sys

from rl_coordconv.commands import main

if __name__ == "__main__":
    sys.exit(main())
