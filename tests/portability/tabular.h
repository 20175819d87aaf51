/* Networks of the layers for tables, and cosines of angles of all magnitudes. Included by steps.c. */

/* Cosines, bounded lines, scales, members, mixed activations and groups, one after the other, with Adam and dropped
 * factors. */
static void train_tabular(const fnn_kernels *kernels, int recipe) {
    static double X[MOST], y[MOST], out[MOST];
    const size_t element = (size_t)fnn_element(kernels);
    const ptrdiff_t n_in = 1 + 3 * recipe % 7, count = 1 + recipe % 5, members = 1 + 2 * recipe % 6;
    const ptrdiff_t lines = n_in * count * (1 + recipe % 3), units = 1 + 11 * recipe % 37, parts = 1 + recipe % 2;
    const ptrdiff_t batch = 1 + 17 * recipe % 70, rows = 2 * batch + 3;
    fnn_op ops[] = {between("cosine_features"), between("bounded_lines"), between("feature_scale"),
                    between("member_product"), between("parametric_activation"), between("grouped_product"),
                    dense(3, FNN_LINEAR)};
    enum { COSINES, LINES, SCALE, MEMBERS, MIXED, GROUPED, LAST, N_OPS };
    for (int i = COSINES; i <= GROUPED; i++) ops[i].activation = FNN_LINEAR, ops[i].multiple = ops[i].groups = 1;
    ops[COSINES].multiple = count;
    ops[LINES].table_rows = 3, ops[LINES].columns = lines, ops[LINES].trainable = 0;
    ops[SCALE].multiple = members, ops[SCALE].use_bias = recipe % 4 != 1;
    ops[MEMBERS].table_rows = lines, ops[MEMBERS].columns = units, ops[MEMBERS].groups = members;
    ops[MEMBERS].use_bias = recipe % 3 != 1;
    ops[MIXED].use_bias = 0, ops[MIXED].function = recipe % FNN_SOFTMAX;
    ops[MIXED].parameters[0] = 0.2, ops[MIXED].parameters[1] = 6.0, ops[MIXED].parameters[2] = 0.1;
    ops[GROUPED].table_rows = units, ops[GROUPED].columns = members * parts, ops[GROUPED].groups = members;
    ops[GROUPED].use_bias = recipe % 5 != 1;
    fnn_loss loss = {.kind = FNN_MSE, .factor = 1};
    fnn_optimizer o = optimizer(recipe % 2 ? FNN_ADAM : FNN_SGD);
    vary(recipe, ops, N_OPS, &loss, &o);
    for (int i = 0; i < LAST && recipe % 3 == 2; i++)
        ops[i].rules[FNN_KERNEL].has_factors = 1, ops[i].rules[FNN_KERNEL].rate_factor = 0.5,
        ops[i].rules[FNN_KERNEL].decay_factor = 2;
    fnn_network *network = new_chain(kernels, n_in, ops, N_OPS);
    if (!network) fail("no network");
    fill_weights(network);
    if (compile_chain(network, &loss, &o) != FNN_OK) fail("no compiled network");
    fill(X, 8, rows * n_in, -1.5, 1.5, 1), fill(y, element, rows * 3, -1, 1, 2);
    chain_data data = {.X = {X, FNN_F64, 8 * n_in, 8, rows, n_in},
                       .targets.y = {y, kernels->dtype, 3 * (ptrdiff_t)element, (ptrdiff_t)element, rows, 3},
                       .batch_size = batch, .n_threads = 1 + recipe % 3};
    fnn_fit *fit = new_fit(network, &data);
    if (!fit) fail("no fit");
    const double rates[] = {1e-3, 1e-3, 1e-3, 1e-3, 1e-3, 1e-3};
    if (fnn_fit_steps(fit) > 6) fail("too many steps");
    for (uint64_t epoch = 0; epoch < 3; epoch++) {
        fnn_fit_begin(fit, 3, epoch, 1, rates);
        fnn_status status;
        do status = fnn_fit_run(fit, -1, 1e9);
        while (status == FNN_MORE);
        if (status != FNN_OK) fail("the fit did not end");
        const double sum = fnn_fit_loss_sum(fit);
        add(&sum, sizeof sum);
    }
    fnn_fit_free(fit);
    add_weights(network, network->weights);
    for (int slot = 0; slot < network->n_slots; slot++) add_weights(network, network->slots[slot]);
    for (ptrdiff_t n = 1; n <= rows; n = n < rows ? fnn_min(2 * n + 1, rows) : n + 1) {
        data.X.rows = n;
        clear(out, n * 3, element);
        if (predict_rows(network, &data.X, out, NULL, 0, data.n_threads) != FNN_OK) fail("no prediction");
        add_guarded(out, n * 3, element);
    }
    fnn_network_free(network);
    printf("tabular %d", recipe);
}

/* Cosines and sines of angles from 2^-20 to 2^most turns, in panels and in rows. */
static void turn(const fnn_kernels *kernels, int most) {
    enum { INPUTS = 256, COUNT_OF_EACH = 3, OUTPUTS = INPUTS * COUNT_OF_EACH };
    static double X[16 * INPUTS], Y[16 * OUTPUTS], D[16 * OUTPUTS], frequencies[OUTPUTS], bias[OUTPUTS], W[4 * OUTPUTS];
    const size_t element = (size_t)fnn_element(kernels);
    const ptrdiff_t n = INPUTS * kernels->panel, n_out = OUTPUTS * kernels->panel;
    fill_magnitudes(X, element, n, most);
    fill(frequencies, element, OUTPUTS, -2, 2, 1), fill(bias, element, OUTPUTS, -3, 3, 2);
    kernels->pack_weights(W, frequencies, bias, 1, OUTPUTS);
    kernels->cosine_features(Y, D, X, W, INPUTS, OUTPUTS);
    add(Y, (size_t)n_out * element), add(D, (size_t)n_out * element);
    const fnn_rows rows = {.X = X, .Y = Y, .ldx = INPUTS, .ldy = OUTPUTS, .n = INPUTS, .rows = kernels->panel};
    kernels->cosine_features_rows(&rows, W, OUTPUTS);
    add(Y, (size_t)n_out * element);
    printf("turn %d", most);
}

/* Derivatives and gradients of inputs that are not asked for: the other results are the same. */
static void skip_derivatives(const fnn_kernels *kernels) {
    enum { INPUTS = 7, COUNT_OF_EACH = 3, OUTPUTS = INPUTS * COUNT_OF_EACH };
    static double X[16 * INPUTS], W[5 * 48], weights[4 * OUTPUTS], Y[3][16 * OUTPUTS], D[16 * OUTPUTS], S[2][16 * OUTPUTS];
    const size_t element = (size_t)fnn_element(kernels), bytes = (size_t)(OUTPUTS * kernels->panel) * element;
    const ptrdiff_t n = INPUTS * kernels->panel, n_out = OUTPUTS * kernels->panel;
    double inverse[16], offset[16];
    fill(X, element, n, -2, 2, 1), fill(weights, element, 4 * OUTPUTS, -1, 1, 2);
    kernels->pack_weights(W, weights, weights, 1, OUTPUTS);
    kernels->cosine_features(Y[0], D, X, W, INPUTS, OUTPUTS), kernels->cosine_features(Y[1], NULL, X, W, INPUTS, OUTPUTS);
    if (memcmp(Y[0], Y[1], bytes)) fail("other cosines without sines");
    kernels->cosine_features_gradient(Y[1], S[0], Y[0], D, W, INPUTS, OUTPUTS);
    kernels->cosine_features_gradient(NULL, S[1], Y[0], D, W, INPUTS, OUTPUTS);
    if (memcmp(S[0], S[1], bytes)) fail("another gradient without that of the inputs");
    add(Y[1], (size_t)n * element), add(S[0], bytes);
    kernels->pack_weights(W, weights, weights + OUTPUTS, 1, INPUTS);
    fill(Y[0], element, n_out, -2, 2, 3), memcpy(Y[1], Y[0], bytes), fill(D, element, n_out, -1, 1, 4);
    kernels->mix_identity(Y[0], D, S[0], X, W, INPUTS), kernels->mix_identity(Y[1], NULL, NULL, X, W, INPUTS);
    if (memcmp(Y[0], Y[1], (size_t)n * element)) fail("another mixture without derivatives");
    add(Y[0], (size_t)n * element), add(D, (size_t)n * element), add(S[0], (size_t)n * element);
    kernels->layer_norm(Y[0], S[0], inverse, offset, X, W, INPUTS, 1e-3, 0);
    kernels->layer_norm(Y[1], NULL, inverse, offset, X, W, INPUTS, 1e-3, 0);
    if (memcmp(Y[0], Y[1], (size_t)n * element)) fail("another normalization without what the gradient reads");
    add(Y[0], (size_t)n * element), add(S[0], (size_t)n * element);
    kernels->pack_weights(W, weights, weights + 3 * OUTPUTS, 3, OUTPUTS);
    const fnn_table lines = {W, 3, OUTPUTS};
    kernels->bounded_lines(Y[0], D, X, &lines, INPUTS), kernels->bounded_lines(Y[1], NULL, X, &lines, INPUTS);
    if (memcmp(Y[0], Y[1], bytes)) fail("other lines without slopes");
    add(Y[0], bytes), add(D, bytes);
    printf("derivatives");
}
