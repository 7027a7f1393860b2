"""Durable jobs: what is safe on disk, who moves it, what happens after a failure."""
