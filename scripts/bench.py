"""Measure speed side by side in one run, and print it as a table."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from rl_coordconv.bench import layer, toy
from rl_coordconv.config import Parser, UserError, one_sentence_errors

CONFIGS = Path(__file__).parents[1] / "configs" / "toy"


def main(argv: Sequence[str] | None = None) -> int:
    """Parse the command line, measure, print, and return the exit code."""
    parser = Parser(description=__doc__)
    benches = parser.add_subparsers(dest="bench", required=True)
    flags = benches.add_parser("layer", help="CoordConv2d, nn.Conv2d and plain concatenation")
    flags.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    flags.add_argument("--dtype", default="float32", choices=list(layer.DTYPES))
    benches.add_parser("toy", help="the toy tasks' networks, and the same as written down")
    for flags in benches.choices.values():
        flags.add_argument("--repeats", type=int, default=40, help="rounds (default: %(default)s)")
        flags.add_argument("--json", type=Path, metavar="FILE", help="write the numbers there too")
    with one_sentence_errors():
        options = parser.parse_args(argv)
        if options.json and not options.json.parent.is_dir():
            raise UserError(f"There is no folder {options.json.parent} to write to.")
        if options.bench == "layer":
            report = layer.run(options.repeats, options.device, options.dtype)
            print(layer.table(report))
        else:
            report = toy.run(options.repeats, CONFIGS)
            print(toy.table(report))
    if options.json:
        options.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
