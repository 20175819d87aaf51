/* Kernels one by one, with numbers and options that small networks do not meet. Included by steps.c. */

#define MOST_ROWS 40

/* Magnitudes from 2^-20 to 2^most, of both signs, of the element type. */
static void fill_magnitudes(void *out, size_t element, ptrdiff_t count, int most) {
    for (ptrdiff_t i = 0; i < count; i++) {
        const double x = ldexp((i & 1 ? -1.0 : 1.0) * (1 + (double)(i % 4096) * 0x1p-12), (int)(i * 7 % (most + 21)) - 20);
        if (element == 4)
            ((float *)out)[i] = (float)x;
        else
            ((double *)out)[i] = x;
    }
}

/* Every 5th number becomes 0, every 7th becomes 1. */
static void set_bounds(void *out, size_t element, ptrdiff_t count) {
    const double ends[] = {0, 1};
    for (ptrdiff_t i = 0; i < count; i++) {
        if (i % 5 && i % 7) continue;
        const double x = ends[i % 5 != 0];
        if (element == 4)
            ((float *)out)[i] = (float)x;
        else
            ((double *)out)[i] = x;
    }
}

/* Row r of one-hot targets is class (3 r) % n_out. */
static void fill_one_hot(void *out, size_t element, ptrdiff_t rows, ptrdiff_t n_out) {
    memset(out, 0, (size_t)(rows * n_out) * element);
    for (ptrdiff_t r = 0; r < rows; r++) {
        if (element == 4)
            ((float *)out)[r * n_out + 3 * r % n_out] = 1;
        else
            ((double *)out)[r * n_out + 3 * r % n_out] = 1;
    }
}

/* A loss and its gradient for large and small errors, certain and impossible predictions, whole and broken exponents. */
static void lose(const fnn_kernels *kernels, int kind, int from_logits) {
    static double y[MOST_ROWS * 18], t[MOST_ROWS * 18], weight[MOST_ROWS], gradient[MOST_ROWS * 18 + GUARD];
    static const double alphas[18] = {0.5, 2, 0.25, 1, 1, 3, 0.1}, gammas[] = {0, 1, 2, 3.5};
    static const ptrdiff_t widths[] = {1, 2, 7, 18};
    const size_t element = (size_t)fnn_element(kernels);
    const int rows_matter = kind >= FNN_CCE;
    const int chances = kind == FNN_BCE || kind == FNN_BINARY_FOCAL || kind == FNN_KL_DIVERGENCE || kind == FNN_DICE ||
                        kind == FNN_MSLE || kind == FNN_POISSON || kind == FNN_CCE || kind == FNN_SPARSE_CCE ||
                        kind == FNN_CATEGORICAL_FOCAL;
    int64_t labels[MOST_ROWS];
    fill(weight, element, MOST_ROWS, 0.5, 2, 9);
    for (int i = 0; i < 16; i++) {
        const ptrdiff_t n = i % 4 == 3 ? MOST_ROWS : 1 + 5 * i % 17, 
                        n_out = widths[i / 4] + (kind == FNN_GAUSSIAN_NLL && widths[i / 4] % 2);
        if (rows_matter && n_out < 2) continue;
        fnn_loss loss = {.kind = kind, .from_logits = from_logits, .delta = i % 2 ? 0.3 : 0.8, .alpha = 0.25,
                         .gamma = gammas[i % 4], .factor = i % 3 ? 1 : 0.7, .label_smoothing = i % 5 == 1 ? 0.1 : 0,
                         .balanced = i / 2 % 2, .full = i % 2, .per_row = i / 2 % 2, .sum = i % 3 == 1,
                         .weighted_mean = i % 4 == 2, .ignores = i % 4 == 1, .ignored = 1};
        if ((kind == FNN_CATEGORICAL_FOCAL && i % 2) || kind == FNN_MULTI_QUANTILE) loss.alphas = alphas;
        loss.n_levels = n_out % 2 ? (int)n_out : 2;
        if (chances && !from_logits) {
            fill(y, element, n * n_out, 0.001, 0.999, 5);
            set_bounds(y, element, n * n_out);
        } else
            fill_magnitudes(y, element, n * n_out, kind == FNN_POISSON || kind == FNN_GAUSSIAN_NLL ? 5 : 10);
        if (kind == FNN_COSINE_SIMILARITY) /* a row without a length */
            memset((char *)y + element * (size_t)(n / 2 * n_out), 0, element * (size_t)n_out);
        fill(t, element, n * n_out, 0, 1, 6);
        if (i % 2) set_bounds(t, element, n * n_out);
        if (rows_matter && i % 3 == 0) fill_one_hot(t, element, n, n_out);
        for (ptrdiff_t r = 0; r < n; r++) labels[r] = 5 * r % n_out;
        const fnn_loss_arrays arrays = {y, kind == FNN_SPARSE_CCE ? NULL : t, kind == FNN_SPARSE_CCE ? labels : NULL,
                                        i / 4 % 2 ? weight : NULL, n, n_out};
        clear(gradient, n * n_out, element);
        double values[2];
        if (fnn_loss_and_gradient(kernels, &values[0], gradient, &arrays, &loss) != FNN_OK) fail("no loss");
        if (fnn_loss_and_gradient(kernels, &values[1], NULL, &arrays, &loss) != FNN_OK) fail("no loss");
        if (values[0] != values[1]) fail("the loss is another one, or no number, without its gradient");
        add(values, sizeof values);
        add_guarded(gradient, n * n_out, element);
    }
    printf("loss %d %d", kind, from_logits);
}

/* Elements of every type, rows and columns at any distance, into a panel, into rows and back. */
static void move(const fnn_kernels *kernels, int dtype) {
    static const ptrdiff_t sizes[] = {4, 8, 1, 1, 2, 2, 4, 4, 8, 8};
    static char data[MOST_ROWS * 104 * 16];
    static double panel[16 * 100 + GUARD], rows[MOST_ROWS * 103 + GUARD];
    const ptrdiff_t element = fnn_element(kernels), size = sizes[dtype];
    for (ptrdiff_t i = 0; i < (ptrdiff_t)sizeof data / size; i++) {
        const double x = (double)(i * 37 % 251) - (dtype == FNN_U8 || dtype >= FNN_U16 ? 0 : 125);
        const int64_t whole = (int64_t)x * (size < 4 ? 1 : 1001);
        const float single = (float)(x / 7);
        const double wide = x / 7;
        memcpy(data + i * size, dtype == FNN_F32 ? (const void *)&single : dtype == FNN_F64 ? (const void *)&wide : &whole,
               (size_t)size);
    }
    for (int i = 0; i < 24; i++) {
        static const ptrdiff_t columns[] = {1, 3, 4, 8, 15, 16, 33, 99};
        const ptrdiff_t cols = columns[i % 8], n = MOST_ROWS, count = 1 + 3 * i % kernels->panel;
        const ptrdiff_t row = i / 8 == 1 ? size : size * (cols + i % 3);
        const ptrdiff_t col = i / 8 == 1 ? size * n : i / 8 ? 2 * size : size;
        const int backwards = i % 5 == 4;
        const fnn_matrix X = {backwards ? data + (n - 1) * row : data, dtype, backwards ? -row : i / 8 == 2 ? 2 * row : row,
                              col, n, cols};
        int64_t order[16];
        for (int r = 0; r < 16; r++) order[r] = r * 11 % n;
        clear(panel, cols * kernels->panel, (size_t)element), clear(rows, count * (cols + 3), (size_t)element);
        kernels->gather(panel, &X, i % 2 ? order : NULL, i % 2 ? 0 : n - count, count);
        add_guarded(panel, cols * kernels->panel, (size_t)element);
        kernels->convert(rows, cols + 3, &X, n - count, count);
        add_guarded(rows, count * (cols + 3), (size_t)element);
        clear(rows, count * (cols + 3), (size_t)element);
        kernels->scatter(rows, cols, panel, cols, NULL, 0, count);
        add_guarded(rows, count * cols, (size_t)element);
    }
    printf("moved %d", dtype);
}

/* Where a NaN or an infinity is found: at every place of arrays of every length, and nowhere else. */
static void look(const fnn_kernels *kernels) {
    static double x[70];
    const size_t element = (size_t)fnn_element(kernels);
    const double wrong[] = {INFINITY, -INFINITY, NAN, 0.0};
    fill_magnitudes(x, element, 70, 10);
    for (ptrdiff_t n = 1; n <= 69; n += 1 + n / 9)
        for (ptrdiff_t at = 0; at <= n; at++)
            for (int i = 0; i < 4; i++) {
                double kept;
                memcpy(&kept, (char *)x + at * (ptrdiff_t)element, element);
                if (element == 4)
                    ((float *)x)[at] = (float)wrong[i];
                else
                    x[at] = wrong[i];
                const int found[] = {kernels->all_finite(x, n), kernels->no_infinity(x, n)};
                if (found[0] != (i == 3 || at == n) || found[1] != (i >= 2 || at == n)) fail("wrong finite check");
                memcpy((char *)x + at * (ptrdiff_t)element, &kept, element);
            }
    const double largest = element == 4 ? 0x1.fffffep127 : 0x1.fffffffffffffp1023, ends[] = {largest, -largest};
    for (int i = 0; i < 2; i++) {
        if (element == 4)
            ((float *)x)[3] = (float)ends[i];
        else
            x[3] = ends[i];
        const int found[] = {kernels->all_finite(x, 70), kernels->no_infinity(x, 70)};
        if (!found[0] || !found[1]) fail("the largest number is finite");
    }
    printf("finite");
}

/* Each update rule with factors of 1 and with bounds that some gradients reach. */
static void update(const fnn_kernels *kernels, int kind) {
    static double w[4][48 + GUARD], g[48 + GUARD];
    const size_t element = (size_t)fnn_element(kernels);
    for (int i = 0; i < 12; i++) {
        fnn_update u = optimizer(kind).update;
        u.rate = 0.1, u.rate_2 = 0.05, u.correction = 1.5, u.decay = i % 2 ? 0.01 : 0;
        u.prepare = i > 1, u.scale = i % 3 == 2 ? 0.5 : 1, u.l1 = i % 3 == 0, u.l2 = i % 4 == 1, u.clip = i / 6;
        for (int slot = 0; slot < 4; slot++) {
            clear(w[slot], 48, element);
            /* a mean of squares is not below the square of a mean */
            fill(w[slot], element, 48, !slot ? -1 : slot == 1 ? 0.1 : 0.01, slot < 2 ? 1 : 0.1, (uint64_t)slot);
        }
        clear(g, 48, element);
        fill_magnitudes(g, element, 48, 1);
        kernels->update(&(fnn_weights){w[0], {w[1], w[2], w[3]}}, g, 48, &u);
        if (!kernels->all_finite(w[0], 48)) fail("an update is not finite");
        for (int slot = 0; slot < 4; slot++) add_guarded(w[slot], 48, element);
        add_guarded(g, 48, element);
    }
    printf("update %d", kind);
}

/* Dropout with rates at which one of the drawn numbers is the bound, and noise. */
static void draw(const fnn_kernels *kernels) {
    static double x[16 * 9], y[16 * 9 + GUARD], d[16 * 9 + GUARD];
    static const double rates[] = {0x1p-32, 0.001, 0.5, 0.9, 1 - 0x1p-33, 0};
    const size_t element = (size_t)fnn_element(kernels);
    const ptrdiff_t n = 9 * kernels->panel;
    fill_magnitudes(x, element, n, 3);
    for (int i = 0; i < 12; i++) {
        const fnn_stream stream = {11, 5 + (uint64_t)i, 2, 16};
        clear(y, n, element), clear(d, n, element);
        kernels->dropout(y, d, x, 9, rates[i % 6], i / 6, &stream);
        add_guarded(y, n, element), add_guarded(d, n, element);
        /* towards the rate that is the number drawn for element i, from both sides */
        double low = 0, high = 1;
        for (int step = 0; step < 40; step++) {
            const double rate = (low + high) / 2;
            clear(y, n, element), clear(d, n, element);
            kernels->dropout(y, d, x, 9, rate, 0, &stream);
            const int stays = element == 4 ? ((float *)d)[i] != 0 : d[i] != 0;
            *(stays ? &low : &high) = rate;
            add_guarded(d, n, element);
        }
        clear(y, n, element);
        kernels->gaussian_noise(y, x, 9, 0.5 + i, &stream);
        add_guarded(y, n, element);
    }
    printf("drawn");
}

/* Gradients of a network in training and in prediction, with a branch, missing values and layers without a bias. */
static void differentiate(const fnn_kernels *kernels, int recipe) {
    static const char *const layers[] = {"dropout", "batch_normalization", "layer_normalization", "prelu", "gaussian_noise",
                                         "activation"};
    static double X[MOST_ROWS * 20], y[MOST_ROWS * 3], gradients[MOST], out[MOST_ROWS * 3 + GUARD];
    const ptrdiff_t n = 1 + 13 * recipe % MOST_ROWS, n_in = 1 + 5 * recipe % 19, width = 1 + 4 * recipe % 21;
    const size_t element = (size_t)fnn_element(kernels);
    fnn_op ops[] = {between("normalization"), dense(width, FNN_TANH), between(layers[recipe % 6]), dense(width, FNN_LINEAR),
                    between("add"), dense(3, FNN_LINEAR)};
    ops[0].missing = recipe % 3 != 1, ops[0].indicator = recipe % 3 == 2, ops[0].invert = recipe / 3 % 2;
    ops[1].use_bias = recipe % 4 != 1, ops[3].use_bias = recipe % 2, ops[5].use_bias = recipe % 4 != 2;
    ops[2].alpha = ops[2].rms = recipe / 6 % 2;
    ops[2].use_kernel = recipe % 5 != 1, ops[2].use_bias = recipe % 5 != 2;
    ops[4].n_inputs = 2, ops[4].inputs = (const int[]){2, 4};
    fnn_network *network = new_chain(kernels, n_in, ops, 6);
    if (!network) fail("no network");
    fill_weights(network);
    fill((char *)network->weights + (size_t)network->ops[0].state * element, element, 2 * n_in, recipe % 4 ? 0.5 : 0,
         recipe % 4 ? 1.5 : 1e-18, 3);
    const fnn_loss loss = {.kind = FNN_MSE, .factor = 1};
    fnn_optimizer o = optimizer(FNN_SGD);
    if (compile_chain(network, &loss, &o) != FNN_OK) fail("no compiled network");
    fill(X, 8, n * n_in, -1.5, 1.5, 1), fill(y, element, n * 3, -1, 1, 2);
    for (ptrdiff_t i = 0; recipe % 3 != 1 && i < n * n_in; i += 7) X[i] = NAN;
    const chain_data data = {.X = {X, FNN_F64, 8 * n_in, 8, n, n_in},
                             .targets.y = {y, kernels->dtype, 3 * (ptrdiff_t)element, (ptrdiff_t)element, n, 3},
                             .batch_size = n, .n_threads = 1};
    fnn_fit *fit = new_fit(network, &data);
    if (!fit || network->n_elements > MOST) fail("no fit");
    for (int training = 0; training < 2; training++) {
        double values[2];
        memset(gradients, 0, (size_t)network->n_elements * element);
        if (fnn_fit_gradients(fit, gradients, training, &values[0], &values[1]) != FNN_OK) fail("no gradients");
        add(values, sizeof values);
        add_weights(network, gradients);
    }
    fnn_fit_free(fit);
    clear(out, n * 3, element);
    if (predict_rows(network, &data.X, out, NULL, 0, 1) != FNN_OK) fail("no prediction");
    add_guarded(out, n * 3, element);
    fnn_network_free(network);
    printf("gradient %d", recipe);
}

static void set(void *out, size_t element, ptrdiff_t i, double x) {
    if (element == 4)
        ((float *)out)[i] = (float)x;
    else
        ((double *)out)[i] = x;
}

static double get(const void *x, size_t element, ptrdiff_t i) {
    return element == 4 ? (double)((const float *)x)[i] : ((const double *)x)[i];
}

/* Operands of all widths, also one number and one feature that count for all; equal numbers, zeros of both signs, NaN. */
static void combine(const fnn_kernels *kernels, int kind) {
    static double A[16 * 40], B[16 * 40], Y[16 * 40 + GUARD], rest[16 * 40], dX[16 * 40 + GUARD];
    static const ptrdiff_t widths[] = {1, 3, 17, 40};
    const size_t element = (size_t)fnn_element(kernels);
    for (int i = 0; i < 32; i++) {
        const ptrdiff_t n = widths[i % 4], lanes = i / 4 % 2 ? 1 : kernels->panel, count = n * lanes;
        const fnn_operands how = {kind, n, lanes, i / 8 % 2 ? 0 : lanes, i / 16 ? 0 : lanes};
        fill_magnitudes(A, element, count, 10), fill(B, element, count, -2, 2, (uint64_t)i);
        for (ptrdiff_t j = 0; j < count; j += 3) set(B, element, j, get(A, element, j));
        if (kind >= FNN_MAXIMUM && n > 1)
            for (int j = 0; j < 4; j++)
                set(A, element, 1 + j, j ? -0.0 : 0.0), set(B, element, 1 + j, j == 3 ? NAN : j ? 0.0 : -0.0);
        clear(Y, count, element), clear(dX, count, element);
        kernels->combine(Y, A, B, &how);
        add_guarded(Y, count, element);
        if (lanes == 1) continue;
        fill(rest, element, count, -1, 1, 2);
        kernels->take_equal(i % 3 ? dX : NULL, rest, A, Y, n, how.a_step);
        add_guarded(dX, count, element), add(rest, (size_t)count * element);
        kernels->sum_features(dX, Y, n);
        add_guarded(dX, count, element);
    }
    printf("combined %d", kind);
}

/* Dot products and cosines with their gradients, in panels and in rows, also of rows without a length. */
static void multiply_rows(const fnn_kernels *kernels) {
    static double A[MOST_ROWS * 34], B[MOST_ROWS * 34], Y[MOST_ROWS * 2 + GUARD], dA[16 * 33 + GUARD], norms[32];
    const size_t element = (size_t)fnn_element(kernels);
    const ptrdiff_t panel = kernels->panel;
    for (int i = 0; i < 16; i++) {
        const ptrdiff_t n = 1 + 4 * i % 33, rows = 1 + 7 * i % MOST_ROWS;
        fill(A, element, MOST_ROWS * 34, -1, 1, 1), fill(B, element, MOST_ROWS * 34, -1, 1, 2);
        for (ptrdiff_t f = 0; f < n && i / 2 % 2; f++) set(i / 4 % 2 ? A : B, element, f * panel + 3, i / 8 ? 1e-9 : 0);
        clear(Y, panel, element);
        kernels->dot(Y, i % 2 ? norms : NULL, A, B, n);
        add_guarded(Y, panel, element);
        for (int which = 0; which < 2; which++) {
            clear(dA, n * panel, element);
            kernels->dot_gradient(dA, A, Y, i % 2 ? norms : NULL, which, which ? B : A, which ? A : B, n);
            add_guarded(dA, n * panel, element);
        }
        clear(Y, rows * 2, element);
        const fnn_rows a = {Y, A, 2, n + 1, rows, n}, b = {NULL, B, 0, n, rows, n};
        kernels->dot_rows(&a, &b, i % 2);
        add_guarded(Y, rows * 2, element);
    }
    printf("dot products");
}

/* Rows of tables of all widths and their gradients; numbers that name no row. */
static void look_up(const fnn_kernels *kernels) {
    enum { MOST_WIDTH = 40, INPUTS = 3 };
    static const double wrong[] = {-1, 0.5, NAN, INFINITY, 23, 0x1p70};
    static double kernel[23 * MOST_WIDTH], W[24 * 48], X[48 * INPUTS], Y[16 * INPUTS * MOST_WIDTH + GUARD];
    static double dY[MOST_ROWS * INPUTS * MOST_WIDTH], G[24 * 16 + GUARD];
    const size_t element = (size_t)fnn_element(kernels);
    const ptrdiff_t panel = kernels->panel;
    for (int i = 0; i < 20; i++) {
        const ptrdiff_t columns = 1 + 7 * i % MOST_WIDTH, rows = i % 5 ? 23 : 1, n = 1 + i % INPUTS, n_out = n * columns;
        const fnn_table table = {W, rows, columns};
        fill(kernel, element, rows * columns, -1, 1, 1), fill(dY, element, MOST_ROWS * n_out, -1, 1, 2);
        kernels->pack_weights(W, kernel, NULL, rows, columns);
        for (ptrdiff_t j = 0; j < 48 * n; j++) set(X, element, j, (double)(j * 7 % rows));
        for (int j = -1; j < 6; j++) {
            if (j >= 0) set(X, element, panel * n - 1 - j, wrong[j]);
            clear(Y, n_out * panel, element);
            if (kernels->look_up(Y, X, &table, n) != (j < 0)) fail("wrong numbers of rows");
            add_guarded(Y, n_out * panel, element);
            clear(Y, panel * n_out, element);
            kernels->look_up_rows(&(fnn_rows){Y, X, n_out, n, panel, n}, &table);
            add_guarded(Y, panel * n_out, element);
        }
        const ptrdiff_t batch = 1 + 11 * i % MOST_ROWS;
        for (ptrdiff_t q = 0; q < fnn_ceil_div(columns, panel); q++)
            for (ptrdiff_t first = 0; first < rows; first += 9) {
                const fnn_range some = {first, fnn_min(first + 9, rows)};
                const size_t width = (size_t)fnn_panel_width(panel, kernels->narrow, columns, q) * element;
                const size_t used = (size_t)fnn_min(columns - q * panel, panel) * element;
                char *at = (char *)G;
                memset(G, 1, sizeof G); /* what stays behind the rows */
                kernels->table_gradient(G, &table, q, some, (fnn_panels){X, panel * n}, n, dY, batch);
                for (ptrdiff_t r = some.first; r < some.last; r++, at += width) add(at, used);
                add(at, GUARD * element);
            }
    }
    printf("looked up");
}

/* Factors of A = B' B + I, solutions and traces; matrices that are not positive definite. */
static void factorize(const fnn_kernels *kernels) {
    enum { MOST_N = 35 };
    static double B[MOST_N * MOST_N], A[MOST_N * MOST_N + GUARD], b[MOST_N + GUARD], scratch[MOST_N + GUARD];
    static const double wrong[] = {0, -1, INFINITY, NAN};
    const size_t element = (size_t)fnn_element(kernels);
    for (ptrdiff_t n = 1; n <= MOST_N; n++)
        for (int i = 0; i < 5; i++) {
            double error = 0, trace = 0;
            fill(B, element, n * n, -1, 1, (uint64_t)n);
            clear(A, n * n, element), clear(b, n, element), clear(scratch, n, element);
            for (ptrdiff_t j = 0; j < n * n; j++) {
                double sum = j / n == j % n;
                for (ptrdiff_t k = 0; k < n; k++) sum += get(B, element, k * n + j / n) * get(B, element, k * n + j % n);
                set(A, element, j, j / n > j % n ? NAN : sum); /* the lower triangle is not read */
            }
            const ptrdiff_t at = (n - 1) * i / 4;
            if (i < 4) set(A, element, at * n + at, wrong[i]);
            for (ptrdiff_t j = 0; j < n; j++) /* so that the solution is 1, 2, ... */
                for (ptrdiff_t k = 0; k < n && i == 4; k++) {
                    const double a = get(A, element, j < k ? j * n + k : k * n + j);
                    set(b, element, j, get(b, element, j) + (double)(k + 1) * a);
                }
            if (kernels->cholesky(A, n) != (i == 4)) fail("a matrix is positive definite, or not");
            if (i < 4) continue;
            kernels->cholesky_solve(A, n, b);
            trace = kernels->cholesky_inverse_trace(A, n, scratch);
            for (ptrdiff_t j = 0; j < n; j++) error = fmax(error, fabs(get(b, element, j) - (double)(j + 1)));
            if (error > (element == 4 ? 1e-2 : 1e-11) || trace <= 0 || trace > (double)n) fail("a wrong solution");
            for (ptrdiff_t j = 0; j < n; j++) add((char *)A + (size_t)(j * n + j) * element, (size_t)(n - j) * element);
            add((char *)A + (size_t)(n * n) * element, GUARD * element);
            add_guarded(b, n, element), add(&trace, sizeof trace);
            add((char *)scratch + (size_t)n * element, GUARD * element);
        }
    printf("factors");
}

/* One step on weights that do not stay in the second-level cache. */
static void train_wide(const fnn_kernels *kernels, int kind) {
    enum { ROWS = 5, INPUTS = 600, OUTPUTS = 440 };
    static double X[ROWS * INPUTS], y[ROWS * OUTPUTS];
    const ptrdiff_t element = fnn_element(kernels);
    const fnn_op op = dense(OUTPUTS, FNN_LINEAR);
    const fnn_loss loss = {.kind = FNN_MSE, .factor = 1};
    const fnn_optimizer o = optimizer(kind);
    const double rate = 0.01;
    fnn_network *network = new_chain(kernels, INPUTS, &op, 1);
    if (!network || compile_chain(network, &loss, &o) != FNN_OK) fail("no network");
    fill_weights(network);
    fill(X, 8, ROWS * INPUTS, -1, 1, 1), fill(y, (size_t)element, ROWS * OUTPUTS, -1, 1, 2);
    const chain_data data = {.X = {X, FNN_F64, 8 * INPUTS, 8, ROWS, INPUTS}, .batch_size = ROWS, .n_threads = 1,
                             .targets.y = {y, kernels->dtype, OUTPUTS * element, element, ROWS, OUTPUTS}};
    fnn_fit *fit = new_fit(network, &data);
    if (!fit) fail("no fit");
    fnn_fit_begin(fit, 1, 0, 1, &rate);
    if (fnn_fit_run(fit, -1, 1e9) != FNN_OK) fail("the fit did not end");
    add_weights(network, network->weights);
    fnn_fit_free(fit);
    fnn_network_free(network);
    printf("wide %d", kind);
}

/* Products of arrays of any length; a sum or a parameter that is not there. */
static void do_without(const fnn_kernels *kernels) {
    static double a[70 + GUARD], b[70], G[48 + GUARD], kernel[20 * 9], bias[9 + GUARD], W[21 * 16];
    const size_t element = (size_t)fnn_element(kernels);
    for (ptrdiff_t n = 1; n <= 70; n += 1 + n / 9) {
        clear(a, n, element);
        fill(a, element, n, -1, 1, 1), fill(b, element, n, -1, 1, 2);
        kernels->multiply(a, b, n);
        add_guarded(a, n, element);
    }
    fill(a, 8, 16, -1, 1, 3);
    for (int i = 0; i < 3; i++) {
        clear(G, 2 * kernels->panel, element);
        kernels->store_sums(G, i == 1 ? NULL : a, i == 2 ? NULL : a + 8, 7, kernels->panel);
        add_guarded(G, 2 * kernels->panel, element);
    }
    fill(kernel, element, 20 * 9, -1, 1, 4), fill(b, element, 9, -1, 1, 5);
    kernels->pack_weights(W, kernel, b, 20, 9);
    clear(bias, 9, element);
    kernels->unpack_weights(NULL, bias, W, 20, 9);
    add_guarded(bias, 9, element);
    double sink[16] = {0};
    if (!(kernels->fma_peak(3, sink) > 0) || !kernels->all_finite(sink, kernels->panel)) fail("no multiply-adds");
    printf("done without");
}

/* relu of -0 is -0 and that of NaN is NaN, in every tile: of one row and of several, of narrow panels and of single
 * columns. */
static void keep_zeros(const fnn_kernels *kernels) {
    static double x[20 * 7], kernel[7 * 50], bias[50], y[20 * 50];
    const size_t element = (size_t)fnn_element(kernels);
    for (ptrdiff_t i = 0; i < 7 * 50; i++) set(kernel, element, i, -1);
    for (int nan = 0; nan < 2; nan++)
        for (ptrdiff_t m = 1; m <= 20; m += m < 7 ? 1 : 13)
            for (ptrdiff_t n = 1; n <= 50; n += 1 + n / 3) {
                const fnn_dense_arrays arrays = {x, kernel, bias, m, 7, n, FNN_RELU, {0}};
                for (ptrdiff_t o = 0; o < n; o++) set(bias, element, o, nan ? NAN : -0.0);
                if (fnn_dense_forward(kernels, y, &arrays, 1) != FNN_OK) fail("no product");
                for (ptrdiff_t i = 0; i < m * n; i++) {
                    const double found = get(y, element, i);
                    if (nan ? found == found : found != 0 || !signbit(found)) fail("relu of -0 or NaN is another number");
                }
            }
}

/* Panels of features that lie one after the other, at each place and of each height. */
static void gather_columns(const fnn_kernels *kernels) {
    enum { COLUMNS = 9 };
    static double X[MOST_ROWS * COLUMNS], panel[16 * COLUMNS + GUARD];
    const ptrdiff_t element = fnn_element(kernels), widths[] = {1, 2, COLUMNS, 1}, steps[] = {1, 1, 1, 2};
    fill(X, (size_t)element, MOST_ROWS * COLUMNS, -1, 1, 1);
    for (int i = 0; i < 4; i++)
        for (ptrdiff_t count = 1; count <= kernels->panel; count++) {
            const ptrdiff_t apart = widths[i] > 1 ? element * MOST_ROWS : element;
            const fnn_matrix columns = {X, kernels->dtype, steps[i] * element, apart, MOST_ROWS, widths[i]};
            const ptrdiff_t first = count * 5 % (MOST_ROWS - 16), n = widths[i] * kernels->panel;
            clear(panel, n, (size_t)element);
            kernels->gather(panel, &columns, NULL, first, count);
            for (ptrdiff_t f = 0; f < widths[i]; f++)
                for (ptrdiff_t r = 0; r < kernels->panel; r++)
                    if (get(panel, (size_t)element, f * kernels->panel + r) !=
                        get(X, (size_t)element, f * MOST_ROWS + steps[i] * (first + fnn_min(r, count - 1))))
                        fail("another number is gathered");
            add_guarded(panel, n, (size_t)element);
        }
    printf("columns");
}
