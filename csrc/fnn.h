/* The C interface of fastnn: what the engine, the kernels and the binding share.
 *
 * Design:
 * a) Kernels are arithmetic on caller-owned buffers, one thread, no state. They are compiled once per instruction set
 *    and element type; each build exports one const table (fnn_kernels).
 * b) Activations, gradients and inputs of a batch live in *panels*: `panel` rows (64 bytes worth) side by side,
 *    feature-major, [rows / panel][features + 1][panel]; the last feature is constant one, so that a bias is a row of W.
 * c) Weights, moments and gradients live in *weight panels*: [outputs / panel][inputs + 1][panel], input-major, the
 *    bias in the last row. A last panel with at most half of its outputs in use is half as wide, one of a
 *    single output is one column.
 * d) Every element of a product is one chain of fused multiply-adds in ascending order of the contraction index
 *    (batch sums: chunks of FNN_CHUNK rows, added in order), so bits depend on neither threads nor blocking. */
#ifndef FNN_H
#define FNN_H

#include <stddef.h>
#include <stdint.h>

/* Rows of one chain in a sum over the batch. A constant of the numerical definition. */
#define FNN_CHUNK 256

/* A longer contraction is cut into blocks. */
#define FNN_WHOLE 800
/* Layers with at most so many inputs have products of their own in training (short_layers_tpl.h). */
#define FNN_SHORT 64

#define FNN_TURN 0x1.921fb54442d18p+2 /* 2 pi */

/* Items first, first + 1, ..., last - 1. */
typedef struct {
    ptrdiff_t first, last;
} fnn_range;

static inline ptrdiff_t fnn_min(ptrdiff_t a, ptrdiff_t b) { return a < b ? a : b; }
static inline ptrdiff_t fnn_ceil_div(ptrdiff_t n, ptrdiff_t divisor) { return (n + divisor - 1) / divisor; }
static inline ptrdiff_t fnn_round_up(ptrdiff_t n, ptrdiff_t multiple) { return fnn_ceil_div(n, multiple) * multiple; }

/* Width of weight panel q of n_out outputs. */
static inline ptrdiff_t fnn_panel_width(ptrdiff_t panel, ptrdiff_t narrow, ptrdiff_t n_out, ptrdiff_t q) {
    const ptrdiff_t rest = n_out - q * panel;
    return rest == 1 ? 1 : rest <= narrow ? narrow : panel;
}

/* Elements before weight panel q, whose rows are n_in inputs and a bias. */
static inline ptrdiff_t fnn_panel_offset(ptrdiff_t panel, ptrdiff_t n_in, ptrdiff_t q) { return q * panel * (n_in + 1); }

typedef enum {
    FNN_LINEAR,
    FNN_RELU,
    FNN_LEAKY_RELU,
    FNN_TANH,
    FNN_SIGMOID,
    FNN_SOFTPLUS,
    FNN_ELU,
    FNN_SELU,
    FNN_GELU,
    FNN_GELU_TANH,
    FNN_SILU,
    FNN_EXPONENTIAL,
    FNN_RELU6,
    FNN_GENERAL_RELU,
    FNN_MISH,
    FNN_SOFTSIGN,
    FNN_HARD_SIGMOID,
    FNN_HARD_SILU,
    FNN_SOFTMAX, /* of a whole row, as is the next one */
    FNN_LOG_SOFTMAX,
    FNN_ACTIVATIONS
} fnn_activation;

typedef enum {
    FNN_MSE, /* means over the outputs */
    FNN_MAE,
    FNN_HUBER,
    FNN_MAPE,
    FNN_MSLE,
    FNN_LOG_COSH,
    FNN_POISSON,
    FNN_HINGE,
    FNN_SQUARED_HINGE,
    FNN_QUANTILE,
    FNN_BCE,
    FNN_BINARY_FOCAL,
    FNN_CCE, /* of a whole row, as are the next ones */
    FNN_SPARSE_CCE,
    FNN_CATEGORICAL_FOCAL,
    FNN_KL_DIVERGENCE,
    FNN_CATEGORICAL_HINGE,
    FNN_COSINE_SIMILARITY,
    FNN_GAUSSIAN_NLL, /* outputs: means, then logarithms of variances */
    FNN_DICE,
    FNN_MULTI_QUANTILE, /* outputs: the first level of all targets, then the next level */
    FNN_CUSTOM, /* the caller computes it */
    FNN_LOSSES
} fnn_loss_kind;

typedef enum {
    FNN_STORE,      /* no update: the gradient is stored in slot 1 */
    FNN_ACCUMULATE, /* or added to it */
    FNN_SGD,
    FNN_SGD_MOMENTUM,
    FNN_SGD_NESTEROV,
    FNN_ADAM,
    FNN_AMSGRAD,
    FNN_NADAM,
    FNN_ADAMAX,
    FNN_ADAGRAD,
    FNN_ADADELTA,
    FNN_LION,
    FNN_RMSPROP,
    FNN_RMSPROP_CENTERED,
    FNN_UPDATES
} fnn_update_kind;

/* 1 for an activation of a whole row: softmax, log_softmax. All other activations are elementwise. */
static inline int fnn_is_row_activation(int activation) {
    return activation == FNN_SOFTMAX || activation == FNN_LOG_SOFTMAX;
}

typedef enum { FNN_F32, FNN_F64, FNN_I8, FNN_U8, FNN_I16, FNN_U16, FNN_I32, FNN_U32, FNN_I64, FNN_U64 } fnn_dtype;

typedef struct {
    int kind;
    int from_logits;
    double label_smoothing;
    double delta;        /* Huber's threshold; the level of a quantile */
    double alpha, gamma; /* weight and focus of the focal losses */
    const double *alphas; /* kept by the caller; categorical focal: weights of the classes, or NULL: alpha; multi-quantile:
                             its levels */
    int n_levels;        /* multi-quantile: how many */
    int balanced;        /* binary focal: classes are weighted alpha and 1 - alpha */
    int full;            /* Gaussian: with the constant log(2 pi) / 2 */
    int per_row;         /* Dice of each row, instead of the whole batch's */
    int sum;             /* over the batch, instead of its mean */
    int weighted_mean;   /* the mean over the batch is divided by its sum of sample weights */
    int scaled_penalty;  /* so are the penalties on weights */
    int ignores;         /* rows labelled `ignored` do not count */
    int64_t ignored;
    double factor;       /* of value and gradient */
    double totals[2];    /* Dice of a batch: its sums of y t and of y + t */
} fnn_loss;

/* One step's constants of an update rule; already bias-corrected. */
typedef struct {
    int kind;
    int prepare;    /* the gradient g is changed first: l1 sign(w) + 2 l2 w is added, times scale, clipped */
    double rate;    /* learning rate; Adam: rate * sqrt(1 - beta_2^t) / (1 - beta_1^t); Nadam: factor of the mean */
    double decay;   /* learning rate * weight decay */
    double beta_1;  /* SGD, RMSprop: momentum; Lion: beta_1; Adam and its variants: 1 - beta_1 */
    double beta_2;  /* RMSprop, Adadelta: rho; Adamax, Lion: beta_2; Adam, Nadam: 1 - beta_2 */
    double epsilon;
    double rate_2;     /* Nadam: factor of the gradient */
    double correction; /* Nadam: 1 / (1 - beta_2^t) */
    double l1, l2, scale; /* scale: 1 where the bias is spared */
    int spares_bias;      /* l1 and l2 are for the rows of the kernel: dense_update, short_update */
    double clip;          /* bound of the elements; 0: none */
} fnn_update;

/* Most moments that an update rule keeps per weight. */
#define FNN_MOMENTS 3

/* Weights and the moments of their update rule, laid out alike; a moment that the rule does not keep is NULL. */
typedef struct {
    void *W;
    void *moments[FNN_MOMENTS];
} fnn_weights;

/* A caller's matrix of any real type and strides. */
typedef struct {
    const void *data;
    int dtype;                        /* fnn_dtype */
    ptrdiff_t row_stride, col_stride; /* bytes */
    ptrdiff_t rows, cols;
} fnn_matrix;

/* A dense layer, Y = f(Z), Z = X W + b. Pointers are to elements of the table's type; strides are elements between
 * panels. A stage needs the fields of its section and of those above it. */
typedef struct {
    ptrdiff_t n_in, n_out;
    int activation; /* elementwise; a row activation is left to the caller */
    double parameters[3];
    const void *W; /* weight panels */
    const void *X; /* (panels, x_stride): [n_in][panel] at the start of each panel */
    void *Y;       /* (panels, y_stride): [n_out][panel] */
    void *D;       /* (panels, n_out * panel): f'(Z); NULL where it follows from Y */
    ptrdiff_t x_stride, y_stride;
    /* gradient of the outputs */
    void *dY;       /* (panels, dy_stride): gradient of Y, becomes that of Z */
    void *dZt;      /* (weight panels, rows, width): the latter transposed */
    ptrdiff_t rows; /* of the batch, rounded up to whole panels */
    fnn_range chunks; /* of FNN_CHUNK rows: the gradient of the weights is the sum of theirs */
    ptrdiff_t dy_stride;
    /* gradient of the inputs */
    void *dX; /* (panels, dx_stride) */
    ptrdiff_t dx_stride;
} fnn_dense;

/* Panels of a batch, `stride` elements apart. */
typedef struct {
    void *data;
    ptrdiff_t stride;
} fnn_panels;

/* Rows of a layer in prediction: Y (rows, ldy) from X (rows, ldx), both row-major. n: features of X. */
typedef struct {
    void *Y;
    const void *X;
    ptrdiff_t ldy, ldx, rows, n;
} fnn_rows;

/* Statistics of features over a batch, one number each. */
typedef struct {
    double *mean, *variance;
    double *inverse;  /* 1 / sqrt(variance + epsilon) */
    double *sums;     /* of the gradient over the rows */
    double *products; /* of the gradient times the normalized input */
} fnn_moments;

/* Learned means and variances, and how they are used. */
typedef struct {
    const void *mean, *variance;
    int invert;
    int missing;   /* a NaN becomes the mean */
    int indicator; /* n more features say where */
} fnn_scaling;

typedef enum { FNN_ADD, FNN_SUBTRACT, FNN_MULTIPLY, FNN_DIVIDE, FNN_MAXIMUM, FNN_MINIMUM } fnn_arithmetic;

/* Operands of n features with `lanes` elements each, a panel or 1. a_step, b_step: elements between features, 0 for one
 * feature that counts for all. */
typedef struct {
    int kind; /* fnn_arithmetic */
    ptrdiff_t n, lanes, a_step, b_step;
} fnn_operands;

/* A matrix of which rows are looked up, in weight panels. */
typedef struct {
    const void *W;
    ptrdiff_t rows, columns;
} fnn_table;

/* A stream of random numbers: key (seed, stream), counter (step, row, feature). */
typedef struct {
    uint64_t seed, step;
    uint32_t stream, first_row;
} fnn_stream;

typedef struct {
    const char *isa;
    int dtype;  /* FNN_F32 or FNN_F64 */
    int panel;  /* rows in a panel, outputs in a weight panel */
    int narrow; /* width of a narrow last weight panel */

    /* ---- gemm_tpl.h, weight_gradient_tpl.h ---- */

    void (*dense_forward)(const fnn_dense *layer, fnn_range panels, fnn_range weight_panels);
    /* On panel p: dY becomes dZ = dY * f'(Z) and is transposed into dZt. f'(Z) is 1 for a row activation. */
    void (*dense_backward_output)(const fnn_dense *layer, ptrdiff_t p);
    /* Features `inputs` of dX = W dZ. */
    void (*dense_backward_input)(const fnn_dense *layer, fnn_range panels, fnn_range inputs);
    /* Gradient of `rows` of weight panels over the batch, then the update rule on them. */
    void (*dense_update)(const fnn_dense *layer, const fnn_weights *weights, fnn_range weight_panels, fnn_range rows,
                         const fnn_update *update);
    /* dense_forward with all weight panels, and dense_update for at most FNN_CHUNK rows, where n_in <= FNN_SHORT. */
    void (*short_forward)(const fnn_dense *layer, fnn_range panels);
    void (*short_update)(const fnn_dense *layer, const fnn_weights *weights, fnn_range weight_panels, fnn_range rows,
                         const fnn_update *update);
    /* Row-major X (n, x_stride) and Y (n, y_stride). Y's columns up to the end of the last weight panel are written. */
    void (*dense_rows)(const fnn_dense *layer, ptrdiff_t n);
    /* The same for the outputs of full weight panels, with W an unpacked kernel (n_in, n_out), and a bias or NULL. */
    void (*dense_rows_unpacked)(const fnn_dense *layer, const void *bias, ptrdiff_t n);

    /* ---- activations_tpl.h ---- */

    /* Elementwise Y = f(X) and, unless NULL, D = f'(X); Y may be X. */
    void (*activate)(void *Y, void *D, const void *X, ptrdiff_t n, int activation, const double *parameters);
    /* a *= b, elementwise */
    void (*multiply)(void *a, const void *b, ptrdiff_t n);
    /* Row activations in place: of rows (n, ld), of a panel [n_out][panel]; and the gradient (dY becomes dZ). */
    void (*row_activation)(void *Y, ptrdiff_t n, ptrdiff_t n_out, ptrdiff_t ld, int activation);
    void (*panel_activation)(void *Y, ptrdiff_t n_out, int activation);
    void (*panel_activation_gradient)(void *dY, const void *Y, ptrdiff_t n_out, int activation);

    /* ---- losses_tpl.h ---- */

    /* One panel of the loss: values[panel] (float64, unscaled by weights) and dY[n_out][panel] = gradient * scale[row].
     * T: targets [n_out][panel], or labels (float64, [panel]) for FNN_SPARSE_CCE. dY may be NULL. Y becomes the
     * activated output where the loss takes logits and `activated` is set. Returns 1 where all values are finite. */
    int (*loss)(double *values, void *dY, void *Y, const void *T, const double *labels, ptrdiff_t n_out,
                const double *scale, const fnn_loss *loss, int activated);
    /* sums[0:panel] = sum over outputs of y t per row, sums[panel:2 panel] = of y + t */
    void (*dice_sums)(double *sums, const void *Y, const void *T, ptrdiff_t n_out);
    /* Penalty l1 |y| + l2 y^2 on one panel of outputs: its sum per row is added to values (may be NULL), its gradient
     * times scale[row] to dY (may be NULL). */
    void (*output_penalty)(double *values, void *dY, const void *Y, ptrdiff_t n_out, double l1, double l2,
                           const double *scale);

    /* ---- update_tpl.h ---- */

    /* n weights; G is overwritten where update->prepare is set. */
    void (*update)(const fnn_weights *weights, void *G, ptrdiff_t n, const fnn_update *update);
    /* sums[0:panel] = sum w^2 of each column of `rows` rows of a weight panel */
    void (*column_squares)(double *sums, const void *W, ptrdiff_t rows, ptrdiff_t width);
    /* sum |w|, or sum w^2 where `squares` is set, of rows of a weight panel, of whose columns `used` are an op's */
    double (*block_sum)(const void *W, ptrdiff_t rows, ptrdiff_t width, ptrdiff_t used, int squares);
    /* W[row][column] *= factors[column] */
    void (*scale_columns)(void *W, ptrdiff_t rows, ptrdiff_t width, const double *factors);
    /* A = momentum A + (1 - momentum) W */
    void (*average)(void *A, const void *W, ptrdiff_t n, double momentum);

    /* ---- dropout_tpl.h: panels ---- */

    /* D[n_features][panel] = 0 or 1 / (1 - rate), Y = X * D. alpha: a dropped element takes the lowest value of SELU,
     * and all are shifted and scaled so that mean and variance stay. */
    void (*dropout)(void *Y, void *D, const void *X, ptrdiff_t n_features, double rate, int alpha,
                    const fnn_stream *random);
    /* Y = X + normal noise */
    void (*gaussian_noise)(void *Y, const void *X, ptrdiff_t n_features, double deviation, const fnn_stream *random);

    /* ---- normalization_tpl.h. W: weight panels of one input, scale and offset ---- */

    /* mean, variance and inverse of the batch, or mean and inverse from moving statistics */
    void (*feature_moments)(const fnn_moments *moments, fnn_panels X, ptrdiff_t rows, fnn_range features, double epsilon);
    void (*known_moments)(const fnn_moments *moments, const void *moving_mean, const void *moving_variance,
                          fnn_range features, double epsilon);
    /* moving = momentum moving + (1 - momentum) values */
    void (*move_statistics)(void *moving, const double *values, fnn_range features, double momentum);
    /* sums and products; of X itself where mean is NULL, sums alone where X is */
    void (*feature_sums)(const fnn_moments *moments, fnn_panels dY, fnn_panels X, ptrdiff_t rows, fnn_range features);
    /* Both rows of a weight panel from the sums of `count` features; a NULL row is zero. */
    void (*store_sums)(void *G, const double *scale, const double *offset, ptrdiff_t count, ptrdiff_t width);
    void (*normalize_panels)(fnn_panels Y, fnn_panels X, const void *W, const fnn_moments *moments, ptrdiff_t n,
                             fnn_range panels);
    /* dY becomes dX; of_batch: the statistics are those of the batch of `rows` rows, else constants. */
    void (*normalize_gradient)(fnn_panels dY, fnn_panels X, const void *W, const fnn_moments *moments, int of_batch,
                               ptrdiff_t rows, ptrdiff_t n, fnn_range panels);
    void (*normalize_rows)(const fnn_rows *rows, const void *W, const void *moving_mean, const void *moving_variance,
                           double epsilon);
    /* One panel. N: the normalized inputs, for the gradient, or NULL. inverse, offset: [panel], 1 / sqrt(variance +
     * epsilon) and the mean of N. rms: the inputs are scaled but not centred. */
    void (*layer_norm)(void *Y, void *N, double *inverse, double *offset, const void *X, const void *W, ptrdiff_t n,
                       double epsilon, int rms);
    /* dY becomes dX; rows from `count` on are zero. */
    void (*layer_norm_gradient)(void *dY, const void *N, const double *inverse, const double *offset, const void *W,
                                ptrdiff_t n, int rms, ptrdiff_t count);
    void (*layer_norm_rows)(const fnn_rows *rows, const void *W, double epsilon, int rms);
    void (*prelu)(void *Y, const void *X, const void *W, ptrdiff_t n);
    /* dY becomes dX; S: the terms that the gradient of alpha sums over the rows */
    void (*prelu_gradient)(void *dY, void *S, const void *X, const void *W, ptrdiff_t n);
    void (*prelu_rows)(const fnn_rows *rows, const void *W);
    /* One panel; D, the derivative, may be NULL. */
    void (*standardize)(void *Y, void *D, const void *X, const fnn_scaling *scaling, ptrdiff_t n);
    void (*standardize_rows)(const fnn_rows *rows, const fnn_scaling *scaling);

    /* ---- arithmetic_tpl.h ---- */

    /* Y = A op B; Y may be A or B where that has as many elements. */
    void (*combine)(void *Y, const void *A, const void *B, const fnn_operands *how);
    /* One panel: where X equals Y, dX (may be NULL) takes what is in rest, which becomes zero there; elsewhere dX is zero.
     * step: elements between features of X, 0 for one feature that counts for all. */
    void (*take_equal)(void *dX, void *rest, const void *X, const void *Y, ptrdiff_t n, ptrdiff_t step);
    /* out[panel] = sum of X over n features; out may be X. */
    void (*sum_features)(void *out, const void *X, ptrdiff_t n);
    /* Y[panel] = dot products of rows of A and B; norms: NULL, or [2][panel], receives 1 / norms of A's and of B's rows, by
     * which the products are multiplied. */
    void (*dot)(void *Y, double *norms, const void *A, const void *B, ptrdiff_t n);
    /* The same numbers for rows; `rows` has Y and A, `other` B. */
    void (*dot_rows)(const fnn_rows *rows, const fnn_rows *other, int normalize);
    /* Gradient of A, the first input (which is 0) or the second. */
    void (*dot_gradient)(void *dA, const void *dY, const void *Y, const double *norms, int which, const void *A,
                         const void *B, ptrdiff_t n);

    /* ---- embedding_tpl.h ---- */

    /* One panel: Y[n * columns][panel] from the rows of a table that X[n][panel] names. Returns 1 where X names rows only;
     * other numbers count as row 0. */
    int (*look_up)(void *Y, const void *X, const fnn_table *table, ptrdiff_t n);
    void (*look_up_rows)(const fnn_rows *rows, const fnn_table *table);
    /* Gradient of `rows` of weight panel q of a table: the rows of dY (batch_rows, n * columns) that X names, in order. */
    void (*table_gradient)(void *G, const fnn_table *table, ptrdiff_t q, fnn_range rows, fnn_panels X, ptrdiff_t n,
                           const void *dY, ptrdiff_t batch_rows);

    /* ---- tabular_tpl.h: one panel of n features, or rows. W: weight panels of one input, or a matrix ---- */

    /* Output m n + f is feature f times a weight, and an offset. */
    void (*scale_features)(void *Y, const void *X, const void *W, ptrdiff_t n, ptrdiff_t n_out);
    void (*scale_features_gradient)(void *dX, const void *dY, const void *W, ptrdiff_t n, ptrdiff_t n_out);
    void (*scale_features_rows)(const fnn_rows *rows, const void *W, ptrdiff_t n_out);
    /* Y = X + (Y - X) W where Y holds f(X); D holds f'(X) and becomes the derivative, S = f(X) - X; both may be NULL. */
    void (*mix_identity)(void *Y, void *D, void *S, const void *X, const void *W, ptrdiff_t n);
    void (*mix_identity_rows)(const fnn_rows *rows, const void *W);
    /* Outputs f k, ..., f k + k - 1 are cos(2 pi w x + b) of feature f. D: the sine, or NULL */
    void (*cosine_features)(void *Y, void *D, const void *X, const void *W, ptrdiff_t n, ptrdiff_t n_out);
    /* S: the gradient of the argument of the cosine; dX may be NULL. */
    void (*cosine_features_gradient)(void *dX, void *S, const void *dY, const void *D, const void *W, ptrdiff_t n,
                                     ptrdiff_t n_out);
    void (*cosine_features_rows)(const fnn_rows *rows, const void *W, ptrdiff_t n_out);
    /* Each group of W->rows features is multiplied by its W->columns / groups columns of W. */
    void (*grouped_product)(void *Y, const void *X, const fnn_table *W, ptrdiff_t groups);
    void (*grouped_product_input)(void *dX, const void *dY, const fnn_table *W, ptrdiff_t groups);
    /* Gradient of `rows` of weight panel q over the batch; row W->rows is the bias. */
    void (*grouped_product_gradient)(void *G, const fnn_table *W, ptrdiff_t groups, ptrdiff_t q, fnn_range rows,
                                     fnn_panels X, fnn_panels dY, ptrdiff_t batch_rows);
    void (*grouped_product_rows)(const fnn_rows *rows, const fnn_table *W, ptrdiff_t groups);
    /* Outputs f k, ..., f k + k - 1 are min(high, max(low, w x + b)) of feature f; W's rows: w, low, high and b. D: the
     * derivative, or NULL */
    void (*bounded_lines)(void *Y, void *D, const void *X, const fnn_table *W, ptrdiff_t n);
    void (*bounded_lines_gradient)(void *dX, const void *dY, const void *D, ptrdiff_t n, ptrdiff_t n_out);
    void (*bounded_lines_rows)(const fnn_rows *rows, const fnn_table *W);

    /* ---- layout_tpl.h ---- */

    /* Rows order[0:count] (or first + i where order is NULL) of X into one panel; the last of them is repeated in place
     * of missing rows, so that nothing overflows there that does not overflow elsewhere. */
    void (*gather)(void *panel, const fnn_matrix *X, const int64_t *order, ptrdiff_t first, ptrdiff_t count);
    /* Y (count, cols) row-major, row i at out + index(i) * ld, from one panel */
    void (*scatter)(void *out, ptrdiff_t ld, const void *panel, ptrdiff_t cols, const int64_t *order, ptrdiff_t first,
                    ptrdiff_t count);
    /* rows (count, cols) of X as contiguous elements with leading dimension ld */
    void (*convert)(void *out, ptrdiff_t ld, const fnn_matrix *X, ptrdiff_t first, ptrdiff_t count);
    /* kernel (n_in, n_out) and bias (n_out), row-major <-> weight panels; a NULL one is left alone */
    void (*pack_weights)(void *W, const void *kernel, const void *bias, ptrdiff_t n_in, ptrdiff_t n_out);
    void (*unpack_weights)(void *kernel, void *bias, const void *W, ptrdiff_t n_in, ptrdiff_t n_out);
    /* Weight panels of a layer with only the outputs `columns`; a missing bias is zero. */
    void (*pack_columns)(void *W, const void *kernel, const void *bias, ptrdiff_t n_in, ptrdiff_t n_out,
                         fnn_range columns);
    /* 1 where all n elements are finite; where none is infinite */
    int (*all_finite)(const void *x, ptrdiff_t n);
    int (*no_infinity)(const void *x, ptrdiff_t n);

    /* A symmetric positive definite matrix of n rows, of which the upper triangle is read: it is replaced by its factor U,
     * A = U' U (0: it is not positive definite). With U: b becomes the solution of A x = b; the trace of the inverse of A,
     * with n elements of scratch. */
    int (*cholesky)(void *A, ptrdiff_t n);
    void (*cholesky_solve)(const void *U, ptrdiff_t n, void *b);
    double (*cholesky_inverse_trace)(const void *U, ptrdiff_t n, void *scratch);

    /* Runs `iterations` dependent rounds of independent fused multiply-adds; returns the number of operations. */
    double (*fma_peak)(int64_t iterations, void *sink);
} fnn_kernels;

/* Elements of the weight panels of one layer. */
static inline ptrdiff_t fnn_weight_elements(const fnn_kernels *kernels, ptrdiff_t n_in, ptrdiff_t n_out) {
    const ptrdiff_t panel = kernels->panel, last = (n_out - 1) / panel;
    return fnn_panel_offset(panel, n_in, last) + fnn_panel_width(panel, kernels->narrow, n_out, last) * (n_in + 1);
}

/* Bytes of an element. */
static inline ptrdiff_t fnn_element(const fnn_kernels *kernels) { return kernels->dtype == FNN_F32 ? 4 : 8; }

/* engine/dispatch.c: the table of an instruction set by name; NULL where this build or this CPU does not have it. */
const fnn_kernels *fnn_find_kernels(const char *isa, int dtype);
const char *fnn_default_isa(void);
/* Multiply-adds a second of the AVX-512 kernels over those of the AVX2 kernels, measured once in 0.1 ms; 0 where either is
 * not available. Processors that split 512-bit operations in two have 1. */
double fnn_wide_rate(void);
#define FNN_WIDE_PAYS 1.5 /* from this rate on AVX-512 is the default */
extern const char *const fnn_isa_names[]; /* ends with NULL */

/* engine/random.c */
void fnn_random_uniform(double *out, ptrdiff_t n, uint64_t seed, uint64_t stream);
void fnn_random_normal(double *out, ptrdiff_t n, uint64_t seed, uint64_t stream);
void fnn_shuffle(int64_t *order, ptrdiff_t n, uint64_t seed, uint64_t epoch);

#endif
