/* The loss of one panel by kind, and the penalty on a panel of outputs. */
#ifndef FNN_LOSSES_TPL_H
#define FNN_LOSSES_TPL_H

#include "elementwise_losses_tpl.h"
#include "row_losses_tpl.h"

/* Long because each loss is one case. */
static int panel_loss(double *values, void *dY, void *Y, const void *T, const double *labels, ptrdiff_t n_out,
                      const double *scale, const fnn_loss *loss, int activated) {
    switch (loss->kind) {
#define PANEL_OF(kind, from_logits, side) \
    elementwise_panel(kind, from_logits, side, loss, values, dY, Y, T, n_out, scale, activated)
#define CASE(kind, side)         \
    case kind:                   \
        PANEL_OF(kind, 0, side); \
        break;
        CASE(FNN_MSE, 1)
        CASE(FNN_MAE, 1)
        CASE(FNN_HUBER, 1)
        CASE(FNN_MAPE, 1)
        CASE(FNN_MSLE, SIDE)
        CASE(FNN_LOG_COSH, SIDE)
        CASE(FNN_HINGE, 1)
        CASE(FNN_SQUARED_HINGE, 1)
        CASE(FNN_QUANTILE, 1)
#undef CASE
#define CASE(kind)                   \
    case kind:                       \
        if (loss->from_logits)       \
            PANEL_OF(kind, 1, SIDE); \
        else                         \
            PANEL_OF(kind, 0, SIDE); \
        break;
        CASE(FNN_POISSON)
        CASE(FNN_BCE)
        CASE(FNN_BINARY_FOCAL)
#undef CASE
#undef PANEL_OF
    case FNN_CATEGORICAL_FOCAL:
        categorical_focal(loss, values, dY, Y, T, n_out, scale, activated);
        break;
    case FNN_KL_DIVERGENCE:
        kl_divergence(values, dY, Y, T, n_out, scale);
        break;
    case FNN_CATEGORICAL_HINGE:
        categorical_hinge(values, dY, Y, T, n_out, scale);
        break;
    case FNN_COSINE_SIMILARITY:
        cosine_similarity(values, dY, Y, T, n_out, scale);
        break;
    case FNN_GAUSSIAN_NLL:
        gaussian_nll(loss, values, dY, Y, T, n_out, scale);
        break;
    case FNN_DICE:
        dice(loss, values, dY, Y, T, n_out, scale);
        break;
    case FNN_MULTI_QUANTILE:
        multi_quantile(loss, values, dY, Y, T, n_out, scale);
        break;
    default:
        if (loss->from_logits && loss->kind == FNN_SPARSE_CCE)
            crossentropy_from_logits(1, loss, values, dY, Y, T, labels, n_out, scale, activated);
        else if (loss->from_logits)
            crossentropy_from_logits(0, loss, values, dY, Y, T, labels, n_out, scale, activated);
        else
            crossentropy_from_probabilities(loss, values, dY, Y, T, labels, n_out, scale);
        break;
    }
    /* x - x is zero for finite numbers, NaN otherwise */
    dvec bad = d_set(0.0);
    for (int lane = 0; lane < PANEL; lane += DLANES) {
        const dvec value = d_load_double(values + lane);
        bad += value - value;
    }
    double sum = 0;
    for (int i = 0; i < DLANES; i++) sum += bad[i];
    return sum == 0;
}

static void output_penalty(double *values, void *dY_, const void *Y_, ptrdiff_t n_out, double l1, double l2,
                           const double *scale) {
    const dvec zero = d_set(0.0), one = d_set(1.0);
    for (int lane = 0; lane < PANEL; lane += DLANES) {
        const real *Y = (const real *)Y_ + lane;
        if (values) {
            dvec sum = d_load_double(values + lane);
            for (ptrdiff_t o = 0; o < n_out; o++) {
                const dvec y = d_load(Y + o * PANEL);
                sum += d_fma(d_set(l2) * y, y, d_set(l1) * d_abs(y));
            }
            d_store_double(values + lane, sum);
        }
        if (!dY_) continue;
        real *dY = (real *)dY_ + lane;
        const dvec factor = d_load_double(scale + lane);
        for (ptrdiff_t o = 0; o < n_out; o++) {
            const dvec y = d_load(Y + o * PANEL), sign = d_select(y > zero, one, d_select(y < zero, -one, zero));
            d_store(dY + o * PANEL, d_fma(d_fma(d_set(2.0 * l2), y, d_set(l1) * sign), factor, d_load(dY + o * PANEL)));
        }
    }
}

#endif
