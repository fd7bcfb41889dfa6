"""Exports: a room's log in the formats that other tools read.

An exporter takes a `Source` and yields the text of a file piece by piece. It may go over the log
several times, and keeps no more of it than it says.
"""
