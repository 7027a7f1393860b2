"""The process that computes, and the stages that it runs."""
