"""The command line ``lfmri-node``: commands, their options and help, and how they end."""
