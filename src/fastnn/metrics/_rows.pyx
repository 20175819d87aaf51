# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""The metrics' passes over all rows: pairs of labels, codes of strings, counts at the thresholds of a score."""

import numpy as np

cimport numpy as cnp
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memcmp, memcpy, memset

cnp.import_array()

cdef enum:
    SIDE = 64  # labels 0..63 are counted in a table that stays in the first-level cache
    BLOCK = 1024  # labels converted at a time
    SLOTS = 4096  # of the hash table of strings; a power of two
    MOST_STRINGS = 1024
    BITS = 11  # of a digit of the radix sort
    PASSES = 6

cdef uint64_t SIGN = <uint64_t>1 << 63

ctypedef fused label_t:
    uint8_t
    int32_t
    int64_t
    float
    double

cdef struct scored:
    uint64_t key  # ascending keys are descending scores
    int64_t row  # twice the row's index, plus 1 for a row of the positive class


cdef bint small_codes(int32_t *codes, const label_t *labels, Py_ssize_t n) noexcept nogil:
    """Write labels (n,) as integers; false if one is not a whole number in 0..63. Loops without branches vectorize."""
    cdef Py_ssize_t row
    cdef bint fits = True
    for row in range(n):
        fits &= (labels[row] >= 0) & (labels[row] < SIDE)
    if not fits:
        return False  # in C, casting a number that is too large is undefined
    for row in range(n):
        codes[row] = <int32_t>labels[row]
        fits &= codes[row] == labels[row]
    return fits


def small_pair_counts(const label_t[::1] true, const label_t[::1] pred):
    """Count rows (64, 64) by true and predicted label; None if a label is not a whole number in 0..63."""
    # Rows alternate between two tables: a second addition to a cell would wait for the first sum to be stored.
    counts = np.zeros((2, SIDE, SIDE), dtype=np.int64)
    cdef int64_t[:, :, ::1] table = counts
    cdef int32_t[BLOCK] true_codes
    cdef int32_t[BLOCK] pred_codes
    cdef Py_ssize_t first, row, n, n_rows = true.shape[0]
    cdef bint fits = True
    with nogil:
        for first from 0 <= first < n_rows by BLOCK:
            n = n_rows - first if n_rows - first < BLOCK else BLOCK
            fits = small_codes(true_codes, &true[first], n) and small_codes(pred_codes, &pred[first], n)
            if not fits:
                break
            for row in range(n):
                table[row & 1, true_codes[row], pred_codes[row]] += 1
    return counts[0] + counts[1] if fits else None


def string_codes(const uint32_t[:, ::1] text):
    """Assign numbers to the distinct rows of characters (n, width), padded with zeros, as they first occur.

    Returns the codes (n,) and the first row of each code; None if more than 1,024 rows are distinct.
    """
    cdef Py_ssize_t row, column, n_rows = text.shape[0], width = text.shape[1], n_bytes = 4 * text.shape[1]
    cdef int64_t n_codes = 0, code
    cdef uint64_t mixed
    cdef uint32_t slot
    codes = np.empty(n_rows, dtype=np.int64)
    firsts = np.empty(MOST_STRINGS, dtype=np.int64)
    cdef int64_t[::1] code_of = codes, first_of = firsts
    cdef int32_t[SLOTS] taken
    memset(taken, 255, sizeof(taken))  # -1: free
    with nogil:
        for row in range(n_rows):
            mixed = 0
            for column in range(width):
                if text[row, column] == 0:
                    break
                mixed = (mixed ^ text[row, column]) * <uint64_t>0x9E3779B97F4A7C15  # 2^64 over the golden ratio
            slot = <uint32_t>(mixed >> 52)
            while True:
                code = taken[slot]
                if code < 0:
                    if n_codes == MOST_STRINGS:
                        break
                    code = n_codes
                    taken[slot] = <int32_t>code
                    first_of[code] = row
                    n_codes += 1
                    break
                if memcmp(&text[row, 0], &text[first_of[code], 0], n_bytes) == 0:
                    break
                slot = (slot + 1) & (SLOTS - 1)
            if code < 0:
                break
            code_of[row] = code
        else:
            row = n_rows
    return (codes, firsts[:n_codes]) if row == n_rows else None


cdef inline uint64_t key_of(double score) noexcept nogil:
    cdef uint64_t bits
    score += 0.0  # -0.0 and 0.0 are one score
    memcpy(&bits, &score, 8)
    return bits if bits >> 63 else ~(bits | SIGN)


cdef inline double score_of(uint64_t key) noexcept nogil:
    cdef double score
    cdef uint64_t bits = key if key >> 63 else ~(key | SIGN)
    memcpy(&score, &bits, 8)
    return score


cdef scored *sort(scored *rows, scored *scratch, Py_ssize_t n_rows) noexcept nogil:
    """Sort by key, digit by digit from the lowest; return the one of the two arrays that holds the result."""
    cdef Py_ssize_t[PASSES][1 << BITS] places
    cdef Py_ssize_t row, total, count
    cdef int step, digit
    cdef scored *other
    memset(places, 0, sizeof(places))
    for row in range(n_rows):
        for step in range(PASSES):
            places[step][(rows[row].key >> (BITS * step)) & ((1 << BITS) - 1)] += 1
    for step in range(PASSES):
        if places[step][(rows[0].key >> (BITS * step)) & ((1 << BITS) - 1)] == n_rows:
            continue  # all rows have the same digit
        total = 0
        for digit in range(1 << BITS):
            count = places[step][digit]
            places[step][digit] = total
            total += count
        for row in range(n_rows):
            digit = (rows[row].key >> (BITS * step)) & ((1 << BITS) - 1)
            scratch[places[step][digit]] = rows[row]
            places[step][digit] += 1
        other = rows
        rows = scratch
        scratch = other
    return rows


cdef scored *ranked(
    object memory, const double[::1] score, const uint8_t[::1] positive, const double[::1] weights, Py_ssize_t *n_ranked
):
    """Return the rows with nonzero weight by falling score, in ``memory``: (2, n, 2) elements of eight bytes."""
    cdef scored *rows = <scored *>cnp.PyArray_DATA(memory)
    cdef Py_ssize_t row, n_rows = score.shape[0], n_kept = 0
    with nogil:
        for row in range(n_rows):
            if weights is not None and weights[row] == 0.0:
                continue
            rows[n_kept].key = key_of(score[row])
            rows[n_kept].row = 2 * row + positive[row]
            n_kept += 1
        n_ranked[0] = n_kept
        return sort(rows, rows + n_rows, n_kept)


def counts_at_thresholds(const double[::1] score, const uint8_t[::1] positive, const double[::1] weights):
    """Count false and true positives, or sum their weights, at every distinct score; also return the scores, falling.

    A row counts as predicted positive if its score is at least the threshold; rows of weight 0 have no threshold.
    """
    cdef Py_ssize_t row, n_ranked = 0, n_thresholds = 0, n_rows = score.shape[0]
    memory = np.empty((2, n_rows, 2), dtype=np.uint64)
    cdef scored *rows = ranked(memory, score, positive, weights, &n_ranked)
    counts = np.empty((3, n_ranked))
    cdef double[:, ::1] out = counts
    cdef double weight = 1.0
    cdef double[2] sums = [0.0, 0.0]
    with nogil:
        for row in range(n_ranked):
            if weights is not None:
                weight = weights[rows[row].row >> 1]
            sums[rows[row].row & 1] += weight
            if row + 1 == n_ranked or rows[row + 1].key != rows[row].key:
                out[0, n_thresholds] = sums[0]
                out[1, n_thresholds] = sums[1]
                out[2, n_thresholds] = score_of(rows[row].key)
                n_thresholds += 1
    fps, tps, thresholds = counts[:, :n_thresholds]
    return fps, tps, thresholds


def ordered_pairs(const double[::1] score, const uint8_t[::1] positive, const double[::1] weights):
    """Count pairs whose positive row has the larger score, plus half the ties: the Mann-Whitney statistic.

    A pair counts with the product of its weights. Returns the count and the weights of the positive and negative rows,
    all exact below 2^52 pairs without weights.
    """
    cdef Py_ssize_t row, n_ranked = 0
    memory = np.empty((2, score.shape[0], 2), dtype=np.uint64)
    cdef scored *rows = ranked(memory, score, positive, weights, &n_ranked)
    cdef double weight = 1.0, area = 0.0, above = 0.0, negatives_above = 0.0
    cdef double[2] sums = [0.0, 0.0]
    with nogil:
        for row in range(n_ranked):
            if weights is not None:
                weight = weights[rows[row].row >> 1]
            sums[rows[row].row & 1] += weight
            if row + 1 == n_ranked or rows[row + 1].key != rows[row].key:
                area += (sums[0] - negatives_above) * 0.5 * (above + sums[1])
                above = sums[1]
                negatives_above = sums[0]
    return area, sums[1], sums[0]
