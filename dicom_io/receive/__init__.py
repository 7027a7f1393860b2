"""Receiving Raw Data: the listener, who may call it, and the spool."""
