"""The retrieval baselines by name, fitted and used alike: see `protocol.Fit`.

Example: two of three users have item 1.
  >>> fit = BASELINES["popularity"]
  >>> fit([[1], [0, 1], []], 2, validation=None).score([2], [[]]).tolist()
  [[1.0, 2.0]]
"""

from rec_align.baselines.item_knn import ItemKNN
from rec_align.baselines.matrix_factorization import ALS, BPRMF
from rec_align.baselines.popularity import Popularity
from rec_align.baselines.protocol import Fit
from rec_align.baselines.sasrec import SASRec

BASELINES: dict[str, Fit] = {
    "popularity": Popularity.fit,
    "item_knn": ItemKNN.fit,
    "als": ALS.fit,
    "bpr_mf": BPRMF.fit,
    "sasrec": SASRec.fit,
}

WITHOUT_SEED = ("popularity", "item_knn")  # the same whatever the seed
NEED_IMPLICIT = ("item_knn", "als", "bpr_mf")
