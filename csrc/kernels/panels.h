/* The rules of the layout (fnn.h) with the sizes of this build. */
#ifndef FNN_PANELS_H
#define FNN_PANELS_H

#include "../fnn.h"
#include "simd.h"

static inline ptrdiff_t panel_width(ptrdiff_t n_out, ptrdiff_t q) { return fnn_panel_width(PANEL, NARROW, n_out, q); }
static inline ptrdiff_t panel_offset(ptrdiff_t n_in, ptrdiff_t q) { return fnn_panel_offset(PANEL, n_in, q); }

#endif
