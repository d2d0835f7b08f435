"""Causal Organism: collaboration metadata in, explained workload and reversible proposals out."""

__version__ = "0.1.0"
