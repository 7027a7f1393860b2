"""Delivery of encoded objects to destinations."""
