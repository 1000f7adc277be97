"""Distributed prioritised DQN on RLlib, based on Ape-X (Horgan et al. 2018)."""
