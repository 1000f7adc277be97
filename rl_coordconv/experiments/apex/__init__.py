"""Distributed prioritised DQN on RLlib, the heir of Ape-X (Horgan et al. 2018)."""
