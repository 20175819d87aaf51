/* Counter-based generators of the Philox family (Salmon et al. 2011), and the numbers and orders drawn from them. */

#include "../quantile.h"
#include "team.h"

#include <math.h>

/* Philox4x32-10 */
static void philox_4x32(uint32_t c[4], uint64_t seed, uint64_t stream, uint64_t counter) {
    uint32_t k0 = (uint32_t)seed, k1 = (uint32_t)(seed >> 32);
    c[0] = (uint32_t)counter;
    c[1] = (uint32_t)(counter >> 32);
    c[2] = (uint32_t)stream;
    c[3] = (uint32_t)(stream >> 32);
    for (int round = 0; round < 10; round++) {
        uint64_t p0 = (uint64_t)0xD2511F53u * c[0], p1 = (uint64_t)0xCD9E8D57u * c[2];
        uint32_t c1 = c[1], c3 = c[3];
        c[0] = (uint32_t)(p1 >> 32) ^ c1 ^ k0;
        c[1] = (uint32_t)p1;
        c[2] = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
        c[3] = (uint32_t)p0;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
}

static double uniform_of(uint32_t high, uint32_t low) {
    return (double)(((uint64_t)high << 21) ^ (low >> 11)) * 0x1p-53;
}

/* Numbers between two looks for an interruption. */
#define OFTEN 65536

void fnn_random_uniform(double *out, ptrdiff_t n, uint64_t seed, uint64_t stream) {
    uint32_t c[4];
    for (ptrdiff_t i = 0; i < n; i += 2) {
        if (i % OFTEN == 0 && fnn_interrupted()) return;
        philox_4x32(c, seed, stream, (uint64_t)i / 2);
        out[i] = uniform_of(c[0], c[1]);
        if (i + 1 < n) out[i + 1] = uniform_of(c[2], c[3]);
    }
}

/* Natural logarithm in plain operations, so that a seed gives the same numbers with every libm: x = 2^e m,
 * log m = 2 atanh((m - 1) / (m + 1)) by its series; relative error below 1e-15. */
static double portable_log(double x) {
    int e;
    double m = frexp(x, &e);
    if (m < 0.70710678118654752) {
        m *= 2;
        e--;
    }
    double s = (m - 1) / (m + 1), u = s * s, sum = 0;
    for (int k = 21; k >= 1; k -= 2) sum = sum * u + 1.0 / k;
    return (double)e * 0.69314718055994531 + 2 * s * sum;
}

/* Quantile of the standard normal distribution */
static double normal_quantile(double p) {
    const double q = p - 0.5;
    const double *numerator = CENTRE_NUMERATOR, *denominator = CENTRE_DENOMINATOR;
    double r = 0.180625 - q * q, outer = q;
    if (q < -0.425 || q > 0.425) {
        r = sqrt(-portable_log(q < 0 ? p : 1 - p));
        numerator = r <= 5 ? TAIL_NUMERATOR : FAR_NUMERATOR;
        denominator = r <= 5 ? TAIL_DENOMINATOR : FAR_DENOMINATOR;
        r -= r <= 5 ? 1.6 : 5.0;
        outer = q < 0 ? -1 : 1;
    }
    double n = numerator[7], m = denominator[7];
    for (int i = 6; i >= 0; i--) {
        n = n * r + numerator[i];
        m = m * r + denominator[i];
    }
    return outer * n / m;
}

void fnn_random_normal(double *out, ptrdiff_t n, uint64_t seed, uint64_t stream) {
    fnn_random_uniform(out, n, seed, stream);
    for (ptrdiff_t i = 0; i < n; i++) {
        if (i % OFTEN == 0 && fnn_interrupted()) return;
        out[i] = normal_quantile(out[i] + 0x1p-54);
    }
}

/* Philox2x64-10 (Salmon et al. 2011): one wide multiplication per round where a CPU has it, two numbers per block. */
static void philox_2x64(uint64_t draws[2], uint64_t seed, uint64_t stream, uint64_t counter) {
    uint64_t c0 = counter, c1 = stream, key = seed;
    for (int round = 0; round < 10; round++) {
        const unsigned __int128 product = (unsigned __int128)0xD2B74407B1CE6E93u * c0;
        c0 = (uint64_t)(product >> 64) ^ key ^ c1;
        c1 = (uint64_t)product;
        key += 0x9E3779B97F4A7C15u;
    }
    draws[0] = c0;
    draws[1] = c1;
}

/* Numbers are drawn in blocks: blocks do not depend on each other, the exchanges do. */
#define DRAWS 32

/* Fisher and Yates; bounded numbers by multiply and shift (Lemire 2019) of 64 bits, whose bias is below n / 2^64. */
void fnn_shuffle(int64_t *order, ptrdiff_t n, uint64_t seed, uint64_t epoch) {
    uint64_t draws[DRAWS];
    for (ptrdiff_t i = 0; i < n; i++) order[i] = i;
    for (ptrdiff_t i = n - 1, k = 0; i > 0; i--, k++) {
        if (k % OFTEN == OFTEN - 1 && fnn_interrupted()) return;
        if (k % DRAWS == 0)
            for (int d = 0; d < DRAWS; d += 2) philox_2x64(draws + d, seed, epoch, (uint64_t)(k + d) / 2);
        const ptrdiff_t j = (ptrdiff_t)(((unsigned __int128)draws[k % DRAWS] * (uint64_t)(i + 1)) >> 64);
        const int64_t swap = order[i];
        order[i] = order[j];
        order[j] = swap;
    }
}
