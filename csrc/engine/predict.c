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
    const fnn_matrix *X;
    char *out, *scratch;
    double *activity; /* penalties on outputs, one per row; or NULL */
    int skipped, direct;
    ptrdiff_t block, ld; /* rows of a block; elements of a row of scratch */
    ptrdiff_t scratch_bytes;
    int together;    /* threads divide outputs, not rows */
    int by_panels;   /* then `ld` is the elements of a panel of scratch */
    fnn_barrier barrier;
    _Atomic ptrdiff_t bad_row;
} prediction;

static int has_rows_in_place(const fnn_matrix *X, const fnn_kernels *kernels, size_t element) {
    return X->dtype == kernels->dtype && X->col_stride == (ptrdiff_t)element && X->row_stride % (ptrdiff_t)element == 0;
}

/* 1 for inputs that are allowed: finite, or not infinite where NaN stands for missing values. */
static int are_allowed(const fnn_network *network, const void *x, ptrdiff_t n) {
    return fnn_takes_missing(network) ? network->kernels->no_infinity(x, n) : network->kernels->all_finite(x, n);
}

/* The first row with an element that is not allowed, or -1. */
static ptrdiff_t find_bad_row(const fnn_network *network, const char *x, ptrdiff_t rows, ptrdiff_t cols, ptrdiff_t bytes) {
    if (bytes == cols * (ptrdiff_t)network->element && are_allowed(network, x, rows * cols)) return -1;
    for (ptrdiff_t i = 0; i < rows; i++)
        if (!are_allowed(network, x + i * bytes, cols)) return i;
    return -1;
}

#define CHECKED_BYTES 8192

ptrdiff_t fnn_bad_row(const fnn_network *network, const fnn_matrix *X) {
    const fnn_kernels *kernels = network->kernels;
    const ptrdiff_t element = (ptrdiff_t)network->element;
    if (X->dtype != FNN_F32 && X->dtype != FNN_F64) return -1;
    if (has_rows_in_place(X, kernels, network->element))
        return find_bad_row(network, X->data, X->rows, X->cols, X->row_stride);
    _Alignas(64) char block[CHECKED_BYTES];
    const ptrdiff_t most = CHECKED_BYTES / element, cols = fnn_min(X->cols, most), rows = most / cols;
    for (ptrdiff_t r = 0; r < X->rows; r += rows)
        for (ptrdiff_t c = 0; c < X->cols; c += cols) {
            fnn_matrix piece = *X;
            piece.data = (const char *)X->data + c * X->col_stride;
            piece.cols = fnn_min(X->cols - c, cols);
            const ptrdiff_t count = fnn_min(X->rows - r, rows);
            kernels->convert(block, piece.cols, &piece, r, count);
            const ptrdiff_t bad = find_bad_row(network, block, count, piece.cols, piece.cols * element);
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
        double values[FNN_MOST_LANES] = {0}, *sums = p->activity + first + r;
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
    int turn;          /* which of the two buffers of scratch receives the next outputs */
    fnn_row_call call; /* of the next op; its inputs are there */
} row_block;

static void meet(const row_block *b) {
    if (b->n_threads > 1) fnn_barrier_wait(&b->p->barrier);
}

/* The parts of scratch: two buffers of rows, the branches, one panel of outputs. */
static char *scratch_part(const row_block *b, int part) {
    return b->scratch + part * b->p->block * b->p->ld * (ptrdiff_t)b->p->network->element;
}

/* Inputs in place, or a copy of them; 0 where they hold a number that is not allowed. */
static int take_inputs(row_block *b) {
    prediction *p = b->p;
    fnn_rows *rows = &b->call.rows;
    const fnn_kernels *kernels = p->network->kernels;
    const ptrdiff_t element = (ptrdiff_t)p->network->element;
    ptrdiff_t bytes = p->X->row_stride, bad = -1;
    if (p->direct) {
        rows->X = (const char *)p->X->data + b->first * bytes;
        rows->ldx = bytes / element;
    } else {
        char *copy = scratch_part(b, b->turn);
        rows->X = copy;
        rows->ldx = row_stride(kernels, fnn_ceil_div(p->X->cols, kernels->panel));
        bytes = rows->ldx * element;
        if (b->thread == 0) kernels->convert(copy, rows->ldx, p->X, b->first, rows->rows);
        b->turn = !b->turn;
    }
    if (b->thread == 0) bad = find_bad_row(p->network, rows->X, rows->rows, p->X->cols, bytes);
    if (bad >= 0) atomic_store(&p->bad_row, b->first + bad);
    meet(b);
    return bad < 0 && (b->n_threads == 1 || atomic_load(&p->bad_row) < 0);
}

/* Copies the input of op i for the branches that start there. */
static void keep_branches(const row_block *b, int i) {
    const fnn_network *network = b->p->network;
    const fnn_rows *rows = &b->call.rows;
    const ptrdiff_t element = (ptrdiff_t)network->element;
    for (int j = i; b->thread == 0 && j < network->n_ops; j++) {
        const fnn_op *add = &network->ops[j];
        if (!add->kind->adds_branch || add->source != i) continue;
        char *kept = scratch_part(b, 2 + add->slot);
        for (ptrdiff_t r = 0; r < rows->rows; r++)
            memcpy(kept + r * b->p->ld * element, (const char *)rows->X + r * rows->ldx * element,
                   (size_t)(network->ops[i].n_in * element));
    }
}

/* Op i: its inputs become its outputs. */
static inline void predict_op(row_block *b, int i) {
    prediction *p = b->p;
    const fnn_network *network = p->network;
    const fnn_kernels *kernels = network->kernels;
    const fnn_op *op = &network->ops[i];
    const int activation = i == p->skipped ? FNN_LINEAR : op->activation;
    fnn_row_call *call = &b->call;
    if (network->n_branches) keep_branches(b, i);
    if (fnn_passes_through(op, activation)) return;
    call->op = op;
    call->activation = activation;
    call->rows.n = op->n_in;
    /* full weight panels write straight into the caller's array */
    if (op->kind->is_product && i == network->n_ops - 1 && op->n_out == op->panels * kernels->panel) {
        call->rows.Y = p->out + b->first * network->n_outputs * (ptrdiff_t)network->element;
        call->rows.ldy = op->n_out;
    } else {
        call->rows.Y = scratch_part(b, b->turn);
        call->rows.ldy = row_stride(kernels, op->panels);
    }
    if (op->kind->adds_branch) call->branch = scratch_part(b, 2 + op->slot);
    if (op->kind->is_product) call->weight_panels = fnn_share(op->panels, b->thread, b->n_threads);
    const int mine = op->kind->is_product ? call->weight_panels.first < call->weight_panels.last : b->thread == 0;
    if (mine) op->kind->predict_rows(call);
    meet(b);
    if (fnn_is_row_activation(activation)) {
        if (b->thread == 0) kernels->row_activation(call->rows.Y, call->rows.rows, op->n_out, call->rows.ldy, activation);
        meet(b);
    }
    if (p->activity && b->thread == 0 && fnn_penalizes_outputs(op))
        penalize_rows(p, op, &call->rows, b->first, scratch_part(b, 2 + network->n_branches));
    call->rows.X = call->rows.Y;
    call->rows.ldx = call->rows.ldy;
    b->turn = !b->turn;
}

static int predict_block(prediction *p, ptrdiff_t first, ptrdiff_t rows, char *scratch, int thread, int n_threads) {
    const fnn_network *network = p->network;
    row_block b = {.p = p, .first = first, .scratch = scratch, .thread = thread, .n_threads = n_threads};
    b.call.network = network;
    b.call.rows.rows = rows;
    b.call.branch_ld = p->ld;
    if (!take_inputs(&b)) return 0;
    for (int i = 0; i < network->n_ops; i++) predict_op(&b, i);
    const ptrdiff_t bytes = network->n_outputs * (ptrdiff_t)network->element;
    const char *from = b.call.rows.X;
    char *to = p->out + first * bytes;
    if (from != to && thread == 0)
        for (ptrdiff_t r = 0; r < rows; r++)
            memcpy(to + r * bytes, from + r * b.call.rows.ldx * (ptrdiff_t)network->element, (size_t)bytes);
    return 1;
}

/* ---- by panels ---- */

/* Rows that only fill the last panel of a thread must be few; layers of middling width gain nothing over rows. */
static int goes_by_panels(const fnn_network *network, ptrdiff_t rows, int threads) {
    const ptrdiff_t panel = network->kernels->panel;
    if (rows <= panel / 2) return 0; /* before the divisions, which a single row can do without */
    const ptrdiff_t panels = fnn_ceil_div(rows, panel);
    if (fnn_round_up(panels, threads) * panel - rows > rows / 12) return 0;
    int pays = network->widest <= PANEL_WIDTH;
    for (int i = 0; i < network->n_ops; i++) {
        const fnn_op *op = &network->ops[i];
        if (op->kind->predict_rows && !op->kind->predict_panels) return 0;
        pays |= op->kind->is_product && fnn_panels_pay(op->n_in, rows / threads);
    }
    return pays;
}

/* The panels of an op's outputs, from those of its inputs; returns 0 where they are its inputs. */
static int op_panels(const prediction *p, int i, char *out, char *in, ptrdiff_t panels) {
    const fnn_network *network = p->network;
    const fnn_op *op = &network->ops[i];
    const int activation = i == p->skipped ? FNN_LINEAR : op->activation;
    if (fnn_passes_through(op, activation)) return 0;
    op->kind->predict_panels(&(fnn_panel_call){network, op, activation, out, in, panels, p->ld});
    for (ptrdiff_t j = 0; j < panels && fnn_is_row_activation(activation); j++)
        network->kernels->panel_activation(out + j * p->ld * (ptrdiff_t)network->element, op->n_out, activation);
    return 1;
}

static int predict_panels(prediction *p, ptrdiff_t first, ptrdiff_t rows, char *scratch) {
    const fnn_network *network = p->network;
    const fnn_kernels *kernels = network->kernels;
    const ptrdiff_t element = (ptrdiff_t)network->element, panel = kernels->panel, panels = fnn_ceil_div(rows, panel);
    char *in = scratch, *out = scratch + panels * p->ld * element;
    for (ptrdiff_t j = 0; j < panels; j++) {
        void *X = in + j * p->ld * element;
        kernels->gather(X, p->X, NULL, first + j * panel, fnn_min(rows - j * panel, panel));
        if (are_allowed(network, X, p->X->cols * panel)) continue;
        fnn_matrix block = *p->X;
        block.data = (const char *)block.data + first * block.row_stride;
        block.rows = rows;
        atomic_store(&p->bad_row, first + fnn_bad_row(network, &block));
        return 0;
    }
    for (int i = 0; i < network->n_ops; i++)
        if (op_panels(p, i, out, in, panels)) {
            char *swap = in;
            in = out;
            out = swap;
        }
    for (ptrdiff_t j = 0; j < panels; j++)
        kernels->scatter(p->out, network->n_outputs, in + j * p->ld * element, network->n_outputs, NULL, first + j * panel,
                         fnn_min(rows - j * panel, panel));
    return 1;
}

/* ---- the call ---- */

static void predict_blocks(void *context, int thread, int n_threads) {
    prediction *p = context;
    if (p->together) {
        predict_block(p, 0, p->X->rows, p->scratch, thread, n_threads);
        return;
    }
    const ptrdiff_t grain = p->by_panels ? p->network->kernels->panel : 1;
    const fnn_range share = fnn_share(fnn_ceil_div(p->X->rows, grain), thread, n_threads);
    const ptrdiff_t last = fnn_min(p->X->rows, share.last * grain);
    char *scratch = p->scratch + thread * p->scratch_bytes;
    for (ptrdiff_t first = share.first * grain; first < last; first += p->block) {
        if (first > share.first * grain && fnn_interrupted()) return;
        const ptrdiff_t rows = fnn_min(last - first, p->block);
        if (!(p->by_panels ? predict_panels(p, first, rows, scratch) : predict_block(p, first, rows, scratch, 0, 1))) return;
    }
}

/* The longest row that is kept: of outputs, and of inputs where they are copied. */
static ptrdiff_t widest_row(const fnn_network *network, int direct) {
    if (!direct || network->n_branches) return network->widest;
    ptrdiff_t widest = 1;
    for (int i = 0; i < network->n_ops; i++)
        if (network->ops[i].n_out > widest) widest = network->ops[i].n_out;
    return widest;
}

/* Blocks of rows and the scratch of one, for a thread that has `each` rows. */
static void plan_rows(prediction *p, ptrdiff_t each, int streams) {
    const ptrdiff_t element = (ptrdiff_t)p->network->element, panel = p->network->kernels->panel;
    p->ld = row_stride(p->network->kernels, fnn_ceil_div(widest_row(p->network, p->direct), panel));
    p->block = each;
    if (each > FEWEST_ROWS) {
        const ptrdiff_t cached = BLOCK_BYTES / (2 * p->ld * element);
        const ptrdiff_t most = streams ? MANY_ROWS : fnn_min(cached < FEWEST_ROWS ? FEWEST_ROWS : cached, BLOCK_ROWS);
        /* the fewest blocks, near-equal, of whole tiles */
        const ptrdiff_t blocks = fnn_ceil_div(each, most);
        if (blocks > 1) p->block = fnn_round_up(fnn_ceil_div(each, blocks), 6);
    }
    p->scratch_bytes = (2 + p->network->n_branches) * p->block * p->ld * element;
    if (p->activity) p->scratch_bytes += p->ld * panel * element;
}

static void plan_panels(prediction *p, ptrdiff_t each) {
    const ptrdiff_t element = (ptrdiff_t)p->network->element, panel = p->network->kernels->panel;
    p->ld = fnn_panel_stride(p->network->kernels, p->network->widest);
    const ptrdiff_t cached = PANEL_BYTES / (2 * p->ld * element), few = cached < 2 ? 2 : cached;
    const ptrdiff_t most = p->network->widest > PANEL_WIDTH ? FNN_BLOCK_PANELS : few;
    const ptrdiff_t panels = fnn_min(fnn_ceil_div(each, panel), most);
    p->block = panels * panel;
    p->scratch_bytes = 2 * panels * p->ld * element;
}

fnn_status fnn_predict(const fnn_network *network, const fnn_matrix *X, void *out, double *activity, int logits,
                       int n_threads, ptrdiff_t *bad_row) {
    const fnn_kernels *kernels = network->kernels;
    const ptrdiff_t element = (ptrdiff_t)network->element, n = X->rows;
    prediction p = {.network = network, .X = X, .out = out, .activity = activity,
                    .skipped = logits ? network->n_ops - 1 : -1};
    atomic_init(&p.bad_row, -1);
    p.direct = has_rows_in_place(X, kernels, network->element) && (n < 4 || X->row_stride % BAD_STRIDE);
    const int streams = network->n_elements * element > CACHED_WEIGHTS;
    p.together = streams && n <= FEW_ROWS;
    const ptrdiff_t items = p.together ? network->widest / kernels->panel : n;
    const int threads = fnn_threads_for(network->operations * (double)n, items, n_threads);
    const ptrdiff_t each = p.together || threads == 1 ? n : fnn_ceil_div(n, threads);
    p.by_panels = !p.together && !activity && goes_by_panels(network, n, threads);
    if (p.by_panels)
        plan_panels(&p, each);
    else
        plan_rows(&p, each, streams);
    if (activity) memset(activity, 0, (size_t)n * sizeof(double));
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
    *bad_row = atomic_load(&p.bad_row);
    return *bad_row >= 0 ? FNN_BAD_INPUT : FNN_OK;
}
