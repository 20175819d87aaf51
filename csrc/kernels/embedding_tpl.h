/* Rows of a table that are looked up, and the gradient of the table. */
#ifndef FNN_EMBEDDING_TPL_H
#define FNN_EMBEDDING_TPL_H

#include "panels.h"

/* The row of a table that a number stands for, or -1. */
static inline ptrdiff_t table_row(real x, ptrdiff_t rows) {
    if (!(x >= 0 && x < (real)rows)) return -1; /* a number below rounded rows is below rows too */
    const ptrdiff_t row = (ptrdiff_t)x;
    return (real)row == x ? row : -1;
}

/* Column `column` of row `row` of a table in weight panels. */
static inline const real *table_at(const fnn_table *table, ptrdiff_t row, ptrdiff_t column) {
    const ptrdiff_t q = column / PANEL, width = panel_width(table->columns, q);
    return (const real *)table->W + panel_offset(table->rows, q) + row * width + column % PANEL;
}

static int look_up(void *Y, const void *X, const fnn_table *table, ptrdiff_t n) {
    int good = 1;
    for (ptrdiff_t f = 0; f < n; f++)
        for (ptrdiff_t i = 0; i < PANEL; i++) {
            ptrdiff_t row = table_row(((const real *)X)[f * PANEL + i], table->rows);
            good &= row >= 0;
            if (row < 0) row = 0;
            real *y = (real *)Y + f * table->columns * PANEL + i;
            for (ptrdiff_t c = 0; c < table->columns; c += PANEL) {
                const real *w = table_at(table, row, c);
                const ptrdiff_t count = fnn_min(table->columns - c, PANEL);
                for (ptrdiff_t j = 0; j < count; j++) y[(c + j) * PANEL] = w[j];
            }
        }
    return good;
}

static void look_up_rows(const fnn_rows *rows, const fnn_table *table) {
    for (ptrdiff_t r = 0; r < rows->rows; r++)
        for (ptrdiff_t f = 0; f < rows->n; f++) {
            ptrdiff_t row = table_row(((const real *)rows->X)[r * rows->ldx + f], table->rows);
            if (row < 0) row = 0;
            real *y = (real *)rows->Y + r * rows->ldy + f * table->columns;
            for (ptrdiff_t c = 0; c < table->columns; c += PANEL)
                memcpy(y + c, table_at(table, row, c), (size_t)fnn_min(table->columns - c, PANEL) * sizeof(real));
        }
}

static void table_gradient(void *G_, const fnn_table *table, ptrdiff_t q, fnn_range rows, fnn_panels X, ptrdiff_t n,
                           const void *dY, ptrdiff_t batch_rows) {
    real *G = G_;
    const ptrdiff_t width = panel_width(table->columns, q), count = fnn_min(table->columns - q * PANEL, PANEL);
    memset(G, 0, (size_t)((rows.last - rows.first) * width) * sizeof(real));
    for (ptrdiff_t r = 0; r < batch_rows; r++) {
        const real *x = (const real *)X.data + r / PANEL * X.stride + r % PANEL;
        for (ptrdiff_t f = 0; f < n; f++) {
            const ptrdiff_t row = table_row(x[f * PANEL], table->rows);
            if (row < rows.first || row >= rows.last) continue;
            real *g = G + (row - rows.first) * width;
            const real *of_row = (const real *)dY + (r * n + f) * table->columns + q * PANEL;
            for (ptrdiff_t j = 0; j < count; j++) g[j] += of_row[j];
        }
    }
}

#endif
