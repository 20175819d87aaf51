/* Arithmetic on tensors of equal width, element by element, and on a tensor and a number. A tensor of width 1 counts for
 * every feature.
 *
 * Design: n tensors are taken in order, ((x0 op x1) op x2) ... In backward each gradient is computed at full width in its
 * place; that of a narrow tensor is then summed over the features. The one that replaces the gradient of the outputs comes
 * last. */

#include "../kind.h"

static ptrdiff_t outputs(const fnn_op *op, const ptrdiff_t *widths) {
    ptrdiff_t widest = 1;
    for (int j = 0; j < op->n_inputs; j++)
        if (widths[op->inputs[j]] > widest) widest = widths[op->inputs[j]];
    return widest;
}

/* The number of an op, or another one, as a tensor of width 1 in one panel. */
static const void *number_panel(const fnn_network *network, double value, void *panel) {
    const fnn_matrix number = {&value, FNN_F64, 0, 0, 0, 1};
    network->kernels->gather(panel, &number, NULL, 0, network->kernels->panel);
    return panel;
}

#define NUMBER(name) _Alignas(64) char name[FNN_MOST_LANES * sizeof(double)]

/* One of the operands: `lanes` elements per feature, or the same ones for every feature. */
typedef struct {
    const void *data;
    ptrdiff_t width;
} operand;

/* Y = A op B over n features of `lanes` elements. */
static void combine(const fnn_network *network, int kind, void *Y, operand A, operand B, ptrdiff_t n, ptrdiff_t lanes) {
    const fnn_operands how = {kind, n, lanes, A.width == n ? lanes : 0, B.width == n ? lanes : 0};
    network->kernels->combine(Y, A.data, B.data, &how);
}

/* What an op takes in addition to its inputs: its number, or NULL. */
static const void *number_of(const fnn_network *network, const fnn_op *op, void *space) {
    return op->has_number ? number_panel(network, op->number, space) : NULL;
}

/* All inputs of an op become its outputs; inputs: of one panel or one row; own: from number_of. */
static void apply(const fnn_network *network, const fnn_op *op, int kind, void *Y, const operand *inputs, const void *own,
                  ptrdiff_t lanes) {
    NUMBER(space);
    const ptrdiff_t n = op->n_out;
    if (own) {
        const operand number = {own, 1};
        combine(network, kind, Y, op->number_first ? number : inputs[0], op->number_first ? inputs[0] : number, n, lanes);
    } else if (op->n_inputs == 1) {
        memmove(Y, inputs[0].data, (size_t)(n * lanes) * network->element);
    } else {
        combine(network, kind, Y, inputs[0], inputs[1], n, lanes);
    }
    for (int j = 2; j < op->n_inputs; j++) combine(network, kind, Y, (operand){Y, n}, inputs[j], n, lanes);
    if (op->kind == &fnn_average_kind) {
        const operand count = {number_panel(network, (double)op->n_inputs, space), 1};
        combine(network, FNN_DIVIDE, Y, (operand){Y, n}, count, n, lanes);
    }
}

/* The arithmetic of a kind; an average is a sum that is divided. */
static int arithmetic_of(const fnn_kind *kind) {
    if (kind == &fnn_subtract_kind) return FNN_SUBTRACT;
    if (kind == &fnn_multiply_kind) return FNN_MULTIPLY;
    if (kind == &fnn_divide_kind) return FNN_DIVIDE;
    if (kind == &fnn_maximum_kind) return FNN_MAXIMUM;
    return kind == &fnn_minimum_kind ? FNN_MINIMUM : FNN_ADD;
}

static void forward(const fnn_step *s, int i) {
    const fnn_fit *fit = s->fit;
    const fnn_op *op = &fit->network->ops[i];
    operand inputs[FNN_MOST_BUFFERS];
    NUMBER(space);
    const void *own = number_of(fit->network, op, space);
    for (ptrdiff_t p = s->panels.first; p < s->panels.last; p = fnn_next(s, p)) {
        for (int j = 0; j < op->n_inputs; j++)
            inputs[j] = (operand){fnn_input_panel(fit, i, j, p), fit->network->widths[op->inputs[j]]};
        apply(fit->network, op, arithmetic_of(op->kind), fnn_panel_of(fit, i, p).Y, inputs, own,
              fit->network->kernels->panel);
    }
}

static void predict_rows(const fnn_row_call *c) {
    const ptrdiff_t element = (ptrdiff_t)c->network->element;
    operand inputs[FNN_MOST_BUFFERS];
    NUMBER(space);
    const void *own = number_of(c->network, c->op, space);
    for (ptrdiff_t r = 0; r < c->rows.rows; r++) {
        for (int j = 0; j < c->op->n_inputs; j++) {
            const int b = c->op->inputs[j];
            inputs[j] = (operand){c->at[b] + r * c->ld[b] * element, c->network->widths[b]};
        }
        apply(c->network, c->op, arithmetic_of(c->op->kind), (char *)c->rows.Y + r * c->rows.ldy * element, inputs, own,
              1);
    }
}

static void predict_panels(const fnn_panel_call *c) {
    operand inputs[FNN_MOST_BUFFERS];
    NUMBER(space);
    const void *own = number_of(c->network, c->op, space);
    for (ptrdiff_t p = 0; p < c->n_panels; p++) {
        for (int j = 0; j < c->op->n_inputs; j++)
            inputs[j] = (operand){fnn_given_panel(c, j, p), c->network->widths[c->op->inputs[j]]};
        apply(c->network, c->op, arithmetic_of(c->op->kind), fnn_predicted_panel(c, p), inputs, own,
              c->network->kernels->panel);
    }
}

/* ---- gradients ---- */

/* One panel of the gradient of input j, at full width. */
typedef void input_gradient(const fnn_step *s, int i, int j, ptrdiff_t p, void *dX);

/* Calls `of_input` for every input that needs a gradient; last for the one whose gradient replaces that of the outputs. */
static void each_gradient(const fnn_step *s, int i, input_gradient *of_input) {
    const fnn_fit *fit = s->fit;
    const fnn_network *network = fit->network;
    const fnn_op *op = &network->ops[i];
    const op_buffers *b = fnn_buffers_of(fit, i);
    for (ptrdiff_t p = s->panels.first; p < s->panels.last; p = fnn_next(s, p)) {
        int in_place = -1;
        for (int j = 0; j < op->n_inputs; j++) {
            void *dX = fnn_input_gradient_panel(fit, i, j, p);
            if (!dX) continue;
            if (b->dX[j] == b->dY) {
                in_place = j;
                continue;
            }
            of_input(s, i, j, p, dX);
            if (network->widths[op->inputs[j]] < op->n_out) network->kernels->sum_features(dX, dX, op->n_out);
        }
        if (in_place >= 0) of_input(s, i, in_place, p, fnn_gradient_panel(fit, i, p));
    }
}

/* dX = A op B on one panel */
static void combine_panel(const fnn_step *s, int i, int kind, void *dX, operand A, operand B) {
    const fnn_network *network = s->fit->network;
    combine(network, kind, dX, A, B, network->ops[i].n_out, network->kernels->panel);
}

static operand outputs_gradient(const fnn_step *s, int i, ptrdiff_t p) {
    return (operand){fnn_gradient_panel(s->fit, i, p), s->fit->network->ops[i].n_out};
}

static operand input(const fnn_step *s, int i, int j, ptrdiff_t p) {
    return (operand){fnn_input_panel(s->fit, i, j, p), s->fit->network->widths[s->fit->network->ops[i].inputs[j]]};
}

static void scaled(const fnn_step *s, int i, ptrdiff_t p, void *dX, int kind, double factor) {
    NUMBER(space);
    combine_panel(s, i, kind, dX, outputs_gradient(s, i, p), (operand){number_panel(s->fit->network, factor, space), 1});
}

static void copied(const fnn_step *s, int i, ptrdiff_t p, void *dX) {
    const fnn_network *network = s->fit->network;
    const void *dY = fnn_gradient_panel(s->fit, i, p);
    if (dX != dY) memcpy(dX, dY, (size_t)(network->ops[i].n_out * network->kernels->panel) * network->element);
}

static void gradient_of_sum(const fnn_step *s, int i, int j, ptrdiff_t p, void *dX) {
    (void)j;
    copied(s, i, p, dX);
}

static void gradient_of_average(const fnn_step *s, int i, int j, ptrdiff_t p, void *dX) {
    (void)j;
    scaled(s, i, p, dX, FNN_DIVIDE, (double)s->fit->network->ops[i].n_inputs);
}

static void gradient_of_difference(const fnn_step *s, int i, int j, ptrdiff_t p, void *dX) {
    const int negative = j || s->fit->network->ops[i].number_first;
    if (negative)
        scaled(s, i, p, dX, FNN_MULTIPLY, -1.0);
    else
        copied(s, i, p, dX);
}

static void gradient_of_product(const fnn_step *s, int i, int j, ptrdiff_t p, void *dX) {
    const fnn_op *op = &s->fit->network->ops[i];
    if (op->has_number) {
        scaled(s, i, p, dX, FNN_MULTIPLY, op->number);
        return;
    }
    operand g = outputs_gradient(s, i, p);
    if (op->n_inputs == 1) copied(s, i, p, dX);
    for (int k = 0; k < op->n_inputs; k++) {
        if (k == j) continue;
        combine_panel(s, i, FNN_MULTIPLY, dX, g, input(s, i, k, p));
        g.data = dX;
    }
}

/* of x / y: g / y and -(g out) / y */
static void gradient_of_quotient(const fnn_step *s, int i, int j, ptrdiff_t p, void *dX) {
    const fnn_op *op = &s->fit->network->ops[i];
    const operand out = {fnn_panel_of(s->fit, i, p).Y, op->n_out}, whole = {dX, op->n_out};
    if (op->has_number && !op->number_first) {
        scaled(s, i, p, dX, FNN_DIVIDE, op->number);
    } else if (j || op->has_number) {
        NUMBER(space);
        combine_panel(s, i, FNN_MULTIPLY, dX, outputs_gradient(s, i, p), out);
        combine_panel(s, i, FNN_DIVIDE, dX, whole, input(s, i, j, p));
        combine_panel(s, i, FNN_MULTIPLY, dX, whole, (operand){number_panel(s->fit->network, -1.0, space), 1});
    } else {
        combine_panel(s, i, FNN_DIVIDE, dX, outputs_gradient(s, i, p), input(s, i, 1, p));
    }
}

static void backward_sum(const fnn_step *s, int i) { each_gradient(s, i, gradient_of_sum); }
static void backward_difference(const fnn_step *s, int i) { each_gradient(s, i, gradient_of_difference); }
static void backward_product(const fnn_step *s, int i) { each_gradient(s, i, gradient_of_product); }
static void backward_quotient(const fnn_step *s, int i) { each_gradient(s, i, gradient_of_quotient); }
static void backward_average(const fnn_step *s, int i) { each_gradient(s, i, gradient_of_average); }

/* The gradient of each output goes to the first operand that equals it. */
static void backward_extreme(const fnn_step *s, int i) {
    const fnn_fit *fit = s->fit;
    const fnn_network *network = fit->network;
    const fnn_kernels *kernels = network->kernels;
    const fnn_op *op = &network->ops[i];
    NUMBER(space);
    const void *number = number_panel(network, op->number, space);
    for (ptrdiff_t p = s->panels.first; p < s->panels.last; p = fnn_next(s, p)) {
        const void *Y = fnn_panel_of(fit, i, p).Y;
        void *rest = fnn_gradient_panel(fit, i, p);
        if (op->number_first) kernels->take_equal(NULL, rest, number, Y, op->n_out, 0);
        for (int j = 0; j < op->n_inputs; j++) {
            const ptrdiff_t width = network->widths[op->inputs[j]];
            void *dX = fnn_input_gradient_panel(fit, i, j, p);
            kernels->take_equal(dX, rest, fnn_input_panel(fit, i, j, p), Y, op->n_out,
                                width == op->n_out ? kernels->panel : 0);
            if (dX && width < op->n_out) kernels->sum_features(dX, dX, op->n_out);
        }
    }
}

#define ARITHMETIC(kind, kind_name, least, most, place, gradient) \
    const fnn_kind kind = {                                      \
        .name = kind_name,                                       \
        .least_inputs = least,                                   \
        .most_inputs = most,                                     \
        .takes_number = 1,                                       \
        .outputs = outputs,                                      \
        .gradient_place = place,                                 \
        .forward = forward,                                      \
        .backward = gradient,                                    \
        .predict_rows = predict_rows,                            \
        .predict_panels = predict_panels,                        \
    };
ARITHMETIC(fnn_add_kind, "add", 1, FNN_MOST_BUFFERS, FNN_IN_PLACE, backward_sum)
ARITHMETIC(fnn_subtract_kind, "subtract", 2, 2, FNN_IN_PLACE, backward_difference)
ARITHMETIC(fnn_multiply_kind, "multiply", 1, FNN_MOST_BUFFERS, FNN_IN_PLACE, backward_product)
ARITHMETIC(fnn_divide_kind, "divide", 2, 2, FNN_IN_PLACE, backward_quotient)
ARITHMETIC(fnn_average_kind, "average", 1, FNN_MOST_BUFFERS, FNN_IN_PLACE, backward_average)
ARITHMETIC(fnn_maximum_kind, "maximum", 1, FNN_MOST_BUFFERS, FNN_APART, backward_extreme)
ARITHMETIC(fnn_minimum_kind, "minimum", 1, FNN_MOST_BUFFERS, FNN_APART, backward_extreme)
