"""Print the lower bound of every dependency of the tests as a constraint for pip."""

from pathlib import Path

import tomllib

project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
extras = project["optional-dependencies"]
used = [name for name in extras if name not in ("test", "rllib")]  # the tests have no RLlib
bounds = [*project["dependencies"], *(bound for name in used for bound in extras[name])]
print("\n".join(bounds).replace(">=", "=="))
