"""Instances of other machines: their records come here, and their ports are reached through a carrier such as SSH."""
