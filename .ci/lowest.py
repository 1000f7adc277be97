"""Print the lower bound of every dependency in pyproject.toml as a constraint for pip."""

from pathlib import Path

import tomllib

project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
extras = project["optional-dependencies"]
bounds = [*project["dependencies"], *(b for name in extras if name != "test" for b in extras[name])]
print("\n".join(bounds).replace(">=", "=="))
