"""Published scores: a human's and a random player's, and others' A2C and PPO."""

from __future__ import annotations

from dataclasses import dataclass

_PPO_PAPER = "PPO paper (Schulman et al. 2017), final scores"
_ZOO = "rl-baselines3-zoo, benchmark.md"
_OLD_ZOO = "rl-baselines-zoo (Stable-Baselines 2)"
_SLM_2019 = "SLM-Lab 2019, pull request 427"
_SLM_2026 = "SLM-Lab 2026, docs/BENCHMARKS.md"
_SLM_2026_PPO = f"{_SLM_2026}, lambda 0.95"
_BASELINES = "openai/baselines PPO2, run again by openrlbenchmark"
_CLEANRL = "CleanRL ppo_atari_envpool_xla_jax"

_LAST_100 = "mean of the last 100 training games"
_OF_ZOO = "one run; whole games of the stochastic policy afterwards; +/- is over games"
_OF_BASELINES = f"3 seeds, {_LAST_100}; +/- is over seeds"
_OF_CLEANRL = f"3 seeds, {_LAST_100}; EnvPool; +/- is over seeds"
_OF_TIANSHOU = "final test reward, older hyperparameters"
_SLM_STICKY = "ALE/MsPacman-v5, 4 sessions"


@dataclass(frozen=True)
class PublishedScore:
    """One published score.

    Attributes:
        algorithm: As ``a2c``.
        game: As ``MsPacman``.
        score: Mean, unclipped, whole games, after 10M agent steps (40M frames).
        source: Who published it, and where.
        how: How it was measured.
        spread: The number after +/-; None without one.
        protocol: ``classic`` or ``sticky``.
    """

    algorithm: str
    game: str
    score: float
    source: str
    how: str
    spread: float | None = None
    protocol: str = "classic"


def _zoo(game: str, algorithm: str, score: float, spread: float) -> PublishedScore:
    return PublishedScore(algorithm, game, score, _ZOO, _OF_ZOO, spread)


PUBLISHED = (
    PublishedScore("a2c", "MsPacman", 1626.9, _PPO_PAPER, _LAST_100),
    PublishedScore("ppo", "MsPacman", 2096.5, _PPO_PAPER, _LAST_100),
    _zoo("MsPacman", "a2c", 1671.7, 612.9),
    _zoo("MsPacman", "ppo", 1754.4, 172.8),
    PublishedScore("a2c", "MsPacman", 1581.1, _OLD_ZOO, "one run"),
    PublishedScore("ppo", "MsPacman", 2255.1, _OLD_ZOO, "one run"),
    PublishedScore("a2c", "MsPacman", 1965, f"{_SLM_2019}, A2C with GAE", "4 sessions"),
    PublishedScore("a2c", "MsPacman", 2158, f"{_SLM_2019}, n-step A2C", "4 sessions"),
    PublishedScore("ppo", "MsPacman", 2350, _SLM_2019, "4 sessions"),
    PublishedScore("ppo", "MsPacman", 2152.8, _BASELINES, _OF_BASELINES, 152.8),
    PublishedScore("ppo", "MsPacman", 2345.7, _CLEANRL, _OF_CLEANRL, 185.9),
    PublishedScore("ppo", "MsPacman", 2098, "Tianshou, README", "single run, its best reward"),
    PublishedScore("ppo", "MsPacman", 1083.8, "Tianshou in openrlbenchmark", _OF_TIANSHOU, 87.7),
    PublishedScore("a2c", "MsPacman", 2110, _SLM_2026, _SLM_STICKY, None, "sticky"),
    PublishedScore("ppo", "MsPacman", 2308, _SLM_2026_PPO, _SLM_STICKY, None, "sticky"),
    _zoo("Asteroids", "a2c", 1286.6, 423.8),
    _zoo("Asteroids", "ppo", 2156.2, 744.6),
    _zoo("BeamRider", "a2c", 2890.3, 1379.1),
    _zoo("BeamRider", "ppo", 3397.0, 1662.4),
    _zoo("Breakout", "a2c", 279.8, 122.2),
    _zoo("Breakout", "ppo", 398.0, 33.3),
    _zoo("Enduro", "a2c", 0.0, 0.0),
    _zoo("Enduro", "ppo", 996.4, 176.1),
    _zoo("Pong", "a2c", 17.3, 3.2),
    _zoo("Pong", "ppo", 21.0, 0.1),
    _zoo("Qbert", "a2c", 3882.3, 1223.3),
    _zoo("Qbert", "ppo", 15627.1, 3313.5),
    _zoo("RoadRunner", "a2c", 31671.5, 6364.1),
    _zoo("RoadRunner", "ppo", 40680.6, 6675.1),
    _zoo("Seaquest", "a2c", 1721.5, 105.3),
    _zoo("Seaquest", "ppo", 1783.6, 34.1),
    _zoo("SpaceInvaders", "a2c", 627.2, 201.97),
    _zoo("SpaceInvaders", "ppo", 960.3, 425.4),
)


def published_scores(algorithm: str, game: str) -> list[PublishedScore]:
    """Return the published scores of an algorithm in a game."""
    return [p for p in PUBLISHED if (p.algorithm, p.game) == (algorithm, game)]


# By game, the scores of a random player and a human that Wang et al. 2016 (arXiv 1511.06581) and
# later work use; the numbers are those of openrlbenchmark, hns.py.
HUMAN_AND_RANDOM = {
    "Alien": (227.8, 7127.7),
    "Amidar": (5.8, 1719.5),
    "Assault": (222.4, 742.0),
    "Asterix": (210.0, 8503.3),
    "Asteroids": (719.1, 47388.7),
    "Atlantis": (12850.0, 29028.1),
    "BankHeist": (14.2, 753.1),
    "BattleZone": (2360.0, 37187.5),
    "BeamRider": (363.9, 16926.5),
    "Berzerk": (123.7, 2630.4),
    "Bowling": (23.1, 160.7),
    "Boxing": (0.1, 12.1),
    "Breakout": (1.7, 30.5),
    "Centipede": (2090.9, 12017.0),
    "ChopperCommand": (811.0, 7387.8),
    "CrazyClimber": (10780.5, 35829.4),
    "Defender": (2874.5, 18688.9),
    "DemonAttack": (152.1, 1971.0),
    "DoubleDunk": (-18.6, -16.4),
    "Enduro": (0.0, 860.5),
    "FishingDerby": (-91.7, -38.7),
    "Freeway": (0.0, 29.6),
    "Frostbite": (65.2, 4334.7),
    "Gopher": (257.6, 2412.5),
    "Gravitar": (173.0, 3351.4),
    "Hero": (1027.0, 30826.4),
    "IceHockey": (-11.2, 0.9),
    "Jamesbond": (29.0, 302.8),
    "Kangaroo": (52.0, 3035.0),
    "Krull": (1598.0, 2665.5),
    "KungFuMaster": (258.5, 22736.3),
    "MontezumaRevenge": (0.0, 4753.3),
    "MsPacman": (307.3, 6951.6),
    "NameThisGame": (2292.3, 8049.0),
    "Phoenix": (761.4, 7242.6),
    "Pitfall": (-229.4, 6463.7),
    "Pong": (-20.7, 14.6),
    "PrivateEye": (24.9, 69571.3),
    "Qbert": (163.9, 13455.0),
    "Riverraid": (1338.5, 17118.0),
    "RoadRunner": (11.5, 7845.0),
    "Robotank": (2.2, 11.9),
    "Seaquest": (68.4, 42054.7),
    "Skiing": (-17098.1, -4336.9),
    "Solaris": (1236.3, 12326.7),
    "SpaceInvaders": (148.0, 1668.7),
    "StarGunner": (664.0, 10250.0),
    "Surround": (-10.0, 6.5),
    "Tennis": (-23.8, -8.3),
    "TimePilot": (3568.0, 5229.2),
    "Tutankham": (11.4, 167.6),
    "UpNDown": (533.4, 11693.2),
    "Venture": (0.0, 1187.5),
    "VideoPinball": (16256.9, 17667.9),
    "WizardOfWor": (563.5, 4756.5),
    "YarsRevenge": (3092.9, 54576.9),
    "Zaxxon": (32.5, 9173.3),
}


def human_normalised(game: str, score: float) -> float:
    """Scale a score to 0 for a random player and 1 for a human; KeyError without their scores.

    >>> human_normalised("MsPacman", 6951.6)
    1.0
    """
    random, human = HUMAN_AND_RANDOM[game]
    return (score - random) / (human - random)
