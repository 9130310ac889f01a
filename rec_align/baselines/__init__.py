"""Baselines: popularity, neighbours, factors, SASRec and mean ratings, scored as models are."""
