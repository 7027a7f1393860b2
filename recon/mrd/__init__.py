"""ISMRMRD in and out: from a file to the k-space of slices, and back."""
