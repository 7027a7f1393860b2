"""What monitoring asks a running node: does it live, does it take scans, and how much of what."""
