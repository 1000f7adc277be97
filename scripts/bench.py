"""Measure speed side by side in one run, and print it as a table."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from rl_coordconv.bench import envs, layer, runs, toy, train
from rl_coordconv.runs.config import Parser, UserError, one_sentence_errors

SCRIPTS = Path(__file__).parent
CONFIGS = SCRIPTS.parent / "configs"
BENCHES = {"layer": layer, "toy": toy, "envs": envs, "train": train, "runs": runs}


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the command line, measure, print, and return the exit code."""
    parser = Parser(description=__doc__)
    benches = parser.add_subparsers(dest="bench", required=True)
    flags = benches.add_parser("layer", help="CoordConv2d, nn.Conv2d and plain concatenation")
    flags.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    flags.add_argument("--dtype", default="float32", choices=list(layer.DTYPES))
    formats = list(layer.MEMORY_FORMATS)
    flags.add_argument("--memory-format", default="contiguous", choices=formats)
    benches.add_parser("toy", help="the toy tasks' networks, and the same as written down")
    flags = benches.add_parser("envs", help="games without a network, ours and others'")
    flags.add_argument("--n-envs", type=int, nargs="+", default=envs.N_ENVS, metavar="N")
    flags = benches.add_parser("train", help="trainings, plain Stable-Baselines3's and the limit")
    flags.add_argument("--algorithm", default="a2c", choices=["a2c", "ppo"])
    flags.add_argument("--seconds", type=float, default=2.0, help="of an interval (default: 2)")
    flags = benches.add_parser("runs", help="several trainings at once, as in a study")
    flags.add_argument("--algorithm", default="a2c", choices=["a2c", "ppo"])
    flags.add_argument("--seconds", type=float, default=20.0, help="of an interval (default: 20)")
    flags.add_argument("--n-runs", type=int, nargs="+", default=runs.N_RUNS, metavar="N")
    for flags in benches.choices.values():
        flags.add_argument("--repeats", type=int, default=40, help="rounds (default: %(default)s)")
        flags.add_argument("--json", type=Path, metavar="FILE", help="write the numbers there too")
    benches.choices["runs"].set_defaults(repeats=3)  # an interval takes half a minute
    with one_sentence_errors():
        options = parser.parse_args(argv)
        if options.json and not options.json.parent.is_dir():
            raise UserError(f"There is no folder {options.json.parent} to write to.")
        o = options
        measure = {
            "layer": lambda: layer.run(o.repeats, o.device, o.dtype, o.memory_format),
            "toy": lambda: toy.run(o.repeats, CONFIGS / "toy"),
            "envs": lambda: envs.run(o.repeats, o.n_envs),
            "train": lambda: train.run(o.repeats, SCRIPTS, o.algorithm, o.seconds),
            "runs": lambda: runs.run(o.repeats, CONFIGS, o.algorithm, o.seconds, o.n_runs),
        }
        report = measure[o.bench]()
    print(BENCHES[options.bench].table(report))
    if options.json:
        options.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
