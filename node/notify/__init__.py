"""Tells people what needs them: quarantine, missing parts, a silent destination, a full disk."""
