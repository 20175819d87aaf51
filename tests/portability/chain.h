/* Networks of one input and one output whose ops follow each other, as the programs in this folder use them. */
#include "../../csrc/engine/kind.h"

static fnn_network *new_chain(const fnn_kernels *kernels, ptrdiff_t n_in, const fnn_op *ops, int n) {
    return fnn_network_new(kernels, &(fnn_program){&n_in, 1, n, 1, ops, &n});
}

static fnn_status compile_chain(fnn_network *network, const fnn_loss *loss, const fnn_optimizer *optimizer) {
    return fnn_network_compile(network, &(fnn_output_loss){*loss, 0, 1.0}, 1, optimizer);
}

/* The arrays of a fit. */
typedef struct {
    fnn_matrix X;
    fnn_targets targets;
    void *predictions; /* or NULL */
    ptrdiff_t batch_size;
    int n_threads;
} chain_data;

static fnn_fit *new_fit(fnn_network *network, const chain_data *data) {
    return fnn_fit_new(network, &(fnn_fit_data){.X = &data->X,
                                                .targets = &data->targets,
                                                .predictions = &data->predictions,
                                                .batch_size = data->batch_size,
                                                .n_threads = data->n_threads});
}

/* The outputs of all rows; logits: those before the last activation. */
static fnn_status predict_rows(const fnn_network *network, const fnn_matrix *X, void *out, double *activity, int logits,
                               int n_threads) {
    unsigned char skipped[FNN_MOST_OPS] = {0};
    if (logits) skipped[network->n_ops - 1] = 1;
    return fnn_predict(network, &(fnn_prediction){network->route, X, &out, activity, skipped, n_threads});
}
