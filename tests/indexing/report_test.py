"""What is said of codes: numbers counted by hand, and the warning of a collapsed codebook."""

import numpy as np
import pytest

from rec_align.indexing import report

# Level 1: shares 1/2, 1/4, 1/4. Level 2: 3/4 and 1/4, of the four items that have one.
CODES = np.array([[0, 5], [0, 5], [1, 5], [2, 7], [0, -1], [0, -1], [1, -1], [2, -1]], np.int32)


def test_numbers_by_hand():
    description = report.describe(CODES, (4, 8))
    first, second = description.pop("levels")
    assert description == {
        "num_items": 8,
        "mean_length": 1.5,
        "max_length": 2,
        "num_collided": 4,  # (0, 5) twice, (0) twice
        "largest_group": 2,
    }
    assert first == {
        "num_items": 8,
        "codebook_size": 4,
        "num_used": 3,
        "entropy": 1.5,
        "perplexity": pytest.approx(2**1.5),
        "top_share": 0.5,
    }
    entropy = 2 - 0.75 * np.log2(3)
    assert second == {
        "num_items": 4,
        "codebook_size": 8,
        "num_used": 2,
        "entropy": pytest.approx(entropy),
        "perplexity": pytest.approx(2**entropy),
        "top_share": 0.75,
    }


def test_the_table_shows_them():
    assert report.table(report.describe(CODES, (4, 8))).splitlines() == [
        "8 items, 1.50 codes each, 2 at most",
        "4 items share all their codes with another one, the largest group is of 2",
        "level    items       codes used  entropy  perplexity  most frequent",
        "    1        8           3 of 4     1.50         2.8          50.0%",
        "    2        4           2 of 8     0.81         1.8          75.0%",
    ]


def test_a_collapsed_codebook_is_warned_of():
    even = np.arange(1000, dtype=np.int32) % 100
    # 91 of 100 items alike: 2^(-.91 log2 .91 + 9 * .01 log2 100) = 1.65 codes.
    alike = np.where(even < 91, 0, even)
    codes = np.column_stack([even, alike])
    (warning,) = report.warnings(report.describe(codes, (100, 100)))
    assert warning.startswith("level 2 has collapsed") and "1.6 codes of 100" in warning
    # 60 codes used alike: over a tenth of 500, under a tenth of 700.
    sixty = np.arange(1000, dtype=np.int32)[:, None] % 60
    assert report.warnings(report.describe(sixty, (500,))) == []
    assert len(report.warnings(report.describe(sixty, (700,)))) == 1
    # Few items cannot use many codes.
    assert report.warnings(report.describe(sixty[:500], (700,))) == []


def test_codes_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="got the shape"):
        report.describe(CODES, (4,))
    with pytest.raises(ValueError, match="level 1 has the code 7"):
        report.describe(CODES, (4, 7))
