"""Baselines that need no training: item popularity and mean ratings, scored as the models are."""
