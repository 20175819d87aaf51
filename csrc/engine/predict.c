/* Prediction: blocks of rows go through all layers while they are in cache.
 *
 * Design:
 * a) Row-major: one row is one vector-matrix product that reads the weights once, and nothing is transposed.
 * b) Panels, as in training: for many rows of narrow networks, whose last outputs would leave lanes of a vector empty
 *    and whose rows are transposed in no time; and of wide ones, whose products are cut into blocks.
 * c) Both give the same bits. */

#include <string.h>

#include "engine.h"

/* Scratch that fits here needs no allocation: small networks, one row at a time. */
#define STACK_BYTES 32768
/* Two buffers of a block stay in the second-level cache. */
#define BLOCK_BYTES ((ptrdiff_t)192 << 10)
#define BLOCK_ROWS 48
#define FEWEST_ROWS 24
/* Weights that do not stay there are read once for this many rows. */
#define CACHED_WEIGHTS ((ptrdiff_t)1 << 20)
#define MANY_ROWS 96
/* Up to this many rows, threads divide the outputs of a layer of such weights: each reads its part of them only. */
#define FEW_ROWS 64
/* Layers up to this wide go by panels, in blocks of so many bytes. */
#define PANEL_WIDTH 128
#define PANEL_BYTES ((ptrdiff_t)32 << 10)
/* Rows so many bytes apart fall into the same cache sets. */
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

/* Whether numbers may be predicted from: finite, or not infinite where NaN stands for missing values. */
static int are_allowed(const fnn_network *network, const void *x, ptrdiff_t n) {
    return fnn_takes_missing(network) ? network->kernels->no_infinity(x, n) : network->kernels->all_finite(x, n);
}

/* Ops that prediction leaves out. */
static int passes_through(const fnn_op *op, int activation) {
    return op->kind == FNN_OP_DROPOUT || op->kind == FNN_OP_NOISE || (op->kind == FNN_OP_ACTIVATION && activation == FNN_LINEAR);
}

/* A row of the block with an element that is not finite (or infinite, where NaN stands for missing values), or -1. */
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
    if (X->dtype >= FNN_I8) return -1;
    if (has_rows_in_place(X, kernels, network->element)) return find_bad_row(network, X->data, X->rows, X->cols, X->row_stride);
    _Alignas(64) char block[CHECKED_BYTES];
    const ptrdiff_t most = CHECKED_BYTES / element, cols = fnn_part(X->cols, most), rows = most / cols;
    for (ptrdiff_t r = 0; r < X->rows; r += rows)
        for (ptrdiff_t c = 0; c < X->cols; c += cols) {
            fnn_matrix part = *X;
            part.data = (const char *)X->data + c * X->col_stride;
            part.cols = fnn_part(X->cols - c, cols);
            const ptrdiff_t count = fnn_part(X->rows - r, rows);
            kernels->convert(block, part.cols, &part, r, count);
            const ptrdiff_t bad = find_bad_row(network, block, count, part.cols, part.cols * element);
            if (bad >= 0) return r + bad;
        }
    return -1;
}

static void layer_rows(const fnn_network *network, const fnn_op *op, char *out, ptrdiff_t ld, const char *in, ptrdiff_t ld_in,
                       ptrdiff_t rows, const char *kept, ptrdiff_t ld_kept) {
    const fnn_kernels *kernels = network->kernels;
    const ptrdiff_t element = (ptrdiff_t)network->element, n = op->n_in;
    const char *weights = network->weights, *W = weights + op->weights * element;
    const char *mean = weights + op->state * element, *variance = mean + n * element;
    switch (op->kind) {
    case FNN_OP_BATCH_NORM:
        kernels->normalize_rows(out, ld, in, ld_in, W, mean, variance, rows, n, op->epsilon);
        break;
    case FNN_OP_LAYER_NORM:
        kernels->layer_norm_rows(out, ld, in, ld_in, W, rows, n, op->epsilon, op->rms);
        break;
    case FNN_OP_PRELU:
        kernels->prelu_rows(out, ld, in, ld_in, W, rows, n);
        break;
    case FNN_OP_STANDARDIZE:
        kernels->standardize_rows(out, ld, in, ld_in, mean, variance, rows, n, op->invert, op->missing, op->indicator);
        break;
    default:
        for (ptrdiff_t r = 0; r < rows; r++)
            kernels->add(out + r * ld * element, in + r * ld_in * element, kept + r * ld_kept * element, n);
    }
}

/* Elements between rows: an odd number of cache lines, so that rows do not share cache sets. */
static ptrdiff_t row_stride(const fnn_kernels *kernels, ptrdiff_t n) {
    return ((n + kernels->panel - 1) / kernels->panel | 1) * kernels->panel;
}

/* Penalties on the outputs Y (rows, ld) of an op are added to those of their rows, as in training: by panels. */
static void penalize_rows(const prediction *p, const fnn_op *op, const char *Y, ptrdiff_t ld, ptrdiff_t first, ptrdiff_t rows,
                          char *panel) {
    const fnn_kernels *kernels = p->network->kernels;
    const ptrdiff_t element = (ptrdiff_t)p->network->element;
    const fnn_matrix outputs = {Y, kernels->dtype, ld * element, element, rows, op->n_out};
    for (ptrdiff_t r = 0; r < rows; r += kernels->panel) {
        const ptrdiff_t count = fnn_part(rows - r, kernels->panel);
        double values[FNN_MOST_LANES] = {0}, *sums = p->activity + first + r;
        memcpy(values, sums, (size_t)count * sizeof(double));
        kernels->gather(panel, &outputs, NULL, r, count);
        kernels->activity(values, NULL, panel, op->n_out, op->activity_l1, op->activity_l2, NULL);
        memcpy(sums, values, (size_t)count * sizeof(double));
    }
}

/* One thread of n_threads that predict the same rows: its outputs of the dense layers; the first does the rest. */
static int predict_block(prediction *p, ptrdiff_t first, ptrdiff_t rows, char *scratch, int thread, int n_threads) {
    const fnn_network *network = p->network;
    const fnn_kernels *kernels = network->kernels;
    const ptrdiff_t element = (ptrdiff_t)network->element, half = p->block * p->ld * element;
    char *buffers[2] = {scratch, scratch + half};
    const char *in;
    ptrdiff_t ld_in = p->X->cols;
    int turn = 0;
    if (p->direct) {
        in = (const char *)p->X->data + first * p->X->row_stride;
        ld_in = p->X->row_stride / element;
    } else {
        ld_in = row_stride(kernels, p->X->cols);
        if (thread == 0) kernels->convert(buffers[turn], ld_in, p->X, first, rows);
        in = buffers[turn];
        turn = !turn;
    }
    const ptrdiff_t bad = thread == 0 ? find_bad_row(network, in, rows, p->X->cols, ld_in * element) : -1;
    if (bad >= 0) atomic_store(&p->bad_row, first + bad);
    if (n_threads > 1) fnn_barrier_wait(&p->barrier);
    if (bad >= 0 || (n_threads > 1 && atomic_load(&p->bad_row) >= 0)) return 0;
    for (int i = 0; i < network->n_ops; i++) {
        const fnn_op *op = &network->ops[i];
        const int activation = i == p->skipped ? FNN_LINEAR : op->activation;
        for (int j = i; thread == 0 && network->n_branches && j < network->n_ops; j++) {
            const fnn_op *add = &network->ops[j];
            if (add->kind != FNN_OP_ADD || add->source != i) continue;
            char *kept = scratch + (2 + add->slot) * half;
            for (ptrdiff_t r = 0; r < rows; r++)
                memcpy(kept + r * p->ld * element, in + r * ld_in * element, (size_t)(op->n_in * element));
        }
        if (passes_through(op, activation)) continue;
        char *out = buffers[turn];
        ptrdiff_t ld = row_stride(kernels, op->n_out);
        if (op->kind == FNN_OP_DENSE) {
            /* full weight panels write straight into the caller's array */
            if (i == network->n_ops - 1 && op->n_out % kernels->panel == 0) {
                out = p->out + first * network->n_outputs * element;
                ld = op->n_out;
            }
            ptrdiff_t q0, q1;
            fnn_share(op->panels, thread, n_threads, &q0, &q1);
            const ptrdiff_t o0 = q0 * kernels->panel, o1 = q1 * kernels->panel;
            const char *W = (const char *)network->weights + (op->weights + o0 * (op->n_in + 1)) * element;
            if (q0 < q1)
                kernels->dense_rows(out + o0 * element, in, W, rows, op->n_in, (o1 < op->n_out ? o1 : op->n_out) - o0, ld_in,
                                    ld, activation, op->parameters);
        } else if (thread == 0 && op->kind > FNN_OP_NOISE) {
            layer_rows(network, op, out, ld, in, ld_in, rows, scratch + (2 + op->slot) * half, p->ld);
        } else if (thread == 0) {
            for (ptrdiff_t r = 0; r < rows; r++)
                if (activation < FNN_SOFTMAX)
                    kernels->activate(out + r * ld * element, NULL, in + r * ld_in * element, op->n_out, activation,
                                      op->parameters);
                else
                    memcpy(out + r * ld * element, in + r * ld_in * element, (size_t)(op->n_out * element));
        }
        if (n_threads > 1) fnn_barrier_wait(&p->barrier);
        if (activation >= FNN_SOFTMAX) {
            if (thread == 0) kernels->row_activation(out, rows, op->n_out, ld, activation);
            if (n_threads > 1) fnn_barrier_wait(&p->barrier);
        }
        if (p->activity && thread == 0 && fnn_has_activity(op))
            penalize_rows(p, op, out, ld, first, rows, scratch + (2 + network->n_branches) * half);
        in = out;
        ld_in = ld;
        turn = !turn;
    }
    char *target = p->out + first * network->n_outputs * element;
    const size_t row_bytes = (size_t)(network->n_outputs * element);
    if (in != target && thread == 0)
        for (ptrdiff_t r = 0; r < rows; r++) memcpy(target + (ptrdiff_t)row_bytes * r, in + r * ld_in * element, row_bytes);
    return 1;
}

/* ---- by panels ---- */

/* Rows that only fill the last panel of a thread must be few; layers of middling width lose nothing by rows. */
static int goes_by_panels(const fnn_network *network, ptrdiff_t rows, int threads) {
    const ptrdiff_t panel = network->kernels->panel, panels = (rows + panel - 1) / panel;
    if ((panels + threads - 1) / threads * threads * panel - rows > rows / 12) return 0;
    int pays = network->widest <= PANEL_WIDTH;
    for (int i = 0; i < network->n_ops; i++) {
        const fnn_op *op = &network->ops[i];
        if (op->kind > FNN_OP_NOISE && op->kind != FNN_OP_STANDARDIZE) return 0;
        pays |= op->kind == FNN_OP_DENSE && fnn_panels_pay(op->n_in, rows / threads);
    }
    return pays;
}

/* The panels of an op's outputs, from those of its inputs; returns 0 where they are its inputs. */
static int op_panels(const prediction *p, int i, char *out, const char *in, ptrdiff_t panels) {
    const fnn_network *network = p->network;
    const fnn_kernels *kernels = network->kernels;
    const fnn_op *op = &network->ops[i];
    const ptrdiff_t element = (ptrdiff_t)network->element, bytes = p->ld * element;
    const int activation = i == p->skipped ? FNN_LINEAR : op->activation;
    if (passes_through(op, activation)) return 0;
    if (op->kind == FNN_OP_DENSE) {
        const fnn_dense layer = {out,       NULL,       in,    (const char *)network->weights + op->weights * element,
                                 op->n_in,  op->n_out,  p->ld, p->ld,
                                 activation, {op->parameters[0], op->parameters[1], op->parameters[2]}};
        kernels->dense_forward(&layer, 0, panels, 0, op->panels);
    }
    const char *mean = (const char *)network->weights + op->state * element, *variance = mean + op->n_in * element;
    for (ptrdiff_t j = 0; j < panels; j++, out += bytes, in += bytes) {
        if (op->kind == FNN_OP_STANDARDIZE)
            kernels->standardize(out, NULL, in, mean, variance, op->n_in, op->invert, op->missing, op->indicator);
        fnn_activate_panel(network, op, activation, out, NULL, in);
    }
    return 1;
}

static int predict_panels(prediction *p, ptrdiff_t first, ptrdiff_t rows, char *scratch) {
    const fnn_network *network = p->network;
    const fnn_kernels *kernels = network->kernels;
    const ptrdiff_t element = (ptrdiff_t)network->element, panel = kernels->panel, panels = (rows + panel - 1) / panel;
    char *in = scratch, *out = scratch + panels * p->ld * element;
    for (ptrdiff_t j = 0; j < panels; j++) {
        void *X = in + j * p->ld * element;
        kernels->gather(X, p->X, NULL, first + j * panel, fnn_part(rows - j * panel, panel));
        if (are_allowed(network, X, p->X->cols * panel)) continue;
        fnn_matrix part = *p->X;
        part.data = (const char *)part.data + first * part.row_stride;
        part.rows = rows;
        atomic_store(&p->bad_row, first + fnn_bad_row(network, &part));
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
                         fnn_part(rows - j * panel, panel));
    return 1;
}

/* ---- the call ---- */

static void predict_blocks(void *context, int thread, int n_threads) {
    prediction *p = context;
    if (p->together) {
        predict_block(p, 0, p->X->rows, p->scratch, thread, n_threads);
        return;
    }
    ptrdiff_t first, last;
    const ptrdiff_t unit = p->by_panels ? p->network->kernels->panel : 1;
    fnn_share((p->X->rows + unit - 1) / unit, thread, n_threads, &first, &last);
    first *= unit;
    last = fnn_part(p->X->rows, last * unit);
    char *scratch = p->scratch + thread * p->scratch_bytes;
    for (; first < last; first += p->block) {
        const ptrdiff_t rows = fnn_part(last - first, p->block);
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
    p->ld = row_stride(p->network->kernels, widest_row(p->network, p->direct));
    const ptrdiff_t cached = BLOCK_BYTES / (2 * p->ld * element);
    const ptrdiff_t most = streams ? MANY_ROWS : fnn_part(cached < FEWEST_ROWS ? FEWEST_ROWS : cached, BLOCK_ROWS);
    /* as few blocks as can be, near-equal, of whole tiles */
    const ptrdiff_t blocks = (each + most - 1) / most;
    p->block = blocks == 1 ? each : ((each + blocks - 1) / blocks + 5) / 6 * 6;
    p->scratch_bytes = (2 + p->network->n_branches) * p->block * p->ld * element;
    if (p->activity) p->scratch_bytes += p->ld * panel * element;
}

static void plan_panels(prediction *p, ptrdiff_t each) {
    const ptrdiff_t element = (ptrdiff_t)p->network->element, panel = p->network->kernels->panel;
    p->ld = fnn_panel_stride(p->network->kernels, p->network->widest);
    const ptrdiff_t cached = PANEL_BYTES / (2 * p->ld * element), few = cached < 2 ? 2 : cached;
    const ptrdiff_t most = p->network->widest > PANEL_WIDTH ? FNN_BLOCK_PANELS : few;
    const ptrdiff_t panels = fnn_part((each + panel - 1) / panel, most);
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
    const int threads = fnn_threads_for(network->operations * (double)n, p.together ? network->widest / kernels->panel : n, n_threads);
    const ptrdiff_t each = p.together ? n : (n + threads - 1) / threads;
    p.by_panels = !p.together && !activity && goes_by_panels(network, n, threads);
    if (p.by_panels)
        plan_panels(&p, each);
    else
        plan_rows(&p, each, streams);
    if (activity) memset(activity, 0, (size_t)n * sizeof(double));
    _Alignas(64) char stack[STACK_BYTES];
    void *arena = NULL;
    p.scratch = stack;
    const int scratches = p.together ? 1 : threads;
    if (p.scratch_bytes * scratches > STACK_BYTES) {
        const size_t size = fnn_size(p.scratch_bytes, scratches, 1);
        arena = fnn_scratch_new((void **)&p.scratch, &size, 1);
        if (!arena) return FNN_NO_MEMORY;
    }
    fnn_team_run(predict_blocks, &p, threads, &p.barrier);
    fnn_scratch_free(arena);
    *bad_row = atomic_load(&p.bad_row);
    return *bad_row >= 0 ? FNN_BAD_INPUT : FNN_OK;
}
