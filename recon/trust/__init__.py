"""Whether the network may be used on a scan, and what is delivered where it may not."""
