"""``python -m lfmri_node.node.cli``."""

from lfmri_node.node.cli.main import main

main()
