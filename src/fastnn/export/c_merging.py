"""Functions of exported C that combine buffers, select columns and look up categories, as C99 text.

Rows of results lie LD elements apart, those of operands ``ld...``. What fastnn refuses, such as an integer that a table
does not have, gives NaN.
"""

_COMBINE = """
/* y = a {sign} b, element by element; step: 1, or 0 for one element that goes with every column */
SEPARATE void {name}(real *y, const real *a, size_t lda, size_t a_step, const real *b, size_t ldb, size_t b_step,
                     size_t rows, size_t n) {{
    size_t r, f;
    for (r = 0; r < rows; r++)
        for (f = 0; f < n; f++) {{
            const real u = a[r * lda + f * a_step], v = b[r * ldb + f * b_step];
            y[r * LD + f] = {value};
        }}
}}"""

_COMBINED = {
    "add": ("+", "u + v"),
    "subtract": ("-", "u - v"),
    "multiply": ("*", "u * v"),
    "divide": ("/", "u / v"),
    "maximum": ("or larger", "u > v || u != u ? u : v"),
    "minimum": ("or smaller", "u < v || u != u ? u : v"),
}

_OF_TYPE = {
    "convert": """
/* chosen columns of x as floating-point numbers */
SEPARATE void convert_{type}(real *y, const {type} *x, size_t ldx, size_t rows, const size_t *columns, size_t n) {{
    size_t r, f;
    for (r = 0; r < rows; r++)
        for (f = 0; f < n; f++) y[r * LD + f] = (real)x[r * ldx + columns[f]];
}}""",
    "look_up": """
/* The numbers of chosen columns of x in a vocabulary of ascending keys; of others `first` + value mod `unknown` */
SEPARATE void look_up_{type}(real *y, const {type} *x, size_t ldx, size_t rows, const size_t *columns, size_t n,
                             const int64_t *keys, const real *numbers, size_t n_keys, int64_t first, int64_t unknown) {{
    size_t r, f;
    for (r = 0; r < rows; r++)
        for (f = 0; f < n; f++) {{
            const {type} given = x[r * ldx + columns[f]];
            const double size = (double)given;
            const int64_t value = size > -9.2e18 && size < 9.2e18 ? (int64_t)given : 0;
            size_t low = 0, high = n_keys;
            while (low < high) {{
                const size_t middle = (low + high) / 2;
                if (keys[middle] < value) low = middle + 1;
                else high = middle;
            }}
            if (({type})value != given) y[r * LD + f] = (real)NAN;
            else if (low < n_keys && keys[low] == value) y[r * LD + f] = numbers[low];
            else if (unknown == 0) y[r * LD + f] = (real)NAN;
            else y[r * LD + f] = (real)(first + (value % unknown + unknown) % unknown);
        }}
}}""",
    "discretize": """
/* how many of ascending boundaries are not above x, for chosen columns */
SEPARATE void discretize_{type}(real *y, const {type} *x, size_t ldx, size_t rows, const size_t *columns, size_t n,
                                const double *boundaries, size_t n_boundaries) {{
    size_t r, f;
    for (r = 0; r < rows; r++)
        for (f = 0; f < n; f++) {{
            const double value = (double)x[r * ldx + columns[f]];
            size_t bin = 0;
            while (bin < n_boundaries && boundaries[bin] <= value) bin++;
            y[r * LD + f] = (real)bin;
        }}
}}""",
    "robust_scaling": """
/* z = (x - centre) scale, and z / sqrt(1 + (z / bound)^2) with a bound, for chosen columns; 0 is no bound */
SEPARATE void robust_scaling_{type}(real *y, const {type} *x, size_t ldx, size_t rows, const size_t *columns, size_t n,
                                    const double *centre, const double *scale, double bound) {{
    size_t r, f;
    for (r = 0; r < rows; r++)
        for (f = 0; f < n; f++) {{
            double z = ((double)x[r * ldx + columns[f]] - centre[f]) * scale[f];
            if (bound > 0.0) {{
                const double most = 1e150 * bound, kept = z < -most ? -most : z > most ? most : z, part = kept / bound;
                z = kept / sqrt(1.0 + part * part);
            }}
            y[r * LD + f] = (real)z;
        }}
}}""",
}
"""Functions whose operand has one of several types; "real" or a type of integers ends their names."""

MERGING_FUNCTIONS: dict[str, tuple[str, str]] = {
    **{name: ("", _COMBINE.format(name=name, sign=sign, value=value)) for name, (sign, value) in _COMBINED.items()},
    **{
        f"{name}_{kind}": ("", text.format(type=kind))
        for name, text in _OF_TYPE.items()
        for kind in ("real", "int32_t", "int64_t")
    },
    "take": (
        "",
        """
/* every step-th column of x from `first` on */
SEPARATE void take(real *y, const real *x, size_t ldx, size_t rows, ptrdiff_t first, ptrdiff_t step, size_t n) {
    size_t r, f;
    for (r = 0; r < rows; r++)
        for (f = 0; f < n; f++) y[r * LD + f] = x[r * ldx + (size_t)(first + (ptrdiff_t)f * step)];
}""",
    ),
    "inverse_norm": (
        "",
        "static double inverse_norm(double squares) { return 1.0 / sqrt(squares > 1e-14 ? squares : 1e-14); }",
    ),
    "dot": (
        "inverse_norm",
        """
/* the scalar product of each row of a and b, one chain of multiply-adds; normalize: of the rows over their norms */
SEPARATE void dot(real *y, const real *a, size_t lda, const real *b, size_t ldb, size_t rows, size_t n, int normalize) {
    size_t r, f;
    for (r = 0; r < rows; r++) {
        real product = 0, of_a = 0, of_b = 0;
        for (f = 0; f < n; f++) {
            const real u = a[r * lda + f], v = b[r * ldb + f];
            product = FMA_REAL(u, v, product);
            of_a = FMA_REAL(u, u, of_a);
            of_b = FMA_REAL(v, v, of_b);
        }
        if (normalize) product = (real)((double)product * inverse_norm((double)of_a) * inverse_norm((double)of_b));
        y[r * LD] = product;
    }
}""",
    ),
    "embed": (
        "",
        """
/* the rows of a table that the numbers in x name, side by side */
SEPARATE void embed(real *y, const real *x, size_t ldx, size_t rows, size_t n, const real *table, size_t n_rows,
                    size_t n_columns) {
    size_t r, f, c;
    for (r = 0; r < rows; r++)
        for (f = 0; f < n; f++) {
            const real value = x[r * ldx + f];
            const size_t row = value >= 0 && value < (real)n_rows ? (size_t)value : n_rows;
            const int known = row < n_rows && (real)row == value;
            for (c = 0; c < n_columns; c++)
                y[r * LD + f * n_columns + c] = known ? table[row * n_columns + c] : (real)NAN;
        }
}""",
    ),
    "hot": (
        "",
        """
/* 1 in the columns that numbers name, 0 in the others, or how often, for each `size` numbers together; `strict`: only
 * whole numbers from 0 to depth - 1 are right */
SEPARATE void hot(real *y, const real *x, size_t ldx, size_t rows, size_t n, size_t size, size_t depth, int count,
                  int strict) {
    size_t r, f, c;
    for (r = 0; r < rows; r++) {
        real *row = y + r * LD;
        for (c = 0; c < n / size * depth; c++) row[c] = 0;
        for (f = 0; f < n; f++) {
            const real value = x[r * ldx + f];
            const size_t place = value >= 0 && value < (real)depth ? (size_t)value : depth;
            const int known = place < depth && (real)place == value;
            real *group = row + f / size * depth;
            if (known) group[place] = count ? group[place] + 1 : (real)1;
            else if (strict || value != value)
                for (c = 0; c < depth; c++) group[c] = (real)NAN;
        }
    }
}""",
    ),
}
"""Functions of `rows` rows: what they need, and their text."""
