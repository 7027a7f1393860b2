"""The demonstration: a node and a PACS on this machine."""
