"""The hub's lasting relation to one instance: dial, prove identity, carry calls, recover."""
