"""Guess algorithm, game, seed and variant of SB3 logs from folder names and logged tags.

The report shows the guesses for each run.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

from rl_coordconv.compare.published import HUMAN_AND_RANDOM
from rl_coordconv.runs.results import EXTRACTOR_STYLES

UNKNOWN_VARIANT = "sb3"
"""The name of a variant about which nothing is known."""

# The name that SB3 or rl-zoo3 uses, by spelling without separators.
_ALGORITHMS = {
    name: name for name in ("a2c", "ars", "crossq", "ddpg", "dqn", "ppo", "sac", "td3", "tqc")
}
_ALGORITHMS |= {"acer": "acer", "acktr": "acktr", "qrdqn": "qrdqn", "trpo": "trpo"}
_ALGORITHMS |= dict.fromkeys(("recurrentppo", "ppolstm", "rppo", "pporecurrent"), "ppo_lstm")
_ALGORITHMS |= dict.fromkeys(("maskableppo", "ppomask", "mppo"), "ppo_mask")

# Tags that only some algorithms log; the first one that occurs counts.
_FAMILIES: dict[str, tuple[str, ...]] = {
    "train/clip_fraction": ("ppo", "ppo_lstm", "ppo_mask"),
    "train/is_line_search_success": ("trpo",),
    "train/policy_loss": ("a2c",),
    "rollout/exploration_rate": ("dqn", "qrdqn"),
    "train/ent_coef": ("sac", "tqc", "crossq"),
    "train/actor_loss": ("td3", "ddpg"),
    "train/delta_std": ("ars",),
}
ALGORITHM_TAGS = tuple(_FAMILIES)

_ENV_ID = re.compile(
    r"^(?:\w+:)?(?:ALE[/-])?([A-Za-z]+?)(NoFrameskip|Deterministic)?-v\d+(?:_\d+)?$"
)
# Words that do not name a variant.
_GENERIC = re.compile(
    r"logs?|runs?|tb|tensorboards?|boards?|mon|monitors?|results?|sb3|csvs?|events?|evals?|evaluations?"
    r"|val|envs?|ranks?|workers?"
    r"|train(ing)?|data|outputs?|experiments?|exps?|models?|seeds?|rounds?|trials?|best|atari|zoo|v"
    r"|backups?|cop(y|ies)|old|new|latest|final|sync(ed|hroni[sz]ed)?|tmp|temp"
)

_DATE = re.compile(r"(19|20)\d\d[-_.]?\d\d[-_.]?\d\d([-_T ]+\d\d[-_.:h]?\d\d([-_.:m]?\d\d)?)?")
# Separators, except in numbers such as 1e-3 or 0.99.
_BETWEEN_WORDS = re.compile(r"(?<!\de)[-_ ]+|(?<!\d)\.+|\.+(?!\d)")


def find_algorithm(named: str, names: Sequence[str], tags: Collection[str]) -> str:
    """Return rl-zoo3's algorithm, or else the nearest name of one that fits the logged tags.

    Args:
        named: rl-zoo3's ``--algo``; may be empty.
        names: The names of the folder and its parents, nearest first.
        tags: Those of `ALGORITHM_TAGS` that were logged.
    """
    if named:
        return _ALGORITHMS.get(_plain(named), named.lower())
    family = next((algorithms for tag, algorithms in _FAMILIES.items() if tag in tags), ())
    for name in names:
        algorithm = algorithm_in(name)
        if algorithm and (not family or algorithm in family):
            return algorithm
    return family[0] if family else "unknown"


def algorithm_in(name: str) -> str:
    """Return the algorithm that a name contains; empty if there is none or more than one.

    >>> [algorithm_in(name) for name in ("RecurrentPPO_1", "qr-dqn", "a2c-pong", "a2c-vs-ppo")]
    ['ppo_lstm', 'qrdqn', 'a2c', '']
    """
    whole = _ALGORITHMS.get(_plain(name))
    if whole:
        return whole
    words = re.split(r"[^a-z0-9]+", name.lower())
    pairs = {_ALGORITHMS.get(a + b) for a, b in itertools.pairwise(words)} - {None}
    found = pairs or {_ALGORITHMS.get(word) for word in words} - {None}
    return found.pop() or "" if len(found) == 1 else ""


def find_game(names: Iterable[str]) -> tuple[str, str]:
    """Return game and protocol from the first name that has them, else ``unknown``."""
    names = list(names)
    for name in names:
        match = _ENV_ID.match(name)
        if match:
            return match[1], "classic" if match[2] == "NoFrameskip" else "unknown"
    games = {game.lower(): game for game in HUMAN_AND_RANDOM}
    for name in names:
        found = {games[word] for word in _words_of_games(name) if word in games}
        if len(found) == 1:
            return found.pop(), "unknown"
    return "unknown", "unknown"


def _words_of_games(name: str) -> list[str]:
    whole = re.sub(r"[_-]?\d*$", "", name)
    words = re.split(r"[^A-Za-z0-9]+", name)
    words += [re.sub(r"(NoFrameskip|Deterministic)?-?v?\d*$", "", word) for word in words]
    return [word.lower().replace("_", "").replace("-", "") for word in (whole, *words)]


def find_seed(names: Iterable[str]) -> str:
    """Return the seed in the first name with one, such as ``seed_3`` or ``s3``; empty if none."""
    for name in names:
        match = re.search(r"(?:^|[^a-z])(?:seed|s)[-_=]?(\d+)(?![0-9])", name.lower())
        if match:
            return match[1]
    return ""


def variant_words(names: Iterable[str]) -> str:
    """Return the parts of folder names that distinguish a variant.

    Algorithms, games, seeds, dates, run numbers and general words are left out. A number stays
    only if the word before it stays.

    >>> variant_words(["logs", "a2c", "lr1e-3_seed2", "Pong-v4_1", "PPO_3_1", "net_64_1"])
    'lr1e-3/net_64'
    """
    return "/".join(filter(None, map(_words_of_variant, names)))


def _words_of_variant(name: str) -> str:
    if _plain(name) in _ALGORITHMS or _ENV_ID.match(name):
        return ""
    name = re.sub(r"(?i)(?<![a-z])(seed|s|run|rep|trial)[-_=]?\d+(?![0-9])", "", name)
    name = _DATE.sub("", name).strip("-_ .")
    # The last of several numbers is a run number; a single one, as in layers_2, is a setting.
    name = _without_number(name) if re.search(r"\d", _without_number(name)) else name
    words = [word for word in _BETWEEN_WORDS.split(name) if word]
    kept: list[str] = []
    for before, word in itertools.pairwise(["", *words]):
        if before in kept if word.isdecimal() else not _is_general(word):
            kept.append(word)
    return name if kept == words else "-".join(kept)


def _is_general(word: str) -> bool:
    plain = word.lower()
    is_known = plain in _ALGORITHMS or find_game([word])[0] != "unknown"
    return is_known or bool(_GENERIC.fullmatch(plain))


def _without_number(name: str) -> str:
    return re.sub(r"(?<!\de)[-_ ]\d+$", "", name)


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", _without_number(name).lower())


def is_numbered_sibling(a: str, b: str) -> bool:
    """Return whether two names differ only in their numbers.

    >>> is_numbered_sibling("run_1", "run_2"), is_numbered_sibling("tb", "monitor")
    (True, False)
    """
    return a != b and re.sub(r"\d+", "0", a) == re.sub(r"\d+", "0", b)


def shows_variant(folder: Path) -> bool:
    """Return whether the last three names of a folder's path distinguish a variant."""
    return bool(variant_words(folder.parts[-3:]))


def is_kind_of_log(name: str) -> bool:
    """Return whether a folder's name does not distinguish a variant, such as ``tb``."""
    return not _words_of_variant(name)


def variant_name(extractor: str, inner: Sequence[str], root_label: str) -> str:
    """Return the name of the variant of SB3 logs.

    The name of an extractor gets the suffix `` (sb3)``, so that the runs do not count as seeds of
    this package's.

    Args:
        extractor: The extractor's name in the logs; empty if unknown.
        inner: The names of the folders between the root and the run.
        root_label: The root's part of the variant's name; see `root_labels`.
    """
    name = "/".join(filter(None, [root_label, variant_words(inner), extractor])) or UNKNOWN_VARIANT
    return f"{name} (sb3)" if name in EXTRACTOR_STYLES else name


def is_numbered_run(name: str) -> bool:
    """Return whether a folder's name has a run number of SB3 or rl-zoo3, or a seed.

    >>> [is_numbered_run(name) for name in ("PPO_1", "PongNoFrameskip-v4_2", "seed-3", "exp_1")]
    [True, True, True, False]
    """
    is_known = algorithm_in(name) or _ENV_ID.match(name)
    return bool(find_seed([name]) or (is_known and re.search(r"_\d+$", name)))


def root_labels(roots: Sequence[Path]) -> dict[Path, str]:
    """Return a distinct label for each root from its name; empty if it names no variant."""
    parts = {root: root.resolve().parts for root in roots}
    labels = {root: variant_words(path[-1:]) for root, path in parts.items()}
    for label in set(labels.values()):
        alike = [root for root in roots if labels[root] == label]
        paths = {parts[root] for root in alike}
        if len(paths) == 1:
            continue
        length = next(n for n in range(1, 99) if len({path[-n:] for path in paths}) == len(paths))
        for root in alike:
            inner = parts[root][-length:]
            labels[root] = variant_words(inner) or "/".join(inner)
    if len(set(parts.values())) == 1:  # a single root: an extractor's name in it proves nothing
        return {root: "" if name in EXTRACTOR_STYLES else name for root, name in labels.items()}
    return labels
