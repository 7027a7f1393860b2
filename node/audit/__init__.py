"""The audit trail (PS3.15 A.5): who did what with whose data, for whoever has to answer for it."""
