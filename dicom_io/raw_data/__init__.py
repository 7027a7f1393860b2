"""The Raw Data object that carries ISMRMRD: written, read, checked."""
