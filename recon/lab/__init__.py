"""``lfmri-lab``, the program."""

from lfmri_node.recon.lab.commands import app as app
from lfmri_node.recon.lab.commands import main as main
