"""The load tester, and the trio client that it and the tests use."""
