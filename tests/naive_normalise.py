"""Slow twin of multi-tissue intensity normalisation: whole matrices, QR least squares, millimetres as they are."""

from __future__ import annotations

from itertools import product

import numpy as np

REFERENCE = 1 / np.sqrt(4 * np.pi)


def normalise(shares, where, n_rounds=15):
    """The field and the balance factors of tissue shares (n, t) at world coordinates (n, 3)."""
    where = (where - where.mean(axis=0)) / 50
    powers = [p for p in product(range(4), repeat=3) if sum(p) <= 3]
    basis = np.stack([np.prod(where ** np.array(p), axis=1) for p in powers], axis=1)
    scale = np.ones(len(shares))

    def no_outliers(balance, reach):
        logs = np.log(shares @ balance / scale)
        low, high = np.percentile(logs, [25, 75])
        return (logs >= low - reach * (high - low)) & (logs <= high + reach * (high - low))

    used = no_outliers(np.ones(shares.shape[1]), 3)
    for _ in range(n_rounds):
        for _ in range(7):
            matrix = shares[used] / scale[used, None]
            balance = np.linalg.lstsq(matrix, np.full(len(matrix), REFERENCE), rcond=None)[0]
            balance /= np.prod(balance) ** (1 / len(balance))
            before, used = used, no_outliers(balance, 1.5)
            if (before == used).all():
                break
        weights = np.linalg.lstsq(basis[used], np.log(shares[used] @ balance / REFERENCE), rcond=None)[0]
        scale = np.exp(basis @ weights)
    return scale, balance
