/* All kinds of layers. */

#include "../kind.h"

extern const fnn_kind fnn_dense_kind, fnn_activation_kind, fnn_dropout_kind, fnn_noise_kind, fnn_batch_norm_kind,
    fnn_layer_norm_kind, fnn_prelu_kind, fnn_scaling_kind, fnn_concatenate_kind, fnn_slice_kind, fnn_dot_kind,
    fnn_embedding_kind, fnn_feature_scale_kind, fnn_parametric_activation_kind, fnn_cosine_features_kind,
    fnn_grouped_product_kind, fnn_bounded_lines_kind, fnn_member_product_kind;

const fnn_kind *const fnn_kinds[] = {
    &fnn_dense_kind, &fnn_activation_kind, &fnn_dropout_kind, &fnn_noise_kind, &fnn_batch_norm_kind,
    &fnn_layer_norm_kind, &fnn_prelu_kind, &fnn_scaling_kind, &fnn_add_kind, &fnn_subtract_kind, &fnn_multiply_kind,
    &fnn_divide_kind, &fnn_average_kind, &fnn_maximum_kind, &fnn_minimum_kind, &fnn_concatenate_kind, &fnn_slice_kind,
    &fnn_dot_kind, &fnn_embedding_kind, &fnn_feature_scale_kind, &fnn_parametric_activation_kind,
    &fnn_cosine_features_kind, &fnn_grouped_product_kind, &fnn_bounded_lines_kind, &fnn_member_product_kind, NULL,
};
