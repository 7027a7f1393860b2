"""Sending objects to a PACS, and looking at what it holds."""
