"""What people see on a terminal: tables, progress, a view that repeats itself."""
