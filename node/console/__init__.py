"""Pages for operators in a browser: a process of its own that looks into the node's data directory."""
