"""The scanner's side: wrapping a file and sending it to a node."""
