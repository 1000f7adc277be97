"""The command ``bench``."""

from __future__ import annotations

import json
import math
from argparse import ArgumentTypeError
from collections.abc import Sequence
from dataclasses import asdict
from importlib import import_module

from rl_coordconv.bench import DTYPES, MEMORY_FORMATS, N_ENVS, N_RUNS
from rl_coordconv.experiments import CONFIGS
from rl_coordconv.names import NAMES
from rl_coordconv.runs.command_line import Parser, one_sentence_errors
from rl_coordconv.runs.config import UserError, expand_path
from rl_coordconv.runs.extras import may_need_extras
from rl_coordconv.runs.signals import end_import


def count(text: str) -> int:
    """Parse an integer from 1 to 4096."""
    if not 1 <= (number := int(text)) <= 4096:
        raise ArgumentTypeError(f"must be from 1 to 4096, not {number}")
    return number


def seconds(text: str) -> float:
    """Parse a positive, finite number."""
    if not 0 < (number := float(text)) < math.inf:
        raise ArgumentTypeError(f"must be above 0 and finite, not {number}")
    return number


def main(description: str, argv: Sequence[str]) -> int:
    """Parse the command line, measure, print, and return the exit code."""
    with one_sentence_errors():
        options = _parser(description).parse_args(argv)
        if options.json and not options.json.parent.is_dir():
            raise UserError(f"There is no folder {options.json.parent} to write to.")
        with may_need_extras(f"bench {options.bench}"):
            bench = import_module(f"rl_coordconv.bench.{options.bench}")
            end_import()
            report = options.run(bench, options)
    print(report.text)
    if options.json:
        numbers = {"bench": options.bench, **report.numbers}
        text = json.dumps(numbers, indent=2, default=asdict)
        options.json.write_text(text + "\n", encoding="utf-8")
    return 0


def _parser(description: str) -> Parser:
    """Return the parser, in which each benchmark has its flags and its call."""
    parser = Parser(description=description)
    benches = parser.add_subparsers(dest="bench", required=True)
    flags = benches.add_parser("layer", help="compare CoordConv2d with nn.Conv2d and concatenation")
    flags.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    flags.add_argument("--dtype", default="float32", choices=DTYPES)
    flags.add_argument("--memory-format", default="contiguous", choices=MEMORY_FORMATS)
    flags.set_defaults(
        run=lambda bench, o: bench.run(o.repeats, o.device, o.dtype, o.memory_format)
    )
    flags = benches.add_parser("toy", help="compare the toy networks with plain implementations")
    flags.set_defaults(run=lambda bench, o: bench.run(o.repeats, CONFIGS / "toy"))
    help_text = "compare classifiers with and without a layer in front"
    flags = benches.add_parser("classification", help=help_text)
    flags.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    flags.add_argument("--backbone", default="resnet50", help="classifier (default: %(default)s)")
    help_text = "height and width of the images, in pixels (default: %(default)s)"
    flags.add_argument("--size", type=count, default=224, metavar="N", help=help_text)
    help_text = "images per update (default: %(default)s)"
    flags.add_argument("--batch-size", type=count, default=8, metavar="N", help=help_text)
    flags.set_defaults(
        run=lambda bench, o: bench.run(o.repeats, o.device, o.backbone, o.size, o.batch_size)
    )
    help_text = "measure the updates of the supervised experiments, on a GPU also as CUDA graphs"
    flags = benches.add_parser("updates", help=help_text)
    flags.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    flags.add_argument("--preset", default="quick", choices=["quick", "paper"])
    flags.set_defaults(run=lambda bench, o: bench.run(o.repeats, o.device, o.preset))
    help_text = "compare Ape-X with RLlib's own Atari example"
    flags = benches.add_parser("apex", help=help_text)
    flags.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    flags.add_argument("--extractor", default="coordconv", choices=NAMES)
    help_text = "environment runners of each training (default: %(default)s)"
    flags.add_argument("--num-env-runners", type=count, default=1, metavar="N", help=help_text)
    flags.set_defaults(
        run=lambda bench, o: bench.run(
            o.repeats, o.device, o.extractor, o.num_env_runners, o.seconds
        )
    )
    flags = benches.add_parser("envs", help="compare AtariVecEnv with ale-py and Stable-Baselines3")
    help_text = "numbers of parallel games to measure"
    flags.add_argument(
        "--n-envs", type=count, nargs="+", default=N_ENVS, metavar="N", help=help_text
    )
    flags.set_defaults(run=lambda bench, o: bench.run(o.repeats, o.n_envs))
    help_text = "compare training with plain Stable-Baselines3 and an upper bound"
    flags = benches.add_parser("train", help=help_text)
    flags.add_argument("--quick", action="store_true", help="measure a few short rounds only")
    flags.set_defaults(
        run=lambda bench, o: bench.run(o.repeats, o.algorithm, o.seconds, quick=o.quick)
    )
    flags = benches.add_parser("runs", help="measure several runs in parallel, as in a study")
    help_text = "numbers of parallel runs to measure"
    flags.add_argument(
        "--n-runs", type=count, nargs="+", default=N_RUNS, metavar="N", help=help_text
    )
    flags.set_defaults(
        run=lambda bench, o: bench.run(o.repeats, CONFIGS, o.algorithm, o.seconds, o.n_runs)
    )
    help_text = "measure layer, training and updates on a GPU, in under six minutes"
    flags = benches.add_parser("gpu", help=help_text)
    flags.add_argument("--device", default="cuda", choices=["cpu", "cuda"])
    flags.add_argument("--quick", action="store_true", help="try every measurement once")
    flags.set_defaults(run=lambda bench, o: bench.run(o.repeats, o.device, quick=o.quick))
    for name, default in {"apex": 10.0, "train": 2.0, "runs": 20.0}.items():
        flags = benches.choices[name]
        if name != "apex":
            flags.add_argument("--algorithm", default="a2c", choices=["a2c", "ppo"])
        help_text = "seconds per measurement (default: %(default)s)"
        flags.add_argument("--seconds", type=seconds, default=default, metavar="X", help=help_text)
    for name, flags in benches.choices.items():
        # Each measurement of `runs` takes half a minute; those of `gpu` must end in six.
        repeats = {"runs": 3, "gpu": 5}.get(name, 40)
        help_text = "number of measured rounds (default: %(default)s)"
        flags.add_argument("--repeats", type=count, default=repeats, metavar="N", help=help_text)
        flags.add_argument(
            "--json", type=expand_path, metavar="FILE", help="write the numbers to this file too"
        )
    return parser
