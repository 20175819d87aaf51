/* Dropout (Srivastava et al. 2014) with masks from the counter-based generator Philox4x32-10 (Salmon et al. 2011). */

#define PHILOX_M0 0xD2511F53u
#define PHILOX_M1 0xCD9E8D57u
#define PHILOX_W0 0x9E3779B9u
#define PHILOX_W1 0xBB67AE85u

/* counters (row, feature / 4, step, stream): four features of every row of the panel at once */
static void philox_panel(uint32_t c[4][PANEL], uint64_t seed) {
    uint32_t k0 = (uint32_t)seed, k1 = (uint32_t)(seed >> 32);
    for (int round = 0; round < 10; round++) {
        for (int i = 0; i < PANEL; i++) {
            uint64_t p0 = (uint64_t)PHILOX_M0 * c[0][i], p1 = (uint64_t)PHILOX_M1 * c[2][i];
            c[0][i] = (uint32_t)(p1 >> 32) ^ c[1][i] ^ k0;
            c[1][i] = (uint32_t)p1;
            c[2][i] = (uint32_t)(p0 >> 32) ^ c[3][i] ^ k1;
            c[3][i] = (uint32_t)p0;
        }
        k0 += PHILOX_W0;
        k1 += PHILOX_W1;
    }
}

static void dropout(void *Y_, void *D_, const void *X_, ptrdiff_t n_features, double rate, uint64_t seed, uint32_t stream,
                    uint64_t step, uint32_t first_row) {
    real *Y = Y_, *D = D_;
    const real *X = X_, scale = (real)(1.0 / (1.0 - rate));
    /* an element is dropped where its 32 random bits are below rate * 2^32 */
    const double bound = rate * 4294967296.0;
    const uint32_t threshold = bound >= 4294967295.0 ? UINT32_MAX : (uint32_t)bound;
    for (ptrdiff_t f = 0; f < n_features; f += 4) {
        uint32_t c[4][PANEL];
        for (int i = 0; i < PANEL; i++) {
            c[0][i] = first_row + (uint32_t)i;
            c[1][i] = (uint32_t)(f / 4);
            c[2][i] = (uint32_t)step;
            c[3][i] = stream;
        }
        philox_panel(c, seed);
        for (ptrdiff_t j = 0; j < 4 && f + j < n_features; j++)
            for (int i = 0; i < PANEL; i++) {
                const ptrdiff_t at = (f + j) * PANEL + i;
                D[at] = c[j][i] < threshold ? 0 : scale;
                Y[at] = X[at] * D[at];
            }
    }
}
