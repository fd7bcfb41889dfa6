"""The read-only HTTP API behind the replay page: sessions by range, never a whole log."""
