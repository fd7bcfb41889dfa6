"""A room's log laid out on a time axis: lanes, densities, anomalies, series.

An index that is built once from the log and kept beside it, so that a picture of a million
envelopes costs milliseconds. It is a cache: deleting it loses nothing.
"""
