"""Reconstruction without a service: files in, objects and pictures out."""
