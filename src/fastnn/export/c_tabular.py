"""Functions of exported C for the layers of networks for tables, as C99 text: the operations of ``tabular_tpl.h``.

Rows of results lie LD elements apart, those of operands ``ldx``.
"""

TABULAR = ("feature_scale", "mix", "cosine_features", "bounded_lines", "grouped_product", "member_product")
"""Steps that these functions compute."""

TABULAR_FUNCTIONS: dict[str, tuple[str, str]] = {
    "feature_scale": (
        "",
        """
/* y = x scale + shift of each feature; n outputs, for which the features come again and again */
SEPARATE void feature_scale(real *y, const real *x, size_t ldx, size_t rows, size_t n_in, size_t n, const real *scale,
                            const real *shift) {
    size_t r, o;
    for (r = 0; r < rows; r++)
        for (o = 0; o < n; o++) y[r * LD + o] = FMA_REAL(x[r * ldx + o % n_in], scale[o], shift[o]);
}""",
    ),
    "mix": (
        "",
        """
/* y = x + (y - x) a of each feature */
SEPARATE void mix(real *y, const real *x, size_t ldx, size_t rows, size_t n, const real *a) {
    size_t r, f;
    for (r = 0; r < rows; r++)
        for (f = 0; f < n; f++) {
            const real u = x[r * ldx + f];
            y[r * LD + f] = FMA_REAL(y[r * LD + f] - u, a[f], u);
        }
}""",
    ),
    "cosine_features": (
        "cosine_of",
        """
/* y = cos(2 pi w x + b), n / n_in of each feature */
SEPARATE void cosine_features(real *y, const real *x, size_t ldx, size_t rows, size_t n_in, size_t n, const real *w,
                              const real *b) {
    const size_t count = n / n_in;
    size_t r, o;
    for (r = 0; r < rows; r++)
        for (o = 0; o < n; o++) {
            const double turns = (double)x[r * ldx + o / count] * (double)w[o];
            y[r * LD + o] = (real)cosine_of(fma(turns, 6.283185307179586, (double)b[o]));
        }
}""",
    ),
    "bounded_lines": (
        "",
        """
/* y = min(high, max(low, x slope + offset)), n / n_in of each feature */
SEPARATE void bounded_lines(real *y, const real *x, size_t ldx, size_t rows, size_t n_in, size_t n, const real *slope,
                            const real *offset, const real *low, const real *high) {
    const size_t count = n / n_in;
    size_t r, o;
    for (r = 0; r < rows; r++)
        for (o = 0; o < n; o++) {
            const real line = FMA_REAL(x[r * ldx + o / count], slope[o], offset[o]);
            const real above = line < low[o] ? low[o] : line;
            y[r * LD + o] = above > high[o] ? high[o] : above;
        }
}""",
    ),
    "grouped": (
        "",
        """
/* y = x W + b for each group of n_in inputs, with a kernel W[n_in][n_out] of its own: chains of multiply-adds */
SEPARATE void grouped(real *y, const real *x, size_t ldx, size_t rows, const real *w, const real *b, size_t n_in,
                      size_t n_out, size_t groups) {
    size_t r, g, k, o;
    for (r = 0; r < rows; r++)
        for (g = 0; g < groups; g++) {
            const real *xg = x + r * ldx + g * n_in, *wg = w + g * n_in * n_out;
            real *yg = y + r * LD + g * n_out;
            for (o = 0; o < n_out; o++) yg[o] = b[g * n_out + o];
            for (k = 0; k < n_in; k++)
                for (o = 0; o < n_out; o++) yg[o] = FMA_REAL(xg[k], wg[k * n_out + o], yg[o]);
        }
}""",
    ),
    "members": (
        "",
        """
/* y = x W + b for each member, with one kernel; a product writes whole panels, and the next one writes over the rest */
static void members(real *y, const real *x, size_t ldx, size_t rows, const real *w, size_t n_in, size_t n_out,
                    size_t count) {
    size_t m;
    for (m = 0; m < count; m++) product(y + m * n_out, x + m * n_in, ldx, rows, w, n_in, n_out);
}""",
    ),
}
"""Functions of `rows` rows: what they need, and their text."""
