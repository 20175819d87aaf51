/* All kernels of one instruction set and element type, in one translation unit that exports one table. */

#include "../fnn.h"
#include "../quantile.h"
#include "simd.h"
/* order matters: each file uses static functions of those above it */
#include "functions.h"
/* GCC schedules these before it allots registers: a quarter off the time of functions (CHAINS). Tiles would spill. */
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC push_options
#pragma GCC optimize("schedule-insns", "sched-pressure")
#endif
#include "activations_tpl.h"
#include "elementwise_losses_tpl.h"
#include "row_losses_tpl.h"
#include "losses_tpl.h"
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC pop_options
#endif
#include "update_tpl.h"
#include "gemm_tpl.h"
#include "weight_gradient_tpl.h"
#include "output_gradient_tpl.h"
#include "short_layers_tpl.h"
#include "layout_tpl.h"
#include "dropout_tpl.h"
#include "normalization_tpl.h"
#include "arithmetic_tpl.h"
#include "embedding_tpl.h"
#include "cholesky_tpl.h"
#include "tabular_tpl.h"

static double fma_peak(int64_t iterations, void *sink) {
    vec c[12];
    for (int i = 0; i < 12; i++) c[i] = v_set((real)i);
    const vec a = v_set((real)0.999), b = v_load(sink);
    for (int64_t k = 0; k < iterations; k++) UNROLL for (int i = 0; i < 12; i++) c[i] = v_fma(c[i], a, b);
    for (int i = 1; i < 12; i++) c[0] += c[i];
    v_store(sink, c[0]);
    return 2.0 * 12.0 * LANES * (double)iterations;
}

#define JOIN_(a, b, c) a##b##_##c
#define JOIN(a, b, c) JOIN_(a, b, c)
#define TEXT_(a) #a
#define TEXT(a) TEXT_(a)
#ifdef FNN_DOUBLE
#define SUFFIX f64
#else
#define SUFFIX f32
#endif

extern const fnn_kernels JOIN(fnn_kernels_, FNN_ISA_NAME, SUFFIX);
const fnn_kernels JOIN(fnn_kernels_, FNN_ISA_NAME, SUFFIX) = {
    .isa = TEXT(FNN_ISA_NAME),
    .dtype = sizeof(real) == 4 ? FNN_F32 : FNN_F64,
    .panel = PANEL,
    .narrow = NARROW,
    .dense_forward = dense_forward,
    .dense_backward_input = dense_backward_input,
    .dense_backward_output = dense_backward_output,
    .dense_update = dense_update,
    .dense_rows = dense_rows,
    .short_forward = short_forward,
    .short_update = short_update,
    .dense_rows_unpacked = dense_rows_unpacked,
    .activate = activate,
    .row_activation = row_activation,
    .panel_activation = panel_activation,
    .panel_activation_gradient = panel_activation_gradient,
    .loss = panel_loss,
    .dice_sums = dice_sums,
    .output_penalty = output_penalty,
    .update = update,
    .column_squares = column_squares,
    .block_sum = block_sum,
    .scale_columns = scale_columns,
    .average = average,
    .multiply = multiply,
    .dropout = dropout,
    .gaussian_noise = gaussian_noise,
    .feature_moments = feature_moments,
    .known_moments = known_moments,
    .move_statistics = move_statistics,
    .feature_sums = feature_sums,
    .store_sums = store_sums,
    .normalize_panels = normalize_panels,
    .normalize_gradient = normalize_gradient,
    .layer_norm = layer_norm,
    .layer_norm_gradient = layer_norm_gradient,
    .prelu = prelu,
    .prelu_gradient = prelu_gradient,
    .standardize = standardize,
    .combine = combine,
    .take_equal = take_equal,
    .sum_features = sum_features,
    .dot = dot,
    .dot_rows = dot_rows,
    .dot_gradient = dot_gradient,
    .look_up = look_up,
    .look_up_rows = look_up_rows,
    .table_gradient = table_gradient,
    .scale_features = scale_features,
    .scale_features_gradient = scale_features_gradient,
    .scale_features_rows = scale_features_rows,
    .mix_identity = mix_identity,
    .mix_identity_rows = mix_identity_rows,
    .cosine_features = cosine_features,
    .cosine_features_gradient = cosine_features_gradient,
    .cosine_features_rows = cosine_features_rows,
    .grouped_product = grouped_product,
    .grouped_product_input = grouped_product_input,
    .grouped_product_gradient = grouped_product_gradient,
    .grouped_product_rows = grouped_product_rows,
    .bounded_lines = bounded_lines,
    .bounded_lines_gradient = bounded_lines_gradient,
    .bounded_lines_rows = bounded_lines_rows,
    .normalize_rows = normalize_rows,
    .layer_norm_rows = layer_norm_rows,
    .prelu_rows = prelu_rows,
    .standardize_rows = standardize_rows,
    .gather = gather,
    .scatter = scatter,
    .convert = convert,
    .pack_weights = pack_weights,
    .pack_columns = pack_columns,
    .unpack_weights = unpack_weights,
    .all_finite = all_finite,
    .no_infinity = no_infinity,
    .cholesky = cholesky,
    .cholesky_solve = cholesky_solve,
    .cholesky_inverse_trace = cholesky_inverse_trace,
    .fma_peak = fma_peak,
};
