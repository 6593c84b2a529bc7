"""The hub's lasting relation to one peer: dial, prove identity, probe, recover."""
