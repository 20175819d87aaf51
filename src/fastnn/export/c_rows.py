"""Functions of exported C that work on rows, as C99 text: softmax, normalizations, preparation of inputs, ..."""

_SOFTMAX_SUM = """
    size_t r, o, j;
    for (r = 0; r < rows; r++) {{
        real *row = y + r * LD;
        double s[8] = {{0.0}}, {rest}m = (double)row[0];
        for (o = 1; o < n; o++) m = m > (double)row[o] ? m : (double)row[o];
        for (o = 0; o < n; o += 8) {{
            const size_t count = n - o < 8 ? n - o : 8;
            double e[8];
            for (j = 0; j < count; j++) e[j] = (double)row[o + j] - m;
            for (; j < 8; j++) e[j] = 0.0;
            for (j = 0; j < 8; j++) e[j] = exp_of(e[j]);
            for (j = 0; j < count; j++) {each}
        }}"""

ROW_FUNCTIONS: dict[str, tuple[str, str]] = {
    "softmax": (
        "exp_of sum_of_8",
        "SEPARATE void softmax(real *y, size_t rows, size_t n) {"
        + _SOFTMAX_SUM.format(
            rest="inverse, ",
            each="{\n                s[j] += e[j];\n                row[o + j] = (real)e[j];\n            }",
        )
        + """
        inverse = 1.0 / sum_of_8(s);
        for (o = 0; o < n; o++) row[o] = (real)((double)row[o] * inverse);
    }
}""",
    ),
    "log_softmax": (
        "exp_of sum_of_8 log_of_sum",
        "SEPARATE void log_softmax(real *y, size_t rows, size_t n) {"
        + _SOFTMAX_SUM.format(
            rest="rest[8] = {0.0}, log_sum, ",
            each="{\n                s[j] += e[j];\n                rest[j] += e[j] < 1.0 ? e[j] : 0.0;\n            }",
        )
        + """
        log_sum = log_of_sum(sum_of_8(s), sum_of_8(rest));
        for (o = 0; o < n; o++) row[o] = (real)(((double)row[o] - m) - log_sum);
    }
}""",
    ),
    "layer_norm": (
        "sum_of_8",
        """
/* y = (y - mean) / sqrt(variance + epsilon) * scale + shift of each row; rms: without subtracting the mean */
SEPARATE void layer_norm(real *y, size_t rows, size_t n, const real *scale, const real *shift, double epsilon,
                         int rms) {
    const double of_feature = 1.0 / (double)n;
    size_t r, o, j;
    for (r = 0; r < rows; r++) {
        real *row = y + r * LD;
        double s[8] = {0.0}, v[8] = {0.0}, mean, inverse, centre;
        for (o = 0; o + 8 <= n; o += 8)
            for (j = 0; j < 8; j++) s[j] += (double)row[o + j];
        for (j = 0; o + j < n; j++) s[j] += (double)row[o + j];
        mean = sum_of_8(s) * of_feature;
        for (o = 0; o + 8 <= n; o += 8)
            for (j = 0; j < 8; j++) {
                const double d = (double)row[o + j] - mean;
                v[j] = fma(d, d, v[j]);
            }
        for (j = 0; o + j < n; j++) {
            const double d = (double)row[o + j] - mean;
            v[j] = fma(d, d, v[j]);
        }
        inverse = 1.0 / sqrt(sum_of_8(v) * of_feature + epsilon);
        centre = rms ? 0.0 : mean;
        for (o = 0; o < n; o++)
            row[o] = (real)fma(((double)row[o] - centre) * inverse, (double)scale[o], (double)shift[o]);
    }
}""",
    ),
    "scale_features": (
        "",
        """
/* y = (y - centre) * scale + shift of each feature */
SEPARATE void scale_features(real *y, size_t rows, size_t n, const real *centre, const real *scale, const real *shift) {
    size_t r, f;
    for (r = 0; r < rows; r++)
        for (f = 0; f < n; f++) y[r * LD + f] = FMA_REAL(y[r * LD + f] - centre[f], scale[f], shift[f]);
}""",
    ),
    "scale_present": (
        "",
        """
/* y = (y - centre) * scale + shift of each feature; shift where y is NaN, and then 1 in column n + f of `indicator` */
SEPARATE void scale_present(real *y, size_t rows, size_t n, const real *centre, const real *scale, const real *shift,
                          int indicator) {
    size_t r, f;
    for (r = 0; r < rows; r++)
        for (f = 0; f < n; f++) {
            const real x = y[r * LD + f];
            const int present = x == x;
            y[r * LD + f] = present ? FMA_REAL(x - centre[f], scale[f], shift[f]) : shift[f];
            if (indicator) y[r * LD + n + f] = (real)(present ? 0 : 1);
        }
}""",
    ),
    "prelu": (
        "",
        """
SEPARATE void prelu(real *y, size_t rows, size_t n, const real *alpha) {
    size_t r, f;
    for (r = 0; r < rows; r++)
        for (f = 0; f < n; f++) {
            const real x = y[r * LD + f];
            y[r * LD + f] = x > 0 ? x : alpha[f] * x;
        }
}""",
    ),
    "prepare": (
        "",
        """
/* Inputs as the network takes them, in double: a missing value (NaN) becomes that of `fill`, then (y - centre) / scale.
 * 1 or 0 for missing or not in each of the columns `indicated` follow as columns n, n + 1, ... NULL leaves out a
 * step. */
SEPARATE void prepare(real *y, size_t rows, size_t n, const double *fill, const double *centre, const double *scale,
                    const size_t *indicated, size_t n_indicated) {
    size_t r, f;
    for (r = 0; r < rows; r++) {
        real *row = y + r * LD;
        for (f = 0; f < n_indicated; f++) row[n + f] = (real)(row[indicated[f]] == row[indicated[f]] ? 0 : 1);
        for (f = 0; f < n; f++) {
            double x = (double)row[f];
            if (fill && !(x == x)) x = fill[f];
            row[f] = (real)(centre ? (x - centre[f]) / scale[f] : x);
        }
    }
}""",
    ),
    "rescale": (
        "",
        """
/* y scale + centre of each output, in double */
SEPARATE void rescale(real *y, size_t rows, size_t n, const double *centre, const double *scale) {
    size_t r, f;
    for (r = 0; r < rows; r++)
        for (f = 0; f < n; f++) y[r * LD + f] = (real)((double)y[r * LD + f] * scale[f] + centre[f]);
}""",
    ),
    "two_classes": (
        "",
        """
/* the probability of the second class becomes those of both */
SEPARATE void two_classes(real *y, size_t rows) {
    size_t r;
    for (r = 0; r < rows; r++) {
        y[r * LD + 1] = y[r * LD];
        y[r * LD] = (real)1 - y[r * LD];
    }
}""",
    ),
    "copy": (
        "",
        """
SEPARATE void copy(real *y, size_t ldy, const real *x, size_t ldx, size_t rows, size_t n) {
    size_t r;
    for (r = 0; r < rows; r++) memcpy(y + r * ldy, x + r * ldx, n * sizeof(real));
}""",
    ),
}
"""Functions of `rows` rows of n columns, LD elements apart, in place: what they need, and their text.

``SEPARATE`` is ``static``; for GCC it also hides the sizes of the calls, with which GCC 12 at -O3 drops the rounding of
a double to float between a store and a load.
"""
