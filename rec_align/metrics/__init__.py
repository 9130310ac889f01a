"""Metrics in pure NumPy: ranks, ratings, text; bootstrap intervals; SeqIO functions; tables.

Every metric starts as one value a user (the `*_per_user` functions), so that a slice of users, an
interval or a paired comparison of two systems needs no code of its own.
"""
