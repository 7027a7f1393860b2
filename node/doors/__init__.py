"""Ways in beside C-STORE: streams over TCP, watched folders. A child process parses what comes."""
