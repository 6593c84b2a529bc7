"""Shipped fakes, for tests of Brummer and of programs that rely on it. The other packages never import this one."""
