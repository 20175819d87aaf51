/* The numbers that the update rule of each step of an epoch takes: learning rates, with the corrections of moments that
 * start at zero, and factors. */

#include <math.h>

#include "fit.h"

/* b^t by repeated squaring: the same bits with every libm, and wherever a fit is cut */
static double integer_power(double b, uint64_t t) {
    double power = 1;
    for (; t; t >>= 1, b *= b)
        if (t & 1) power *= b;
    return power;
}

/* 1 - b^t; halvings: -log2(b). From 64 halvings on the power is too small to matter. */
static double bias_of(double b, double halvings, uint64_t t) {
    return halvings * (double)t > 64 ? 1.0 : 1 - integer_power(b, t);
}

/* Nadam's momentum of update t, beta_1 (1 - 0.96^t / 2), and the product of the momenta up to it */
typedef struct {
    uint64_t t;
    double decay, factor, product;
} momentum_product;

static void advance(momentum_product *p, double beta_1) {
    p->t++;
    p->decay *= 0.96;
    p->factor = beta_1 * (1.0 - 0.5 * p->decay);
    p->product *= p->factor;
}

/* Updates that are multiplied one by one; from then on the momentum is beta_1, and the product a power of it. */
#define MULTIPLIED_UPDATES 65536
/* Numbers below it change neither a momentum nor one minus a product. */
#define NEGLIGIBLE 0x1p-60

/* Of update t; *p, of an earlier update, advances to it or as far as that is needed. The numbers depend on t alone. */
static momentum_product product_at(momentum_product *p, double beta_1, uint64_t t) {
    while (p->t < t && p->t < MULTIPLIED_UPDATES && (p->decay > NEGLIGIBLE || p->product > NEGLIGIBLE)) advance(p, beta_1);
    momentum_product result = *p;
    if (p->t == MULTIPLIED_UPDATES) result.product *= integer_power(beta_1, t - p->t);
    return result;
}

void fnn_fit_set_rates(fnn_fit *fit, const double *rates) {
    const fnn_optimizer *optimizer = &fit->network->optimizer;
    const fnn_update *update = &optimizer->update;
    momentum_product last = {.t = 0, .decay = 1, .product = 1};
    const double beta_1 = 1 - update->beta_1, beta_2 = 1 - update->beta_2;
    const double halvings_1 = -log2(beta_1), halvings_2 = -log2(beta_2);
    for (ptrdiff_t s = 0; s < fit->n_steps; s++) {
        const uint64_t t = (uint64_t)((fit->first_iteration + s) / optimizer->accumulate + 1);
        double rate = rates[s], rate_2 = 0, correction = 1;
        if (update->kind == FNN_ADAM || update->kind == FNN_AMSGRAD) {
            rate *= sqrt(bias_of(beta_2, halvings_2, t)) / bias_of(beta_1, halvings_1, t);
            if (optimizer->corrects_epsilon) correction = sqrt(bias_of(beta_2, halvings_2, t));
        } else if (update->kind == FNN_ADAMAX) {
            rate /= bias_of(beta_1, halvings_1, t);
        } else if (update->kind == FNN_NADAM) {
            const momentum_product product = product_at(&last, beta_1, t);
            momentum_product after = last;
            const momentum_product next = product_at(&after, beta_1, t + 1);
            rate_2 = rates[s] * (1 - product.factor) / (1 - product.product);
            rate *= next.factor / (1 - next.product);
            correction = 1 / bias_of(beta_2, halvings_2, t);
        }
        fit->rates[FNN_RATE * fit->n_steps + s] = rate;
        fit->rates[FNN_RAW * fit->n_steps + s] = rates[s];
        fit->rates[FNN_RATE_2 * fit->n_steps + s] = rate_2;
        fit->rates[FNN_CORRECTION * fit->n_steps + s] = correction;
    }
}

void fnn_fit_set_factors(fnn_fit *fit, fnn_fit_factor factor, const double *values) {
    double *to = fit->rates + ((int)FNN_FACTORS + (int)factor) * fit->n_steps;
    for (ptrdiff_t s = 0; s < fit->n_steps; s++) to[s] = values ? values[s] : 1.0;
}
