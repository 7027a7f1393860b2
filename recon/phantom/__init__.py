"""Scans made on this machine: phantoms, coils, the demonstration, conversion of arrays."""
