/* Prediction: blocks of rows go through all layers while they are in cache.
 *
 * Design:
 * a) Row-major: one row is one vector-matrix product that reads the weights once, and nothing is transposed.
 * b) Panels, as in training: for many rows of narrow networks, whose last outputs would leave lanes of a vector empty
 *    and whose rows are cheap to transpose; and of wide networks, whose products are cut into blocks.
 * c) Both give the same bits. */

#include <string.h>

#include "kind.h"

/* Scratch that fits here needs no allocation: small networks, one row at a time. */
#define STACK_BYTES 32768
/* Two buffers of a block stay in the second-level cache. */
#define BLOCK_BYTES ((ptrdiff_t)192 << 10)
#define BLOCK_ROWS 48
#define FEWEST_ROWS 24
/* Weights that do not stay there are read once for this many rows. */
#define CACHED_WEIGHTS ((ptrdiff_t)1 << 20)
#define MANY_ROWS 96
/* Up to this many rows, threads divide the outputs of a layer of such weights: each reads its share of them only. */
#define FEW_ROWS 64
/* Layers up to this wide go by panels, in blocks of PANEL_BYTES. */
#define PANEL_WIDTH 128
#define PANEL_BYTES ((ptrdiff_t)32 << 10)
/* Rows a multiple of this many bytes apart fall into the same cache sets. */
#define BAD_STRIDE 1024

typedef struct {
    const fnn_network *network;
    const fnn_prediction *what;
    const fnn_route *route;
    ptrdiff_t n; /* rows */
    const unsigned char *direct; /* inputs that are read where the caller has them */
    char *scratch;
    ptrdiff_t block, ld; /* rows of a block; elements of a row of scratch */
    ptrdiff_t scratch_bytes;
    int together;    /* threads divide outputs, not rows */
    int by_panels;   /* then `ld` is the elements of a panel of scratch */
    fnn_barrier barrier;
    atomic_int refused; /* an input holds a number that is not allowed */
} prediction;

static int has_rows_in_place(const fnn_matrix *X, const fnn_kernels *kernels, size_t element) {
    return X->dtype == kernels->dtype && X->col_stride == (ptrdiff_t)element && X->row_stride % (ptrdiff_t)element == 0;
}

/* 1 for values of an input that are allowed: finite, or not infinite where NaN stands for missing values. */
static int are_allowed(const fnn_network *network, int input, const void *x, ptrdiff_t n) {
    return network->takes_missing[input] ? network->kernels->no_infinity(x, n) : network->kernels->all_finite(x, n);
}

/* The first row of an input with an element that is not allowed, or -1. */
static ptrdiff_t find_bad_row(const fnn_network *network, int input, const char *x, ptrdiff_t rows, ptrdiff_t cols,
                              ptrdiff_t bytes) {
    if (bytes == cols * (ptrdiff_t)network->element && are_allowed(network, input, x, rows * cols)) return -1;
    for (ptrdiff_t i = 0; i < rows; i++)
        if (!are_allowed(network, input, x + i * bytes, cols)) return i;
    return -1;
}

#define CHECKED_BYTES 8192

ptrdiff_t fnn_bad_row(const fnn_network *network, int input, const fnn_matrix *X) {
    const fnn_kernels *kernels = network->kernels;
    const ptrdiff_t element = (ptrdiff_t)network->element;
    if (X->dtype != FNN_F32 && X->dtype != FNN_F64) return -1;
    if (has_rows_in_place(X, kernels, network->element))
        return find_bad_row(network, input, X->data, X->rows, X->cols, X->row_stride);
    _Alignas(64) char block[CHECKED_BYTES];
    const ptrdiff_t most = CHECKED_BYTES / element, cols = fnn_min(X->cols, most), rows = most / cols;
    for (ptrdiff_t r = 0; r < X->rows; r += rows)
        for (ptrdiff_t c = 0; c < X->cols; c += cols) {
            fnn_matrix piece = *X;
            piece.data = (const char *)X->data + c * X->col_stride;
            piece.cols = fnn_min(X->cols - c, cols);
            const ptrdiff_t count = fnn_min(X->rows - r, rows);
            kernels->convert(block, piece.cols, &piece, r, count);
            const ptrdiff_t bad = find_bad_row(network, input, block, count, piece.cols, piece.cols * element);
            if (bad >= 0) return r + bad;
        }
    return -1;
}

/* Elements between rows of `panels` panels: an odd number of cache lines, so that rows do not share cache sets. */
static ptrdiff_t row_stride(const fnn_kernels *kernels, ptrdiff_t panels) { return (panels | 1) * kernels->panel; }

/* Penalties on the outputs of an op are added to those of their rows, as in training: by panels. */
static void penalize_rows(const prediction *p, const fnn_op *op, const fnn_rows *rows, ptrdiff_t first, char *panel) {
    const fnn_kernels *kernels = p->network->kernels;
    const ptrdiff_t element = (ptrdiff_t)p->network->element;
    const fnn_matrix outputs = {rows->Y, kernels->dtype, rows->ldy * element, element, rows->rows, op->n_out};
    for (ptrdiff_t r = 0; r < rows->rows; r += kernels->panel) {
        const ptrdiff_t count = fnn_min(rows->rows - r, kernels->panel);
        double values[FNN_MOST_LANES] = {0}, *sums = p->what->activity + first + r;
        memcpy(values, sums, (size_t)count * sizeof(double));
        kernels->gather(panel, &outputs, NULL, r, count);
        kernels->output_penalty(values, NULL, panel, op->n_out, op->activity_l1, op->activity_l2, NULL);
        memcpy(sums, values, (size_t)count * sizeof(double));
    }
}

/* A block of rows as one of n_threads threads sees it: products are divided by outputs, the first thread does the rest. */
typedef struct {
    prediction *p;
    ptrdiff_t first; /* row of X */
    char *scratch;
    int thread, n_threads;
    fnn_row_call call;                /* of the next op */
    const char *at[FNN_MOST_BUFFERS]; /* where each buffer is, and the elements between its rows */
    ptrdiff_t ld[FNN_MOST_BUFFERS];
} row_block;

static void meet(const row_block *b) {
    if (b->n_threads > 1) fnn_barrier_wait(&b->p->barrier);
}

/* The parts of scratch: the slots of the route, one panel of outputs. */
static char *scratch_part(const row_block *b, int part) {
    return b->scratch + part * b->p->block * b->p->ld * (ptrdiff_t)b->p->network->element;
}

/* Inputs in place, or copies of them; 0 where they hold a number that is not allowed. */
static int take_inputs(row_block *b) {
    prediction *p = b->p;
    const fnn_network *network = p->network;
    const fnn_kernels *kernels = network->kernels;
    const ptrdiff_t element = (ptrdiff_t)network->element, rows = b->call.rows.rows;
    int bad = 0;
    for (int j = 0; j < network->n_inputs; j++) {
        const fnn_matrix *X = &p->what->X[j];
        if (p->route->slots[j] < 0) continue;
        if (p->direct[j]) {
            b->at[j] = (const char *)X->data + b->first * X->row_stride;
            b->ld[j] = X->row_stride / element;
        } else {
            char *copy = scratch_part(b, p->route->slots[j]);
            b->at[j] = copy;
            b->ld[j] = row_stride(kernels, fnn_ceil_div(X->cols, kernels->panel));
            if (b->thread == 0) kernels->convert(copy, b->ld[j], X, b->first, rows);
        }
        if (b->thread == 0) bad |= find_bad_row(network, j, b->at[j], rows, X->cols, b->ld[j] * element) >= 0;
    }
    if (bad) atomic_store(&p->refused, 1);
    meet(b);
    return !bad && (b->n_threads == 1 || !atomic_load(&p->refused));
}

/* Op i: its inputs become its outputs. */
static inline void predict_op(row_block *b, int i) {
    prediction *p = b->p;
    const fnn_network *network = p->network;
    const fnn_kernels *kernels = network->kernels;
    const fnn_op *op = &network->ops[i];
    const int activation = p->what->skipped && p->what->skipped[i] ? FNN_LINEAR : op->activation;
    const int input = op->inputs[0], buffer = fnn_buffer_of(network, i), target = p->route->targets[buffer];
    fnn_row_call *call = &b->call;
    if (fnn_passes_through(op, activation)) {
        b->at[buffer] = b->at[input];
        b->ld[buffer] = b->ld[input];
        return;
    }
    call->op = op;
    call->activation = activation;
    call->rows.n = op->n_in;
    call->rows.X = b->at[input];
    call->rows.ldx = b->ld[input];
    /* full weight panels write straight into the caller's array */
    if (op->kind->is_product && target >= 0 && op->n_out == op->panels * kernels->panel) {
        call->rows.Y = (char *)p->what->out[target] + b->first * op->n_out * (ptrdiff_t)network->element;
        call->rows.ldy = op->n_out;
    } else {
        call->rows.Y = scratch_part(b, p->route->slots[buffer]);
        call->rows.ldy = row_stride(kernels, op->out_panels);
    }
    if (op->kind->is_product) call->weight_panels = fnn_share(op->panels, b->thread, b->n_threads);
    const int mine = op->kind->is_product ? call->weight_panels.first < call->weight_panels.last : b->thread == 0;
    if (mine) op->kind->predict_rows(call);
    meet(b);
    if (fnn_is_row_activation(activation)) {
        if (b->thread == 0) kernels->row_activation(call->rows.Y, call->rows.rows, op->n_out, call->rows.ldy, activation);
        meet(b);
    }
    if (p->what->activity && b->thread == 0 && fnn_penalizes_outputs(op))
        penalize_rows(p, op, &call->rows, b->first, scratch_part(b, p->route->n_slots));
    b->at[buffer] = call->rows.Y;
    b->ld[buffer] = call->rows.ldy;
}

static int predict_block(prediction *p, ptrdiff_t first, ptrdiff_t rows, char *scratch, int thread, int n_threads) {
    const fnn_network *network = p->network;
    const fnn_route *route = p->route;
    row_block b; /* not cleared: one row through a small network takes as long as a few of these */
    b.p = p;
    b.first = first;
    b.scratch = scratch;
    b.thread = thread;
    b.n_threads = n_threads;
    b.call.network = network;
    b.call.rows.rows = rows;
    b.call.at = b.at;
    b.call.ld = b.ld;
    if (!take_inputs(&b)) return 0;
    for (int o = 0; o < route->n_ops; o++) predict_op(&b, route->ops[o]);
    for (int w = 0; thread == 0 && w < route->n_wanted; w++) {
        const int buffer = route->wanted[w];
        const ptrdiff_t bytes = network->widths[buffer] * (ptrdiff_t)network->element;
        const char *from = b.at[buffer];
        char *to = (char *)p->what->out[w] + first * bytes;
        for (ptrdiff_t r = 0; from != to && r < rows; r++)
            memcpy(to + r * bytes, from + r * b.ld[buffer] * (ptrdiff_t)network->element, (size_t)bytes);
    }
    return 1;
}

/* ---- by panels ---- */

/* Rows that only fill the last panel of a thread must be few; layers of middling width gain nothing over rows. */
static int goes_by_panels(const fnn_network *network, const fnn_route *route, ptrdiff_t rows, int threads) {
    const ptrdiff_t panel = network->kernels->panel;
    if (rows <= panel / 2) return 0; /* before the divisions, which a single row can do without */
    const ptrdiff_t panels = fnn_ceil_div(rows, panel);
    if (fnn_round_up(panels, threads) * panel - rows > rows / 12) return 0;
    int pays = network->widest <= PANEL_WIDTH;
    for (int o = 0; o < route->n_ops; o++) {
        const fnn_op *op = &network->ops[route->ops[o]];
        if (op->kind->predict_rows && !op->kind->predict_panels) return 0;
        pays |= op->kind->is_product && fnn_panels_pay(op->n_in, rows / threads);
    }
    return pays;
}

/* Panels of inputs; 0 where they hold a number that is not allowed. */
static int gather_panels(prediction *p, ptrdiff_t first, ptrdiff_t rows, char *scratch, const char **at) {
    const fnn_network *network = p->network;
    const fnn_kernels *kernels = network->kernels;
    const ptrdiff_t bytes = p->ld * (ptrdiff_t)network->element, panel = kernels->panel, panels = fnn_ceil_div(rows, panel);
    for (int input = 0; input < network->n_inputs; input++) {
        if (p->route->slots[input] < 0) continue;
        const fnn_matrix *X = &p->what->X[input];
        char *in = scratch + p->route->slots[input] * panels * bytes;
        at[input] = in;
        for (ptrdiff_t j = 0; j < panels; j++) {
            kernels->gather(in + j * bytes, X, NULL, first + j * panel, fnn_min(rows - j * panel, panel));
            if (are_allowed(network, input, in + j * bytes, X->cols * panel)) continue;
            atomic_store(&p->refused, 1);
            return 0;
        }
    }
    return 1;
}

static int predict_panels(prediction *p, ptrdiff_t first, ptrdiff_t rows, char *scratch) {
    const fnn_network *network = p->network;
    const fnn_kernels *kernels = network->kernels;
    const fnn_route *route = p->route;
    const ptrdiff_t bytes = p->ld * (ptrdiff_t)network->element, panel = kernels->panel, panels = fnn_ceil_div(rows, panel);
    const char *at[FNN_MOST_BUFFERS];
    if (!gather_panels(p, first, rows, scratch, at)) return 0;
    for (int o = 0; o < route->n_ops; o++) {
        const int i = route->ops[o], buffer = fnn_buffer_of(network, i);
        const fnn_op *op = &network->ops[i];
        const int activation = p->what->skipped && p->what->skipped[i] ? FNN_LINEAR : op->activation;
        at[buffer] = at[op->inputs[0]];
        if (fnn_passes_through(op, activation)) continue;
        char *out = scratch + route->slots[buffer] * panels * bytes;
        op->kind->predict_panels(&(fnn_panel_call){network, op, activation, out, panels, p->ld, at});
        for (ptrdiff_t j = 0; j < panels && fnn_is_row_activation(activation); j++)
            kernels->panel_activation(out + j * bytes, op->n_out, activation);
        at[buffer] = out;
    }
    for (int w = 0; w < route->n_wanted; w++) {
        const ptrdiff_t width = network->widths[route->wanted[w]];
        for (ptrdiff_t j = 0; j < panels; j++)
            kernels->scatter(p->what->out[w], width, at[route->wanted[w]] + j * bytes, width, NULL, first + j * panel,
                             fnn_min(rows - j * panel, panel));
    }
    return 1;
}

/* ---- the call ---- */

static void predict_blocks(void *context, int thread, int n_threads) {
    prediction *p = context;
    if (p->together) {
        predict_block(p, 0, p->n, p->scratch, thread, n_threads);
        return;
    }
    const ptrdiff_t grain = p->by_panels ? p->network->kernels->panel : 1;
    const fnn_range share = fnn_share(fnn_ceil_div(p->n, grain), thread, n_threads);
    const ptrdiff_t last = fnn_min(p->n, share.last * grain);
    char *scratch = p->scratch + thread * p->scratch_bytes;
    for (ptrdiff_t first = share.first * grain; first < last; first += p->block) {
        if (first > share.first * grain && fnn_interrupted()) return;
        const ptrdiff_t rows = fnn_min(last - first, p->block);
        if (!(p->by_panels ? predict_panels(p, first, rows, scratch) : predict_block(p, first, rows, scratch, 0, 1))) return;
    }
}

/* The longest row that is kept: of outputs, and of inputs where they are copied. */
static ptrdiff_t widest_row(const prediction *p) {
    const fnn_network *network = p->network;
    ptrdiff_t widest = 1;
    for (int j = 0; j < network->n_inputs; j++)
        if (!p->direct[j]) return network->widest;
    for (int o = 0; o < p->route->n_ops; o++)
        if (network->ops[p->route->ops[o]].n_out > widest) widest = network->ops[p->route->ops[o]].n_out;
    return widest;
}

/* Blocks of rows and the scratch of one, for a thread that has `each` rows. */
static void plan_rows(prediction *p, ptrdiff_t each, int streams) {
    const ptrdiff_t element = (ptrdiff_t)p->network->element, panel = p->network->kernels->panel;
    p->ld = row_stride(p->network->kernels, fnn_ceil_div(widest_row(p), panel));
    p->block = each;
    if (each > FEWEST_ROWS) {
        const ptrdiff_t cached = BLOCK_BYTES / (2 * p->ld * element);
        const ptrdiff_t most = streams ? MANY_ROWS : fnn_min(cached < FEWEST_ROWS ? FEWEST_ROWS : cached, BLOCK_ROWS);
        /* the fewest blocks, near-equal, of whole tiles */
        const ptrdiff_t blocks = fnn_ceil_div(each, most);
        if (blocks > 1) p->block = fnn_round_up(fnn_ceil_div(each, blocks), 6);
    }
    p->scratch_bytes = p->route->n_slots * p->block * p->ld * element;
    if (p->what->activity) p->scratch_bytes += p->ld * panel * element;
}

static void plan_panels(prediction *p, ptrdiff_t each) {
    const ptrdiff_t element = (ptrdiff_t)p->network->element, panel = p->network->kernels->panel;
    p->ld = fnn_panel_stride(p->network->kernels, p->network->widest);
    const ptrdiff_t cached = PANEL_BYTES / (2 * p->ld * element), few = cached < 2 ? 2 : cached;
    const ptrdiff_t most = p->network->widest > PANEL_WIDTH ? FNN_BLOCK_PANELS : few;
    const ptrdiff_t panels = fnn_min(fnn_ceil_div(each, panel), most);
    p->block = panels * panel;
    p->scratch_bytes = p->route->n_slots * panels * p->ld * element;
}

fnn_status fnn_predict(const fnn_network *network, const fnn_prediction *what) {
    const fnn_kernels *kernels = network->kernels;
    const ptrdiff_t element = (ptrdiff_t)network->element, n = what->X[0].rows;
    unsigned char direct[FNN_MOST_BUFFERS];
    prediction p = {.network = network, .what = what, .route = what->route, .n = n, .direct = direct};
    for (int j = 0; j < network->n_inputs; j++)
        direct[j] = has_rows_in_place(&what->X[j], kernels, network->element) &&
                    (n < 4 || what->X[j].row_stride % BAD_STRIDE);
    atomic_init(&p.refused, 0);
    const int streams = network->n_elements * element > CACHED_WEIGHTS;
    p.together = streams && n <= FEW_ROWS;
    const ptrdiff_t items = p.together ? network->widest / kernels->panel : n;
    const int threads = fnn_threads_for(network->operations * (double)n, items, what->n_threads);
    const ptrdiff_t each = p.together || threads == 1 ? n : fnn_ceil_div(n, threads);
    p.by_panels = !p.together && !what->activity && goes_by_panels(network, p.route, n, threads);
    if (p.by_panels)
        plan_panels(&p, each);
    else
        plan_rows(&p, each, streams);
    if (what->activity) memset(what->activity, 0, (size_t)n * sizeof(double));
    _Alignas(64) char stack[STACK_BYTES];
    char *kept = NULL;
    p.scratch = stack;
    const int scratches = p.together ? 1 : threads;
    if (p.scratch_bytes * scratches > STACK_BYTES) {
        p.scratch = kept = fnn_scratch_new(fnn_size(p.scratch_bytes, scratches, 1));
        if (!kept) return FNN_NO_MEMORY;
    }
    const int interrupted = fnn_team_run(predict_blocks, &p, threads, &p.barrier);
    fnn_scratch_free(kept);
    if (interrupted) return FNN_INTERRUPTED;
    return atomic_load(&p.refused) ? FNN_BAD_INPUT : FNN_OK;
}
