"""The reader over the vectors."""
