"""Suggestions for unknown names, such as ``--learning-rate`` for ``--lr``."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from rl_coordconv.runs.shell import shell_command

# Alternative names from other libraries, from papers and from this package's other scripts.
_OTHER_NAMES = {
    "n_epochs": "epochs num_epochs max_epochs train_epochs update_epochs",
    "total_timesteps": "timesteps n_timesteps num_timesteps steps total_steps max_steps frames"
    " epochs",
    "n_envs": "envs num_envs nenvs n_games parallel_envs actors num_workers workers",
    "n_steps": "num_steps rollout rollout_length rollout_steps horizon unroll_length",
    "env": "game games env_id environment env_name task rom",
    "extractor": "policy network net model arch architecture features_extractor variant",
    "model": "policy network net extractor arch architecture variant",
    "learning_rate": "lr alpha step_size",
    "learning_rate_schedule": "lr_schedule schedule lr_decay anneal_lr annealing",
    "clip_range": "clip clip_coef clip_eps clip_epsilon",
    "ent_coef": "entropy entropy_coef entropy_coeff ent_coeff beta",
    "vf_coef": "value_coef value_loss_coef vf_coeff",
    "max_grad_norm": "grad_clip clip_grad gradient_clipping",
    "gamma": "discount discount_factor",
    "gae_lambda": "gae",
    "rms_prop_eps": "eps epsilon",
    "l2": "weight_decay wd",
    "batch_size": "bs minibatch minibatch_size mini_batch_size",
    "seed": "random_seed rng",
    "device": "gpu cuda cpu accelerator",
    "num_threads": "n_threads n_jobs cores",
    "parallel": "jobs n_jobs num_workers workers",
    "precision": "dtype amp fp16 bf16",
    "log_dir": "logdir out output output_dir out_dir folder dir save_dir log_folder",
    "out": "output output_dir folder log_dir",
    "save_freq": "checkpoint_freq save_every save_interval checkpoint_interval",
    "eval_freq": "eval_every eval_interval evaluate_every",
    "eval_episodes": "n_eval_episodes num_eval_episodes episodes",
    "episodes": "n_episodes num_episodes eval_episodes n_eval_episodes n_games",
    "log_interval": "log_freq log_every print_freq",
    "overwrite": "force restart fresh",
    "track": "wandb use_wandb",
    "config": "cfg conf config_file conf_file yaml",
    "preset": "fast short",
    "protocol": "repeat_action_probability",
    "algo": "algorithm",
    "checkpoint": "step load_checkpoint load_best best",
    "video": "record mp4",
    "explain": "saliency",
    "dry_run": "print",
    "evaluate": "eval enjoy play",
    "compare": "plot report",
    "study": "sweep",
    "bf16": "bfloat16 fp16 float16 half amp",
    "float32": "fp32 float full single",
    "linear": "lin decay anneal",
    "constant": "const fixed none",
    "native": "c++ cpp ale envpool",
    "classic": "v4",
    "sticky": "v5",
}

_ADVICE = {
    "each algorithm has its own command, such as {train_ppo}.": "algo algorithm a2c ppo dqn",
    "to resume a run, run the same command again.": "resume continue load trained_agent",
}


def meant(name: object, names: Iterable[str]) -> str | None:
    """Return the one of some names that a user most likely meant; None if there is none.

    Try in this order: another spelling, an alternative name, a part of a name, a typo.

    >>> meant("--lr", ["--learning-rate", "--seed"])
    '--learning-rate'
    >>> meant("--n_envs", ["--n-envs", "--n-steps"])
    '--n-envs'
    >>> meant("timesteps", ["total_timesteps", "n_steps"])
    'total_timesteps'
    """
    word, plain = _plain(name), {_plain(known): known for known in sorted(names)}
    others = [known for known, others in _OTHER_NAMES.items() if word in others.split()]
    parts = set(word.split("_"))
    whole = [known for known in (word, *others) if known in plain]
    longer = sorted((known for known in plain if parts <= set(known.split("_"))), key=len)
    typos = difflib.get_close_matches(word, plain, n=1)
    found = [*whole, *longer, *typos]
    return plain[found[0]] if found else None


def nearest(name: object, names: Iterable[str]) -> str:
    """Return a suggestion for an unknown name: the most likely name, or the list of all names."""
    names = sorted(names)
    if match := meant(name, names):
        return f"did you mean {match}?"
    advice = [text for text, words in _ADVICE.items() if _plain(name) in words.split()]
    if advice:
        return advice[0].format(train_ppo=shell_command("train-ppo"))
    return f"there are: {', '.join(names)}."


def nearest_path(path: Path) -> str:
    """Return a suggestion for a path that does not exist, to end a sentence about it.

    Each missing part is replaced by the most likely name in its folder. Without one for every part,
    the suggestion is only a full stop.
    """
    found = Path(path.anchor)
    for part in path.relative_to(found).parts:
        names = [part]
        if not (found / part).exists():
            names = []
            with suppress(OSError):  # not a folder, or one that may not be read
                names = [file.name for file in found.iterdir()]
        name = meant(part, names)
        if name is None:
            return "."
        found /= name
    return f"; did you mean {found}?"


def _plain(name: object) -> str:
    return str(name).partition("=")[0].strip("-").replace("-", "_").lower()
