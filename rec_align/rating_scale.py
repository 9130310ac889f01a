"""The scale of ratings, for every room: from 1, the worst, to 5. Imports nothing."""

RATINGS = (1, 2, 3, 4, 5)
MIDDLE = 3.0
LIKED = 4.0  # a rating from here on says that the item was liked
