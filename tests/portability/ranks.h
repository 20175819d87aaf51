/* Steps that ranks divide: threads here, each with its own network and fit. Included by steps.c. */

#define MOST_RANKS 3
#define MOST_RATES 16

/* What the ranks of a fit have in common. */
typedef struct {
    fnn_barrier barrier;
    const char *buffers[MOST_RANKS];
    const ptrdiff_t *firsts[MOST_RANKS];
    int n_ranks;
    long fails_at; /* this exchange; 0: none */
    int shares;    /* rows and weights lie in common memory */
    int parts;     /* the last rank begins another exchange instead of its steps */
    _Atomic int64_t n_begun[MOST_RANKS];
    void *memory;
} meeting;

typedef struct {
    meeting *with;
    int number;
    long exchanges, partings;
    int recipe;
    void *out;
    fnn_loss loss;
    chain_data data;
    fnn_network *network;
    fnn_fit *fit;
    fnn_status status;
    double sums[2];
} rank;

static int gather_parts(void *context, void *buffer, const ptrdiff_t *first) {
    rank *own = context;
    meeting *with = own->with;
    atomic_fetch_add(&with->n_begun[own->number], 1);
    if (++own->exchanges == with->fails_at) return 0;
    with->buffers[own->number] = buffer;
    fnn_barrier_wait(&with->barrier);
    for (int r = 0; r < with->n_ranks; r++)
        if (r != own->number)
            memcpy((char *)buffer + first[r], with->buffers[r] + first[r], (size_t)(first[r + 1] - first[r]));
    fnn_barrier_wait(&with->barrier);
    return 1;
}

/* Rank r gives to this one what lies from its first[this rank] on. */
static int scatter_parts(void *context, const void *parts, const ptrdiff_t *first, void *received,
                         const ptrdiff_t *received_first) {
    rank *own = context;
    meeting *with = own->with;
    if (++own->exchanges == with->fails_at) return 0;
    with->buffers[own->number] = parts;
    with->firsts[own->number] = first;
    fnn_barrier_wait(&with->barrier);
    for (int r = 0; r < with->n_ranks; r++) {
        const ptrdiff_t *theirs = with->firsts[r] + own->number, bytes = received_first[r + 1] - received_first[r];
        if (theirs[1] - theirs[0] != bytes) fail("ranks give other parts than they take");
        memcpy((char *)received + received_first[r], with->buffers[r] + theirs[0], (size_t)bytes);
    }
    fnn_barrier_wait(&with->barrier);
    return 1;
}

/* What has begun is done. */
static int finish_parts(void *context) {
    (void)context;
    return 1;
}

static void *share_memory(void *context, size_t n_bytes) {
    const rank *own = context;
    meeting *with = own->with;
    if (!own->number) {
        with->memory = aligned_alloc(64, (n_bytes + 63) / 64 * 64);
        if (!with->memory) fail("no memory");
        memset(with->memory, 0, n_bytes);
    }
    fnn_barrier_wait(&with->barrier);
    return with->memory;
}

static void note_parting(void *context) { ((rank *)context)->partings++; }

static void make_fit_of(rank *own) {
    meeting *with = own->with;
    const chain_data *data = &own->data;
    const fnn_ranks together = {.rank = own->number, .n_ranks = with->n_ranks, .gather = gather_parts,
                                .start_gather = gather_parts, .start_scatter = scatter_parts, .finish = finish_parts,
                                .n_waits = own->recipe % 2 ? 100 : 0, .n_exchanges = with->shares ? with->n_begun : NULL,
                                .share = share_memory, .part = note_parting, .context = own};
    own->fit = fnn_fit_new(own->network, &(fnn_fit_data){.X = &data->X, .targets = &data->targets, .predictions = &own->out,
                           .batch_size = data->batch_size, .n_threads = data->n_threads,
                           .ranks = with->n_ranks > 1 ? &together : NULL});
    if (!own->fit || fnn_fit_steps(own->fit) > MOST_RATES) fail("no fit");
    if (fnn_fit_is_divided(own->fit) != (with->n_ranks > 1 && own->recipe < N_TRAINED))
        fail("ranks do not divide the steps");
}

/* Two epochs, the first of which is cut. */
static void *run_rank(void *argument) {
    rank *own = argument;
    double rates[MOST_RATES];
    for (int i = 0; i < MOST_RATES; i++) rates[i] = 1e-3;
    make_fit_of(own);
    own->status = FNN_OK;
    if (own->with->parts && own->number == own->with->n_ranks - 1) {
        atomic_fetch_add(&own->with->n_begun[own->number], 1);
        return NULL;
    }
    for (int epoch = 0; epoch < 2 && own->status == FNN_OK; epoch++) {
        fnn_fit_begin(own->fit, 3, (uint64_t)epoch, 1, rates);
        do own->status = fnn_fit_run(own->fit, epoch ? -1 : 2, 1e9);
        while (own->status == FNN_MORE);
        own->sums[epoch] = fnn_fit_loss_sum(own->fit);
    }
    return NULL;
}

/* The networks of a recipe after the epochs of n_ranks ranks, which write their predictions to `out`; the caller frees
 * them. */
static void run_ranks(const fnn_kernels *kernels, int recipe, meeting *with, rank *ranks, void *const *out) {
    pthread_t threads[MOST_RANKS];
    with->barrier.members = with->n_ranks;
    for (int r = 0; r < with->n_ranks; r++) {
        ranks[r] = (rank){.with = with, .number = r, .recipe = recipe, .out = out[r]};
        ranks[r].network = network_of(kernels, recipe, &ranks[r].loss);
        ranks[r].data = data_of(kernels, recipe, &ranks[r].loss);
    }
    for (int r = 0; r < with->n_ranks; r++)
        if (pthread_create(&threads[r], NULL, run_rank, &ranks[r])) fail("no thread");
    for (int r = 0; r < with->n_ranks; r++) pthread_join(threads[r], NULL);
}

static void end_rank(const rank *own) {
    fnn_fit_free(own->fit);
    fnn_network_free(own->network);
}

/* The gradient of a batch is that of its chunks, added in order: of pairs of panels, of narrow ones and of single
 * columns. */
static void add_chunks(const fnn_kernels *kernels) {
    enum { INPUTS = 9, CHUNKS = 3, ROWS = 2 * FNN_CHUNK + 48, OUTPUTS = 48 };
    static double X[(INPUTS + 1) * ROWS], dZt[OUTPUTS * ROWS], W[(INPUTS + 1) * OUTPUTS];
    static double sums[CHUNKS + 1][(INPUTS + 1) * OUTPUTS];
    static const ptrdiff_t outputs[] = {1, 9, 17, 20, 33, OUTPUTS};
    static const fnn_update store = {.kind = FNN_STORE, .scale = 1.0};
    const size_t element = (size_t)fnn_element(kernels);
    fill(X, element, (INPUTS + 1) * ROWS, -1, 1, 1), fill(dZt, element, OUTPUTS * ROWS, -1, 1, 2);
    for (int i = 0; i < 6; i++) {
        fnn_dense layer = {.X = X, .dZt = dZt, .n_in = INPUTS, .n_out = outputs[i], .rows = ROWS,
                           .x_stride = (INPUTS + 1) * kernels->panel};
        const fnn_range panels = {0, fnn_ceil_div(outputs[i], kernels->panel)};
        memset(sums, 0, sizeof sums);
        for (int c = 0; c <= CHUNKS; c++) {
            layer.chunks = c < CHUNKS ? (fnn_range){c, c + 1} : (fnn_range){0, CHUNKS};
            kernels->dense_update(&layer, &(fnn_weights){W, {sums[c]}}, panels, (fnn_range){0, INPUTS + 1}, &store);
        }
        for (ptrdiff_t j = 0; j < (INPUTS + 1) * OUTPUTS; j++) {
            for (int c = 1; c < CHUNKS; c++) set(sums[0], element, j, get(sums[0], element, j) + get(sums[c], element, j));
            if (get(sums[0], element, j) != get(sums[CHUNKS], element, j)) fail("chunks have another sum");
        }
    }
}

/* Panels of weights are updated alike together and one by one, whatever is done beside their products: prefetching, too, in
 * the last one, which is large. */
static void update_panels(const fnn_kernels *kernels) {
    enum { MOST_INPUTS = 5500, ROWS = FNN_CHUNK + 48, OUTPUTS = 48, COUNT = (MOST_INPUTS + 1) * OUTPUTS };
    static double X[(MOST_INPUTS + 1) * ROWS], dZt[OUTPUTS * ROWS], w[2][3][COUNT];
    const size_t element = (size_t)fnn_element(kernels);
    const fnn_range all = {0, OUTPUTS / kernels->panel};
    fill(X, element, (MOST_INPUTS + 1) * ROWS, -1, 1, 1), fill(dZt, element, OUTPUTS * ROWS, -1, 1, 2);
    for (int i = 0; i < 5; i++) {
        const ptrdiff_t inputs = i < 4 ? 100 : MOST_INPUTS;
        const fnn_range rows = {0, inputs + 1};
        fnn_dense layer = {.X = X, .dZt = dZt, .n_in = inputs, .n_out = OUTPUTS, .rows = ROWS, .chunks = {0, 2},
                           .x_stride = (inputs + 1) * kernels->panel};
        fnn_update u = optimizer(i % 2 ? FNN_SGD : FNN_ADAM).update;
        u.rate = 0.1, u.decay = i / 2 ? 0.01 : 0;
        for (int k = 0; k < 6; k++) fill(w[k / 3][k % 3], element, COUNT, k % 3 ? 0.01 : -1, 1, (uint64_t)(k % 3));
        kernels->dense_update(&layer, &(fnn_weights){w[0][0], {w[0][1], w[0][2]}}, all, rows, &u);
        for (ptrdiff_t q = 0; q < all.last; q++)
            kernels->dense_update(&layer, &(fnn_weights){w[1][0], {w[1][1], w[1][2]}}, (fnn_range){q, q + 1}, rows, &u);
        if (memcmp(w[0], w[1], sizeof w[0])) fail("panels are updated otherwise together");
    }
}

/* Every rank has the weights, moments, losses and predictions of one process. */
static void train_in_ranks(const fnn_kernels *kernels, int recipe) {
    static double out[MOST_RANKS][20000];
    void *const to[] = {recipe / 5 % 2 ? out[0] : NULL, recipe / 5 % 2 ? out[1] : NULL, recipe / 5 % 2 ? out[2] : NULL};
    const ptrdiff_t count = (2 * shapes[recipe % N_SHAPES][4] + 3) * shapes[recipe % N_SHAPES][3];
    const uint64_t start = hash;
    uint64_t alone = 0;
    for (int i = 2; i < 2 * (MOST_RANKS + 1); i++) {
        const int n_ranks = i / 2;
        meeting with = {.n_ranks = n_ranks, .shares = i % 2};
        rank ranks[MOST_RANKS];
        for (int r = 0; r < n_ranks; r++) clear(out[r], count, (size_t)fnn_element(kernels));
        run_ranks(kernels, recipe, &with, ranks, to);
        for (int r = 0; r < n_ranks; r++) {
            const fnn_network *network = ranks[r].network;
            hash = start;
            if (ranks[r].status != FNN_OK) fail("a rank did not end");
            add(ranks[r].sums, sizeof ranks[r].sums);
            add_weights(network, network->weights);
            for (int slot = 0; slot < network->n_slots; slot++) add_weights(network, network->slots[slot]);
            add_guarded(out[r], count, network->element);
            if (i == 2) alone = hash;
            if (hash != alone) fail("ranks compute other numbers");
            end_rank(&ranks[r]);
        }
        free(with.memory);
    }
    printf("ranks %d", recipe);
}

/* A rank does not wait for ever for one that makes other calls. */
static void part_ranks(const fnn_kernels *kernels, int recipe) {
    meeting with = {.n_ranks = 2, .shares = 1, .parts = 1};
    rank ranks[MOST_RANKS];
    run_ranks(kernels, recipe, &with, ranks, (void *[]){NULL, NULL});
    if (ranks[0].partings != 1 || ranks[0].status != FNN_INTERRUPTED) fail("a rank waits for one that has left");
    end_rank(&ranks[0]), end_rank(&ranks[1]);
    free(with.memory);
}

/* Each exchange of a fit fails once: all ranks end. */
static void lose_ranks(const fnn_kernels *kernels, int shares) {
    long exchanges = 0;
    for (long at = 1, lost = 1; lost; at++) {
        meeting with = {.n_ranks = 2, .fails_at = at, .shares = shares};
        rank ranks[MOST_RANKS];
        run_ranks(kernels, 19, &with, ranks, (void *[]){NULL, NULL});
        lost = ranks[0].status == FNN_INTERRUPTED;
        if (ranks[1].status != ranks[0].status || (!lost && ranks[0].status != FNN_OK)) fail("a rank is left alone");
        exchanges = ranks[0].exchanges;
        end_rank(&ranks[0]), end_rank(&ranks[1]);
        free(with.memory);
    }
    if (shares) return;
    add(&exchanges, sizeof exchanges);
    printf("exchanges");
}
