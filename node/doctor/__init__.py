"""``lfmri-node doctor``: is everything there that a running node needs?"""
