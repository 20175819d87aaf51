/* The C interface of fastnn: what the engine, the kernels and the binding share.
 *
 * Design:
 * a) Kernels are arithmetic on caller-owned buffers, one thread, no state. They are compiled once per instruction set
 *    and element type; each build exports one const table (fnn_kernels).
 * b) Activations, gradients and inputs of a batch live in *panels*: `panel` rows (64 bytes worth) side by side,
 *    feature-major, [rows / panel][features + 1][panel]; the last feature is constant one, so that a bias is a row of W.
 * c) Weights, moments and gradients live in *weight panels*: [outputs / panel][inputs + 1][panel], input-major, the
 *    bias in the last row. A last panel with at most half of its outputs in use is half as wide.
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
    FNN_RELU_GENERAL,
    FNN_MISH,
    FNN_SOFTSIGN,
    FNN_HARD_SIGMOID,
    FNN_HARD_SILU,
    FNN_SOFTMAX, /* from here on: activations of a whole row */
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
    FNN_CCE, /* from here on: of a whole row */
    FNN_SPARSE_CCE,
    FNN_CATEGORICAL_FOCAL,
    FNN_KL_DIVERGENCE,
    FNN_CATEGORICAL_HINGE,
    FNN_COSINE_SIMILARITY,
    FNN_GAUSSIAN_NLL, /* outputs: means, then logarithms of variances */
    FNN_DICE,
    FNN_CUSTOM /* the caller computes it */
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

typedef enum { FNN_F32, FNN_F64, FNN_I8, FNN_U8, FNN_I16, FNN_U16, FNN_I32, FNN_U32, FNN_I64, FNN_U64 } fnn_dtype;

typedef struct {
    int kind;
    int from_logits;
    double label_smoothing;
    double delta;        /* Huber's threshold; the level of a quantile */
    double alpha, gamma; /* weight and focus of the focal losses */
    const double *alphas; /* categorical focal: weights of the classes, kept by the caller, or NULL: alpha */
    int balanced;        /* binary focal: classes are weighted alpha and 1 - alpha */
    int full;            /* Gaussian: with the constant log(2 pi) / 2 */
    int per_row;         /* Dice of each row, instead of the whole batch's */
    int sum;             /* over the batch, instead of its mean */
    int weighted_mean;   /* the mean over the batch is divided by its sum of sample weights */
    int scaled_penalty;  /* so are the penalties on weights */
    int ignores;         /* rows labelled `ignored` add nothing, and the mean is over the others */
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
    double beta_1;  /* SGD, RMSprop: momentum; Lion: beta_1; Adam and its kind: 1 - beta_1 */
    double beta_2;  /* RMSprop, Adadelta: rho; Adamax, Lion: beta_2; Adam, Nadam: 1 - beta_2 */
    double epsilon;
    double rate_2;     /* Nadam: factor of the gradient */
    double correction; /* Nadam: 1 / (1 - beta_2^t) */
    double l1, l2, scale;
    double clip; /* bound of the elements; 0: none */
} fnn_update;

/* A caller's matrix of any real type and strides. */
typedef struct {
    const void *data;
    int dtype;                       /* fnn_dtype */
    ptrdiff_t row_stride, col_stride; /* bytes */
    ptrdiff_t rows, cols;
} fnn_matrix;

/* One dense layer over panels. Pointers are to elements of the table's type. */
typedef struct {
    void *Y;        /* (panels, y_stride): post-activation, [n_out][panel] at the start of each panel */
    void *D;        /* (panels, n_out * panel): derivative of the activation, or NULL */
    const void *X;  /* (panels, x_stride): [n_in][panel] at the start of each panel */
    const void *W;  /* weight panels */
    ptrdiff_t n_in, n_out;
    ptrdiff_t x_stride, y_stride; /* elements between panels */
    int activation;               /* elementwise; FNN_SOFTMAX and later are applied by the caller */
    double parameters[3];
} fnn_dense;

typedef struct {
    const char *isa;
    int dtype;        /* FNN_F32 or FNN_F64 */
    int panel;        /* rows in a panel, outputs in a weight panel */
    int narrow;       /* width of a narrow last weight panel */

    /* panels [p0, p1) and weight panels [q0, q1) of a dense layer */
    void (*dense_forward)(const fnn_dense *layer, ptrdiff_t p0, ptrdiff_t p1, ptrdiff_t q0, ptrdiff_t q1);
    /* dX[k0:k1] of panels [p0, p1) = W dZ. dX: (panels, dx_stride), dZ: (panels, dz_stride), both [features][panel]. */
    void (*dense_backward_input)(void *dX, const void *dZ, const void *W, ptrdiff_t n_in, ptrdiff_t n_out,
                                 ptrdiff_t dx_stride, ptrdiff_t dz_stride, ptrdiff_t p0, ptrdiff_t p1, ptrdiff_t k0,
                                 ptrdiff_t k1);
    /* dZ = dY * f'(Z) in place (dY becomes dZ) on panel p, and its transpose into dZt.
     * dZt: (weight panels, rows, width). factor: Y for ReLU, the derivative
     * of other activations, unused for linear. */
    void (*dense_backward_output)(void *dZ, void *dZt, const void *factor, int activation, ptrdiff_t n_out,
                                  ptrdiff_t rows, ptrdiff_t p);
    /* Rows [k0, k1) of weight panels [q0, q1): gradient over `rows` batch rows, then the update rule. */
    void (*dense_update)(void *W, void *S1, void *S2, void *S3, const void *X, const void *dZt, ptrdiff_t n_in,
                         ptrdiff_t n_out, ptrdiff_t x_stride, ptrdiff_t rows, ptrdiff_t q0, ptrdiff_t q1, ptrdiff_t k0,
                         ptrdiff_t k1, const fnn_update *update);
    /* Y[0:n, 0:ldy] = f(X W + b), row-major; Y's columns up to the end of the last weight panel are written.
     * Row-wise activations are left to `row_activation`. */
    void (*dense_rows)(void *Y, const void *X, const void *W, ptrdiff_t n, ptrdiff_t n_in, ptrdiff_t n_out, ptrdiff_t ldx,
                       ptrdiff_t ldy, int activation, const double *parameters);
    /* The same for the outputs of full panels, from an unpacked kernel (n_in, n_out) and bias (or NULL); ldx n_in, ldy n_out. */
    void (*dense_rows_unpacked)(void *Y, const void *X, const void *kernel, const void *bias, ptrdiff_t n, ptrdiff_t n_in,
                                ptrdiff_t n_out, int activation, const double *parameters);
    /* Elementwise Y = f(X) and, unless NULL, D = f'(X); Y may be X. */
    void (*activate)(void *Y, void *D, const void *X, ptrdiff_t n, int activation, const double *parameters);
    /* softmax, log_softmax: rows (n, ld) in place; panel [n_out][panel] in place and its gradient (dY becomes dZ) */
    void (*row_activation)(void *Y, ptrdiff_t n, ptrdiff_t n_out, ptrdiff_t ld, int activation);
    void (*panel_activation)(void *Y, ptrdiff_t n_out, int activation);
    void (*panel_activation_gradient)(void *dY, const void *Y, ptrdiff_t n_out, int activation);
    /* One panel of the loss: values[panel] (float64, unscaled by weights) and dY[n_out][panel] = gradient * scale[row].
     * T: targets [n_out][panel], or labels (float64, [panel]) for FNN_SPARSE_CCE. dY may be NULL. Y becomes the
     * activated output where the loss takes logits and `activated` is set. Returns 1 where all values are finite. */
    int (*loss)(double *values, void *dY, void *Y, const void *T, const double *labels, ptrdiff_t n_out,
                 const double *scale, const fnn_loss *loss, int activated);
    /* sums[0:panel] = sum over outputs of y t per row, sums[panel:2 panel] = of y + t */
    void (*dice_sums)(double *sums, const void *Y, const void *T, ptrdiff_t n_out);
    /* Penalty l1 |y| + l2 y^2 on one panel of outputs: its sum per row is added to values (may be NULL), its gradient
     * times scale[row] to dY (may be NULL). */
    void (*activity)(double *values, void *dY, const void *Y, ptrdiff_t n_out, double l1, double l2, const double *scale);
    /* G is overwritten where update->prepare is set */
    void (*update)(void *W, void *S1, void *S2, void *S3, void *G, ptrdiff_t n, const fnn_update *update);
    /* sums[0:panel] = sum |w|, sums[panel:2 panel] = sum w^2 of each column of `rows` rows of a weight panel */
    void (*column_sums)(double *sums, const void *W, ptrdiff_t rows, ptrdiff_t width);
    /* W[row][column] *= factors[column] */
    void (*scale_columns)(void *W, ptrdiff_t rows, ptrdiff_t width, const double *factors);
    /* A = momentum A + (1 - momentum) W */
    void (*average)(void *A, const void *W, ptrdiff_t n, double momentum);
    /* a *= b, elementwise */
    void (*multiply)(void *a, const void *b, ptrdiff_t n);
    /* D[n_out][panel] = 0 or 1 / (1 - rate), Y = X * D; keyed by (seed, stream), counter = (step, row, feature).
     * alpha: dropped elements take the lowest value of SELU, and all are moved and scaled to keep mean and variance. */
    void (*dropout)(void *Y, void *D, const void *X, ptrdiff_t n_features, double rate, int alpha, uint64_t seed,
                    uint32_t stream, uint64_t step, uint32_t first_row);
    void (*gaussian_noise)(void *Y, const void *X, ptrdiff_t n_features, double deviation, uint64_t seed, uint32_t stream,
                           uint64_t step, uint32_t first_row);
    /* normalization.c. W: weight panels of one input, scale and offset. Strides: elements between panels. */
    void (*feature_moments)(double *mean, double *variance, double *inverse, const void *X, ptrdiff_t stride, ptrdiff_t rows,
                            ptrdiff_t n, double epsilon);
    void (*known_moments)(double *mean, double *inverse, const void *moving_mean, const void *moving_variance, ptrdiff_t n,
                          double epsilon);
    void (*move_statistics)(void *moving, const double *values, ptrdiff_t n, double momentum);
    void (*feature_sums)(double *sums, double *products, const void *dY, ptrdiff_t dy_stride, const void *X,
                         ptrdiff_t x_stride, const double *mean, const double *inverse, ptrdiff_t rows, ptrdiff_t n);
    void (*store_sums)(void *G, const double *scale, const double *offset, ptrdiff_t count, ptrdiff_t width);
    void (*normalize_panels)(void *Y, ptrdiff_t y_stride, const void *X, ptrdiff_t x_stride, const void *W,
                             const double *mean, const double *inverse, ptrdiff_t n, ptrdiff_t p0, ptrdiff_t p1);
    void (*normalize_gradient)(void *dY, ptrdiff_t dy_stride, const void *X, ptrdiff_t x_stride, const void *W,
                               const double *mean, const double *inverse, const double *sums, const double *products,
                               ptrdiff_t rows, ptrdiff_t n, ptrdiff_t p0, ptrdiff_t p1);
    void (*layer_norm)(void *Y, void *N, double *inverse, double *offset, const void *X, const void *W, ptrdiff_t n,
                       double epsilon, int rms);
    void (*layer_norm_gradient)(void *dY, const void *N, const double *inverse, const double *offset, const void *W,
                                ptrdiff_t n, int rms, ptrdiff_t count);
    void (*prelu)(void *Y, const void *X, const void *W, ptrdiff_t n);
    void (*prelu_gradient)(void *dY, void *S, const void *X, const void *W, ptrdiff_t n);
    void (*standardize)(void *Y, void *D, const void *X, const void *mean, const void *variance, ptrdiff_t n, int invert,
                        int missing, int indicator);
    void (*add)(void *Y, const void *A, const void *B, ptrdiff_t n);
    void (*normalize_rows)(void *Y, ptrdiff_t ldy, const void *X, ptrdiff_t ldx, const void *W, const void *moving_mean,
                           const void *moving_variance, ptrdiff_t rows, ptrdiff_t n, double epsilon);
    void (*layer_norm_rows)(void *Y, ptrdiff_t ldy, const void *X, ptrdiff_t ldx, const void *W, ptrdiff_t rows, ptrdiff_t n,
                            double epsilon, int rms);
    void (*prelu_rows)(void *Y, ptrdiff_t ldy, const void *X, ptrdiff_t ldx, const void *W, ptrdiff_t rows, ptrdiff_t n);
    void (*standardize_rows)(void *Y, ptrdiff_t ldy, const void *X, ptrdiff_t ldx, const void *mean, const void *variance,
                             ptrdiff_t rows, ptrdiff_t n, int invert, int missing, int indicator);
    /* Rows order[0:count] (or first + i where order is NULL) of X into one panel; the last one stands in place of
     * missing rows, so that nothing overflows in them that does not overflow elsewhere. */
    void (*gather)(void *panel, const fnn_matrix *X, const int64_t *order, ptrdiff_t first, ptrdiff_t count);
    /* Y (count, cols) row-major, row i at out + index(i) * ld, from one panel */
    void (*scatter)(void *out, ptrdiff_t ld, const void *panel, ptrdiff_t cols, const int64_t *order, ptrdiff_t first,
                    ptrdiff_t count);
    /* rows (count, cols) of X as contiguous elements with leading dimension ld */
    void (*convert)(void *out, ptrdiff_t ld, const fnn_matrix *X, ptrdiff_t first, ptrdiff_t count);
    /* kernel (n_in, n_out) and bias (n_out) row-major <-> weight panels; NULL parts are left alone */
    void (*pack_weights)(void *W, const void *kernel, const void *bias, ptrdiff_t n_in, ptrdiff_t n_out);
    /* outputs [first, first + count) of them as the weight panels of a layer of `count` outputs; a missing bias is zero */
    void (*pack_columns)(void *W, const void *kernel, const void *bias, ptrdiff_t n_in, ptrdiff_t n_out, ptrdiff_t first,
                         ptrdiff_t count);
    void (*unpack_weights)(void *kernel, void *bias, const void *W, ptrdiff_t n_in, ptrdiff_t n_out);
    /* 1 where all n elements are finite */
    int (*all_finite)(const void *x, ptrdiff_t n);
    int (*no_infinity)(const void *x, ptrdiff_t n);
    /* Runs `iterations` dependent rounds of independent fused multiply-adds; returns the number of operations. */
    double (*fma_peak)(int64_t iterations, void *sink);
} fnn_kernels;

/* elements of the weight panels of one dense layer */
static inline ptrdiff_t fnn_weight_elements(const fnn_kernels *kernels, ptrdiff_t n_in, ptrdiff_t n_out) {
    ptrdiff_t full = n_out / kernels->panel, rest = n_out % kernels->panel;
    ptrdiff_t width = full * kernels->panel;
    if (rest) width += rest <= kernels->narrow ? kernels->narrow : kernels->panel;
    return width * (n_in + 1);
}

/* engine/dispatch.c: the table of an instruction set by name (NULL: not built or not run by this CPU) */
const fnn_kernels *fnn_find_kernels(const char *isa, int dtype);
const char *fnn_default_isa(void);
extern const char *const fnn_isa_names[];

/* engine/random.c */
void fnn_random_uniform(double *out, ptrdiff_t n, uint64_t seed, uint64_t stream);
void fnn_random_normal(double *out, ptrdiff_t n, uint64_t seed, uint64_t stream);
void fnn_shuffle(int64_t *order, ptrdiff_t n, uint64_t seed, uint64_t epoch);

#endif
