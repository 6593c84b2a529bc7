"""Whom a link may lead to: a run of an instance of ours, or a server that the user named."""

from brummer.link.foreign import ForeignTarget
from brummer.link.target import Target

Peer = Target | ForeignTarget
