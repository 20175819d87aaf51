/* Options and programs that models seldom have. Included by limits.c. */

/* ---- options that layers seldom have together ---- */

static void train_with_options(void) {
    fnn_op ops[] = {layer("layer_normalization", 0), layer("gaussian_noise", 0), layer("dense", 9),
                    layer("batch_normalization", 0), layer("batch_normalization", 0), layer("batch_normalization", 0),
                    layer("dense", 520), layer("dense", 520), layer("dense", 4)};
    const int n_ops = sizeof ops / sizeof *ops;
    ops[0].trainable = 0;
    ops[1].rate = 0;
    ops[2].rules[FNN_KERNEL] = ops[5].rules[FNN_KERNEL] = (fnn_rules){0};
    ops[2].rules[FNN_BIAS] = (fnn_rules){.l1 = 1e-3, .constraint = FNN_UNIT_NORM, .axis = FNN_OVER_INPUTS};
    ops[3].use_kernel = 0, ops[3].rules[FNN_BIAS].l2 = 1e-2;
    ops[4].use_kernel = ops[4].use_bias = 0;
    const fnn_loss loss = {.kind = FNN_DICE, .factor = 1, .sum = 1};
    fnn_optimizer o = {.update = {.kind = FNN_SGD, .rate = 1, .scale = 1}, .global_clip_norm = 0.5, .accumulate = 1};
    ops[5].use_bias = 0;
    network = new_chain(kernels, 7, ops, n_ops);
    if (!network || compile_chain(network, &loss, &o) != FNN_OK) fail("network", "not made");
    if (fnn_average_slot(network) || fnn_skipped_activation(network, 0) >= 0) fail("network", "has a slot of averages");
    if (!(fnn_network_penalty(network) >= 0)) fail("penalty", "negative");
    const double rates[] = {0.01, 0.01, 0.01};
    for (int weighted = 0; weighted < 2; weighted++) {
        const chain_data data = {.X = matrix(X, 50, 7),
                                 .targets = {.y = matrix(Y, 50, 4), .sample_weight = weighted ? Y : NULL},
                                 .batch_size = 20, .n_threads = n_threads, .predictions = out};
        fit = new_fit(network, &data);
        if (!fit) fail("fit", "not made");
        for (int i = 0; i < 6; i++) {
            fnn_fit_begin(fit, (uint64_t)(i / 2), (uint64_t)(i / 3), 1, rates);
            if (fnn_fit_run(fit, -1, 1e9) != FNN_OK) fail("fit", "does not end");
        }
        if (compile_chain(network, &loss, &o) != FNN_OK || differentiate() != FNN_OK) fail("gradients", "fail");
        fnn_fit_free(fit);
    }
    fnn_matrix rows = matrix(X, 50, 7);
    const fnn_matrix whole = {Y, FNN_I64, 56, 8, 50, 7}, backwards = {(char *)X + 49 * rows.row_stride, rows.dtype,
                              -rows.row_stride, 2 * rows.col_stride, 50, 3};
    if (fnn_bad_row(network, 0, &rows) != -1 || fnn_bad_row(network, 0, &whole) != -1 ||
        fnn_bad_row(network, 0, &backwards) != -1)
        fail("rows", "finite, but refused");
    memcpy(after, X, 50 * 7 * network->element);
    memset((char *)after + (7 * 31 + 2) * network->element, 0xff, network->element);
    fnn_matrix bad = backwards;
    bad.data = (char *)after + 49 * rows.row_stride;
    if (fnn_bad_row(network, 0, &bad) != 49 - 31) fail("rows", "NaN is not found");
    fnn_network_free(network);
    fnn_op last[] = {layer("dense", 4), layer("activation", 0)};
    last[0].activation = FNN_LINEAR, last[1].activation = FNN_SOFTMAX;
    const fnn_loss of_logits = {.kind = FNN_CCE, .from_logits = 1, .factor = 1};
    o.global_clip_norm = 0;
    network = new_chain(kernels, 7, last, 2);
    if (!network || compile_chain(network, &of_logits, &o) != FNN_OK) fail("network", "not made");
    if (fnn_skipped_activation(network, 0) != 1) fail("softmax", "is not skipped");
    const chain_data data = {.X = rows, .targets.y = matrix(Y, 50, 4), .batch_size = 20, .n_threads = n_threads};
    fit = new_fit(network, &data);
    fnn_fit_begin(fit, 1, 1, 1, rates);
    if (fnn_fit_run(fit, -1, 1e9) != FNN_OK) fail("fit", "does not end");
    fnn_fit_free(fit);
    if (predict_rows(network, &rows, out, NULL, 1, n_threads) != FNN_OK) fail("predict", "logits");
    if (predict_rows(network, &rows, after, NULL, 0, n_threads) != FNN_OK) fail("predict", "classes");
    fnn_activate(kernels, before, out, 50, 4, FNN_SOFTMAX, NULL);
    if (memcmp(before, after, 50 * 4 * network->element)) fail("predict", "logits are those of other classes");
    fnn_network_free(network);
    last[0].activation = FNN_EXPONENTIAL;
    const fnn_loss counts = {.kind = FNN_POISSON, .from_logits = 1, .factor = 1};
    network = new_chain(kernels, 7, last, 1);
    if (!network || compile_chain(network, &counts, &o) != FNN_OK) fail("network", "not made");
    if (fnn_skipped_activation(network, 0) != 0) fail("exponential", "is not skipped");
    fnn_network_free(network);
    network = new_chain(kernels, 7, ops, 0);
    if (!network || fnn_bad_row(network, 0, &rows) != -1) fail("rows", "finite, but refused");
    if (predict_rows(network, &rows, out, NULL, 0, n_threads) != FNN_OK) fail("predict", "without a layer");
    if (memcmp(out, X, 50 * 7 * network->element)) fail("predict", "without a layer, changes the rows");
    if (fnn_skips_activation(network, 0) || network->takes_missing[0]) fail("network", "has a layer");
    fnn_network_free(network);
    printf("options\n");
}

/* ---- inputs that no gradient reaches ---- */

/* Small numbers of both signs. */
static void set_weights(void *weights, ptrdiff_t n) {
    for (ptrdiff_t i = 0; i < n; i++) {
        const double w = (double)(i * 7 % 13 - 6) / 40;
        if (kernels->dtype == FNN_F32)
            ((float *)weights)[i] = (float)w;
        else
            ((double *)weights)[i] = w;
    }
}

/* Gradients of a program's weights are the same where its inputs are trained too: products with ones. */
static void compare_with_trained_inputs(const char *name, const fnn_op *ops, int n) {
    static double alone[MOST];
    static const int first_two[] = {1, 2};
    static const float ones[] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};
    static const double doubles[] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};
    fnn_op all[8] = {layer("feature_scale", 0)};
    const fnn_loss loss = {.kind = FNN_MSE, .factor = 1};
    const fnn_optimizer o = {.update = {.kind = FNN_SGD, .rate = 1, .scale = 1}, .accumulate = 1};
    size_t bytes = 0;
    all[0].multiple = 1, all[0].use_bias = 0, all[0].rules[FNN_KERNEL] = (fnn_rules){0};
    for (int i = 0; i < n; i++) {
        all[1 + i] = ops[i];
        if (ops[i].n_inputs > 1) all[1 + i].inputs = first_two;
    }
    for (int trained = 0; trained < 2; trained++) {
        network = trained ? new_chain(kernels, 12, all, n + 1) : new_chain(kernels, 12, ops, n);
        if (!network || compile_chain(network, &loss, &o) != FNN_OK) fail(name, "no network");
        const ptrdiff_t first = trained ? network->ops[1].weights : 0;
        if (!trained) bytes = bytes_of_weights();
        const size_t offset = (size_t)first * network->element;
        const void *kernel = kernels->dtype == FNN_F32 ? (const void *)ones : doubles;
        if (trained) kernels->pack_weights(network->weights, kernel, NULL, 1, 12);
        set_weights((char *)network->weights + offset, network->n_elements - first);
        fit = NULL;
        memset(gradients, 0, sizeof gradients);
        if (make_fit() != FNN_OK || differentiate() != FNN_OK) fail(name, "no gradient");
        if (trained && memcmp(alone, (char *)gradients + offset, bytes)) fail(name, "other gradients");
        if (!trained) memcpy(alone, gradients, bytes);
        fnn_fit_free(fit);
        for (int i = 0; i <= n - 1 + trained; i++) network->ops[i].trainable = 0;
        fit = NULL;
        if (make_fit() != FNN_OK || run() != FNN_OK) fail(name, "frozen");
        end();
    }
}

static void leave_inputs_alone(void) {
    fnn_op scale[] = {layer("feature_scale", 0), layer("dense", 3)};
    scale[0].multiple = 2;
    compare_with_trained_inputs("feature_scale", scale, 2);
    fnn_op members[] = {layer("member_product", 0), layer("dense", 3)};
    members[0].table_rows = 6, members[0].columns = 5, members[0].groups = 2;
    compare_with_trained_inputs("member_product", members, 2);
    fnn_op sum[] = {layer("dense", 1), layer("add", 0), layer("dense", 3)};
    sum[1].n_inputs = 2, sum[1].inputs = (const int[]){0, 1};
    compare_with_trained_inputs("add", sum, 3);
}

/* ---- two outputs of which one has a loss ---- */

static void keep_an_output(void) {
    fnn_op ops[] = {layer("dense", 4), layer("activation", 0), layer("batch_normalization", 0)};
    const double rate = 0.01;
    const ptrdiff_t width = 12;
    ops[0].activation = FNN_LINEAR, ops[1].activation = FNN_SOFTMAX;
    ops[2].n_inputs = 1, ops[2].inputs = (const int[]){1};
    const fnn_loss loss = {.kind = FNN_CCE, .from_logits = 1, .factor = 1};
    const fnn_optimizer o = {.update = {.kind = FNN_SGD, .rate = 1, .scale = 1}, .accumulate = 1};
    network = fnn_network_new(kernels, &(fnn_program){&width, 1, 3, 2, ops, (const int[]){2, 3}});
    if (!network || compile_chain(network, &loss, &o) != FNN_OK) fail("outputs", "no network");
    const fnn_matrix rows = matrix(X, ROWS, 12);
    const fnn_targets targets = {.y = matrix(Y, ROWS, 4)};
    for (int kept = 0; kept < 2; kept++) {
        set_weights(network->weights, network->n_elements);
        memset(out, 0, ROWS * 4 * network->element);
        const fnn_fit_data data = {.X = &rows, .targets = &targets, .predictions = (void *[]){NULL, kept ? out : NULL},
                                   .batch_size = ROWS, .n_threads = n_threads, .ranks = ranks};
        fit = fnn_fit_new(network, &data);
        if (!fit) fail("outputs", "no fit");
        fnn_fit_begin(fit, 1, 1, 0, &rate);
        const int64_t *order;
        ptrdiff_t first;
        if (fnn_fit_batch(fit, &order, &first) != ROWS || order || first) fail("outputs", "another batch");
        if (differentiate() != FNN_OK) fail("outputs", "no gradient");
        for (ptrdiff_t i = 0; i < ROWS * 4 * (ptrdiff_t)network->element / 8; i++)
            if (out[i] != 0) fail("outputs", "kept while gradients are computed");
        if (fnn_fit_run(fit, -1, 1e9) != FNN_OK) fail("outputs", "no step");
        if (kept && memcmp(after, network->weights, (size_t)network->ops[2].weights * network->element))
            fail("outputs", "other weights where an output is kept");
        memcpy(after, network->weights, bytes_of_weights());
        if (kept && !kernels->all_finite(out, ROWS * 4)) fail("outputs", "not finite");
        fnn_fit_free(fit);
    }
    fnn_network_free(network);
}

/* ---- arrays that change after they were checked; layers that are freed ---- */

static void change_arrays(void) {
    static int64_t labels[ROWS];
    fnn_op ops[] = {layer("embedding", 0), layer("dense", 3)};
    ops[0].table_rows = 5, ops[0].columns = 4, ops[0].use_bias = 0;
    ops[1].activation = FNN_SOFTMAX;
    const fnn_loss loss = {.kind = FNN_SPARSE_CCE, .factor = 1};
    const fnn_optimizer o = {.update = {.kind = FNN_SGD, .rate = 1, .scale = 1}, .accumulate = 1, .global_clip_norm = 1};
    start(FNN_CUSTOM, 0, 1);
    for (int i = 0; i < network->n_ops; i++) network->ops[i].trainable = 0;
    if (make_fit() != FNN_OK || run_custom() != FNN_OK) fail("custom loss", "of a frozen network");
    end();
    network = new_chain(kernels, 1, ops, 2);
    if (!network || compile_chain(network, &loss, &o) != FNN_OK) fail("table", "no network");
    double *numbers = after;
    memset(numbers, 0, ROWS * sizeof(double));
    const fnn_matrix rows = {numbers, FNN_F64, 8, 8, ROWS, 1};
    const fnn_targets targets = {.labels = labels};
    network->ops[0].trainable = 0;
    fit = fnn_fit_new(network, &(fnn_fit_data){.X = &rows, .targets = &targets, .predictions = (void *[]){NULL},
                                               .batch_size = ROWS, .n_threads = n_threads});
    if (!fit || run() != FNN_OK) fail("table", "no fit");
    network->ops[0].trainable = 1;
    if (run() != FNN_OK) fail("table", "freed during a fit");
    numbers[600] = 5;
    if (run() != FNN_NONFINITE) fail("table", "a number that names no row");
    numbers[600] = 0;
    for (int64_t wrong = -1; wrong < 4; wrong += 4) {
        labels[7] = wrong;
        if (run() != FNN_NONFINITE) fail("labels", "a number that names no class");
    }
    labels[7] = 2;
    if (run() != FNN_OK) fail("labels", "do not work any longer");
    end();
}

/* ---- ranks that are pretended: this process has all parts of what it exchanges ---- */

static int loses_other;
static long begun, fails_at; /* this exchange; 0: none */

static int pretend(void *context, void *buffer, const ptrdiff_t *first) {
    (void)context;
    if (loses_other) ((char *)buffer)[first[1]] = 1; /* a loss of the other rank is not finite */
    return ++begun != fails_at;
}

static int pretend_to_scatter(void *context, const void *parts, const ptrdiff_t *first, void *received,
                              const ptrdiff_t *received_first) {
    (void)context, (void)parts, (void)first, (void)received, (void)received_first;
    return ++begun != fails_at;
}

static int pretend_to_finish(void *context) {
    (void)context;
    return ++begun != fails_at;
}

static const fnn_ranks two = {.n_ranks = 2, .gather = pretend, .start_gather = pretend,
                              .start_scatter = pretend_to_scatter, .finish = pretend_to_finish};

static void pretend_ranks(void) {
    fnn_ranks lazy = two;
    lazy.least_operations = 1e99;
    for (int i = 0; i < 5; i++) {
        ranks = &two;
        batch = i == 4 ? 512 : ROWS; /* whole chunks */
        start(i == 1 ? FNN_DICE : FNN_MSE, i == 2 ? 0.5 : 0, i == 3 ? 2 : 1);
        if (!fnn_fit_is_divided(fit)) fail("ranks", "do not divide a step");
        fnn_fit_time_phases(fit);
        if (run() != FNN_OK || fnn_fit_phase_ns(fit, FNN_EXCHANGE) <= 0) fail("ranks", "do not exchange");
        if (!i) interrupt("fit of a rank", run, 0, 4);
        if (i == 2 || i == 4) starve("fit of a rank", make_fit);
        fnn_status status = FNN_INTERRUPTED;
        for (fails_at = 1; status == FNN_INTERRUPTED; fails_at++) {
            begun = 0;
            if (make_fit() != FNN_OK) fail("ranks", "no fit");
            status = run();
        }
        if (status != FNN_OK || fails_at < 4) fail("ranks", "do not end where an exchange fails");
        fails_at = 0;
        loses_other = 1;
        if (run() != FNN_NONFINITE) fail("ranks", "do not hear that a loss is not finite");
        loses_other = 0;
        ranks = &lazy;
        if (make_fit() != FNN_OK || fnn_fit_is_divided(fit)) fail("ranks", "divide a small step");
        end();
    }
    fnn_op shared[] = {layer("dense", 12), layer("dense", 12), layer("dense", 3)};
    const fnn_loss loss = {.kind = FNN_MSE, .factor = 1};
    const fnn_optimizer o = {.update = {.kind = FNN_SGD, .rate = 1, .scale = 1}, .accumulate = 1};
    shared[1].shares = 1;
    network = new_chain(kernels, 12, shared, 3);
    ranks = &two, fit = NULL;
    if (!network || compile_chain(network, &loss, &o) != FNN_OK || make_fit() != FNN_OK) fail("ranks", "no shared weights");
    if (!fnn_fit_is_divided(fit)) fail("ranks", "do not divide shared weights");
    static const _Atomic int64_t counts[2];
    fnn_ranks sharing = two;
    sharing.n_exchanges = counts;
    const ptrdiff_t most = PTRDIFF_MAX / 64;
    const fnn_matrix rows = {X, kernels->dtype, 0, fnn_element(kernels), most, 12};
    const fnn_targets targets = {.y = {Y, kernels->dtype, 0, fnn_element(kernels), most, 3}};
    if (fnn_fit_new(network, &(fnn_fit_data){.X = &rows, .targets = &targets, .predictions = (void *[]){NULL},
                                             .batch_size = most, .n_threads = n_threads, .ranks = &sharing}))
        fail("ranks", "share all memory");
    end();
    batch = ROWS;
    keep_an_output();
    ranks = NULL;
}

/* ---- large steps, few rows and wide products ---- */

static void try_sizes(void) {
    const fnn_op wide = layer("dense", 1000), deep = layer("dense", 600);
    const fnn_loss loss = {.kind = FNN_MSE, .factor = 1};
    const fnn_optimizer o = {.update = {.kind = FNN_SGD, .rate = 1, .scale = 1}, .accumulate = 1};
    network = new_chain(kernels, 1000, &wide, 1);
    if (!network || compile_chain(network, &loss, &o) != FNN_OK) fail("large", "no network");
    for (int i = 0; i < 2; i++) {
        const chain_data data = {.X = matrix(X, i ? 400 : ROWS, 1000), .targets.y = matrix(Y, i ? 400 : ROWS, 1000),
                                 .batch_size = ROWS, .n_threads = n_threads};
        fit = new_fit(network, &data);
        if (!fit || fit->may_store == i) fail("large", "gradients of many rows may be stored, of few rows not");
        fnn_fit_free(fit);
    }
    ranks = &two, fit = NULL;
    if (make_fit() != FNN_OK || !fit->may_store || run() != FNN_OK) fail("large", "ranks may not store gradients");
    ranks = NULL;
    end();
    network = new_chain(kernels, 700, &deep, 1);
    if (!network) fail("wide", "no network");
    set_weights(network->weights, network->n_elements);
    fnn_matrix rows = {X, kernels->dtype, fnn_element(kernels), 8 * fnn_element(kernels), 8, 700};
    if (predict_rows(network, &rows, out, NULL, 0, 1) != FNN_OK) fail("wide", "not predicted");
    if (predict_rows(network, &rows, after, NULL, 0, n_threads) != FNN_OK) fail("wide", "not predicted by threads");
    if (memcmp(out, after, 8 * 600 * network->element)) fail("wide", "threads predict other numbers");
    memcpy(before, X, 8 * 700 * network->element);
    memset((char *)before + 5 * network->element, 0xff, network->element);
    rows.data = before;
    if (predict_rows(network, &rows, out, NULL, 0, n_threads) != FNN_BAD_INPUT) fail("wide", "NaN is not refused");
    fnn_network_free(network);
    fnn_dense_arrays arrays = {X, Y, NULL, ROWS, 900, 40, FNN_SOFTMAX, {0}};
    if (fnn_dense_forward(kernels, out, &arrays, n_threads) != FNN_OK) fail("panels", "no product");
    arrays.n = 100;
    if (fnn_dense_forward(kernels, after, &arrays, n_threads) != FNN_OK) fail("rows", "no product");
    if (memcmp(out, after, (size_t)(100 * 40 * fnn_element(kernels)))) fail("panels", "other numbers than rows");
}

/* ---- epochs in one call; trials of numbers of threads ---- */

static void run_epochs(void) {
    static int64_t orders[2 * ROWS];
    const double rate = 0.01;
    double sums[2][6];
    for (int i = 0; i < 2 * ROWS; i++) orders[i] = i % ROWS;
    for (int shuffle = 0; shuffle < 2; shuffle++) {
        start(FNN_MSE, 0, 1);
        fnn_epochs epochs = {.seed = 1, .between = 1, .shuffle = shuffle, .orders = orders, .rates = &rate, .count = 2,
                             .sums = sums[shuffle]};
        if (fnn_fit_run_epochs(fit, &epochs, 1e9) != FNN_OK || epochs.done != 2) fail("epochs", "do not end");
        end();
    }
    if (memcmp(sums[0], sums[1], sizeof sums[0])) fail("epochs", "orders that are given are shuffled");
}

/* Epochs between which held-out rows are evaluated. */
static fnn_status run_watched(void) {
    const double rates[] = {0.01, 0.01};
    const unsigned char skipped[FNN_MOST_OPS] = {0};
    const fnn_matrix rows = matrix(X, ROWS, WIDTH);
    const fnn_targets targets = {.y = matrix(Y, ROWS, 3)};
    double sums[2][3], values[2][2];
    fnn_held_out held_out = {{network->route, &rows, (void *[]){out}, NULL, skipped, n_threads}, &targets};
    fnn_epochs epochs = {.seed = 1, .between = 1, .shuffle = 1, .rates = rates, .count = 2, .sums = sums[0],
                         .held_out = &held_out, .values = values[0]};
    return fnn_fit_run_epochs(fit, &epochs, 1e9);
}

static void watch_epochs(void) {
    start(FNN_MSE, 0, 1);
    interrupt("watched epochs", run_watched, 0, 4);
    starve("watched epochs", run_watched);
    end();
}

/* Epochs that were interrupted, also while the order of their rows was drawn, continue as if they had not been. */
static void interrupt_epochs(void) {
    enum { MANY = 200000, STEPS = 2 };
    const double rates[STEPS] = {0.01, 0.01};
    const fnn_op op = layer("dense", 1);
    const fnn_loss loss = {.kind = FNN_MSE, .factor = 1};
    const fnn_optimizer o = {.update = {.kind = FNN_SGD, .rate = 1, .scale = 1}, .accumulate = 1};
    const chain_data data = {.X = matrix(X, MANY, 1), .targets.y = matrix(Y, MANY, 1), .batch_size = MANY / STEPS,
                             .n_threads = n_threads};
    double expected[6] = {0}, sums[6];
    network = new_chain(kernels, 1, &op, 1);
    fnn_set_poll(poll);
    for (long at = 0, stopped = 1; stopped; at += 1 + at / 3) {
        if (!network || compile_chain(network, &loss, &o) != FNN_OK) fail("epochs", "no network");
        set_weights(network->weights, network->n_elements);
        fit = new_fit(network, &data);
        fnn_epochs epochs = {.seed = 1, .between = 1, .shuffle = 1, .rates = rates, .count = 2, .sums = sums};
        fnn_status status = FNN_INTERRUPTED;
        looks = 0, interrupted_at = at;
        for (int calls = 0; status == FNN_INTERRUPTED && calls < 3; calls++) status = fnn_fit_run_epochs(fit, &epochs, 1e9);
        if (status != FNN_OK) fail("epochs", "do not end");
        if (!at) memcpy(expected, sums, sizeof sums);
        if (memcmp(expected, sums, sizeof sums)) fail("epochs", "are others after an interruption");
        stopped = !at || looks >= at;
        fnn_fit_free(fit);
    }
    fnn_set_poll(NULL);
    fnn_network_free(network);
}

/* ---- weights as one array, and their averages ---- */

static void average_and_flatten(void) {
    fnn_op ops[] = {layer("dense", 12), layer("dense", 12), layer("activation", 0), layer("batch_normalization", 0),
                    layer("batch_normalization", 0), layer("dense", 3)};
    const fnn_loss loss = {.kind = FNN_MSE, .factor = 1};
    const fnn_optimizer o = {.update = {.kind = FNN_SGD, .rate = 1, .scale = 1}, .accumulate = 1, .use_average = 1,
                             .average_momentum = 0.5};
    ops[1].shares = 1, ops[3].use_kernel = 0, ops[4].use_bias = 0;
    network = new_chain(kernels, 12, ops, 6);
    if (!network || compile_chain(network, &loss, &o) != FNN_OK) fail("average", "no network");
    if (fnn_flat_size(network) != 13 * 12 + 12 + 12 + 13 * 3) fail("flat", "another size");
    fnn_from_flat(network, network->weights, Y);
    fnn_to_flat(network, out, network->weights);
    if (memcmp(out, Y, (size_t)fnn_flat_size(network) * network->element)) fail("flat", "other weights");
    fit = NULL;
    if (make_fit() != FNN_OK || run() != FNN_OK) fail("average", "no step");
    network->ops[5].trainable = 0;
    const ptrdiff_t last = network->ops[5].weights;
    memcpy(before, network->weights, bytes_of_weights());
    fnn_network_use_average(network);
    if (!memcmp(before, network->weights, (size_t)(12 * 12) * network->element)) fail("average", "not used");
    if (memcmp((char *)before + (size_t)last * network->element, (char *)network->weights + (size_t)last * network->element,
               (size_t)(network->n_elements - last) * network->element))
        fail("average", "used for a frozen layer");
    end();
}

/* The number of threads on which most steps run is the fastest one. Steps that become slow are soon followed by a trial. */
static void simulate_threads(void) {
    for (int most = 1; most <= 8; most *= 2)
        for (int best = 1; best <= most; best *= 2) {
            fnn_trials trials;
            ptrdiff_t taken[9] = {0};
            int soon = 0;
            fnn_trials_start(&trials, most, 1e4);
            fnn_trials_note(&trials, 0, 1);
            for (ptrdiff_t left = 3000000, steps; left > 0; left -= steps) {
                const int used = fnn_trials_threads(&trials), slows = left < 50000; /* at the end all are slow */
                steps = fnn_min(fnn_trials_steps(&trials), left);
                taken[used] += steps;
                const int64_t each = used < best ? 2000 / used : 2000 / best + 500 * (used - best);
                fnn_trials_note(&trials, steps, steps * each * (slows ? 20 : 1));
                soon |= slows && left > 45000 && trials.probes_left;
            }
            if (taken[best] < 2000000) fail("trials", "do not find the fastest number of threads");
            if (most > 1 && !soon) fail("trials", "do not follow steps that become slow");
        }
}

static void try_options(void) {
    train_with_options();
    leave_inputs_alone();
    keep_an_output();
    change_arrays();
    pretend_ranks();
    try_sizes();
    run_epochs();
    interrupt_epochs();
    watch_epochs();
    average_and_flatten();
    simulate_threads();
}
