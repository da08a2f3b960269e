/* trace_streams.c: the trace between two vectors as streams, from the last vector down: the node that stands highest is
 * always next, so that all that reads it has been met. */
#include "autodiff/base/base.h"
#include "tp/spectrum/streams.h"

#include <math.h>
#include <string.h>

/* What waits to go on below a node: a stream, or a product that reads the node. */
typedef struct {
    int node, stream; /* stream -1: a reading */
    tp_event reading;
} head;
typedef struct {
    tp_walk walk;
    tp_streams *streams;
    head *heads;
    int n, capacity;
} builder;

static int add_head(builder *b, head h)
{
    if (!ad_grow((void **)&b->heads, b->n, &b->capacity, sizeof h, "a Jacobian", b->walk.error))
        return -1;
    b->heads[b->n++] = h;
    return 0;
}

static int add_event(builder *b, int stream, tp_event event)
{
    tp_stream *s = &b->streams->streams[stream];
    if (!ad_grow((void **)&s->events, s->n, &s->capacity, sizeof event, "a Jacobian", b->walk.error))
        return -1;
    s->events[s->n++] = event;
    return 0;
}

static int add_stream(builder *b, int node)
{
    tp_streams *all = b->streams;
    if (!ad_grow((void **)&all->streams, all->n, &all->capacity, sizeof *all->streams, "a Jacobian", b->walk.error))
        return -1;
    all->streams[all->n] = (tp_stream){ .space = tp_walk_space(&b->walk, node), .samples = 1 };
    return all->n++;
}

static bool only_renames(ad_op op)
{
    return op == AD_NEG || op == AD_IDENTITY || op == AD_EXPAND || op == AD_RELABEL || op == AD_TRANSPOSE;
}

/* Down through scales, names and biases of their own; what they bring to the square, and whether nothing else takes
 * what is passed (NULL: unasked). */
static int below(const builder *b, int id, double *log_scale, double *power, bool *alone)
{
    const tp_walk *w = &b->walk;
    for (;;) {
        if (alone)
            *alone = *alone && tp_walk_takers(w, id) == 1;
        const ad_node *node = tp_walk_node(w, id);
        double variance, other;
        if (node->op == AD_SCALE && w->reach[node->in[0]])
            tp_walk_scale(w, node, log_scale, power);
        else if (!only_renames(node->op) && (node->op != AD_ADD || !w->reach[node->in[0]] || w->reach[node->in[1]] ||
                                             tp_walk_bias(w, node->in[1], &variance, &other)))
            return id;
        id = node->in[0];
    }
}

/* Which operand is the matrix of a product whose other operand depends on `from`; -1: it is no such product. */
static int product_at(const builder *b, int id)
{
    const ad_node *node = tp_walk_node(&b->walk, id);
    int k = tp_walk_operand(&b->walk, node);
    return k >= 0 && b->walk.reach[node->in[1 - k]] ? k : -1;
}

/* The product at a node enters a stream, times a scale; what it reads waits. */
static int enter_product(builder *b, int stream, int id, double log_scale, double power)
{
    const tp_walk *w = &b->walk;
    tp_streams *all = b->streams;
    int k = product_at(b, id);
    const ad_node *node = tp_walk_node(w, id);
    tp_chain_factor factor;
    double own, read_scale = 0;
    if (tp_walk_matrix(w, id, k, &factor, &own))
        return -1;
    if (factor.kind != TP_GAUSSIAN_FACTOR)
        return tp_walk_refuse(w, id, "an orthogonal matrix in a sum has no density here");
    if (tp_walk_uses(w, w->program->params[node->in[k]]) > 1)
        return tp_walk_refuse(w, id, "its matrix is used several times, in a sum or with its transpose: no density");
    power += own + all->streams[stream].power;
    int v = below(b, node->in[1 - k], &read_scale, &power, NULL);
    if (fabs(power) > 1e-9)
        return tp_walk_refuse(w, id, "its square goes like a power of n");
    if (!ad_grow((void **)&all->matrices, all->n_matrices, &all->matrix_capacity, sizeof *all->matrices, "a Jacobian",
                 w->error))
        return -1;
    int matrix = all->n_matrices++;
    all->matrices[matrix] = (tp_stream_matrix){ factor.variance * exp(log_scale + read_scale), factor.in, factor.out };
    if (add_event(b, stream, (tp_event){ .kind = TP_ENTERS, .matrix = matrix, .v = -1, .factor = 1 }))
        return -1;
    tp_event reading = { .kind = TP_READS, .matrix = matrix, .v = -1, .argument = v, .factor = 1 };
    if (v != w->from && !tp_is_gaussian(w->program, v)) {
        reading.v = v;
        reading.argument = tp_walk_argument(w, v);
    }
    return reading.argument < 0 ? -1 : add_head(b, (head){ reading.argument, -1, reading });
}

/* A sum: products that nothing else reads enter; at most one operand goes on as the stream. */
static int step_sum(builder *b, int stream, int id)
{
    const tp_walk *w = &b->walk;
    const ad_node *node = tp_walk_node(w, id);
    double variance, power;
    int on = -1;
    for (int k = 0; k < 2; k++) {
        double log_scale = 0, own = 0;
        if (!w->reach[node->in[k]]) {
            if (tp_walk_bias(w, node->in[k], &variance, &power))
                return tp_walk_refuse(w, id, "what it adds is no bias of its own: no density");
            continue;
        }
        bool alone = true;
        int product = below(b, node->in[k], &log_scale, &own, &alone);
        if (alone && product_at(b, product) >= 0) {
            if (enter_product(b, stream, product, log_scale, own))
                return -1;
        } else if (on >= 0) {
            return tp_walk_refuse(w, id, "neither operand is a product with a matrix of its own: no density");
        } else {
            on = k;
        }
    }
    if (on == 1 && node->op == AD_SUB && add_event(b, stream, (tp_event){ .kind = TP_TIMES, .v = -1, .factor = -1 }))
        return -1;
    return on < 0 ? 0 : add_head(b, (head){ .node = node->in[on], .stream = stream });
}

static int step_function(builder *b, int stream, int id)
{
    const tp_stream *s = &b->streams->streams[stream];
    for (int k = 0; k < s->n; k++)
        if (s->events[k].kind == TP_ENTERS || s->events[k].v >= 0)
            return tp_walk_refuse(&b->walk, id, "a function of a sum is summed again: no density");
    int argument = tp_walk_argument(&b->walk, id);
    if (argument < 0 ||
        add_event(b, stream, (tp_event){ .kind = TP_TIMES, .v = id, .argument = argument, .factor = 1 }))
        return -1;
    return add_head(b, (head){ .node = argument, .stream = stream });
}

static int step_down(builder *b, int stream, int id)
{
    const tp_walk *w = &b->walk;
    const ad_node *node = tp_walk_node(w, id);
    tp_stream *s = &b->streams->streams[stream];
    double log_scale = 0;
    if (id == w->from)
        return fabs(s->power) > 1e-9 ? tp_walk_refuse(w, id, "its square goes like a power of n")
                                     : add_event(b, stream, (tp_event){ TP_ENTERS, TP_ENDS, -1, 0, 1, NULL });
    if (product_at(b, id) >= 0)
        return enter_product(b, stream, id, 0, 0);
    if (node->op == AD_ADD || node->op == AD_SUB)
        return step_sum(b, stream, id);
    if (node->op != AD_SCALE && !only_renames(node->op))
        return step_function(b, stream, id);
    if (node->op == AD_SCALE && !(fabs(node->c) > 0))
        return tp_walk_refuse(w, id, "times 0");
    if (node->op == AD_SCALE)
        tp_walk_scale(w, node, &log_scale, &s->power);
    double factor = (node->op == AD_NEG || (node->op == AD_SCALE && node->c < 0) ? -1 : 1) * exp(log_scale / 2);
    bool only_read = !(fabs(s->power) > 1e-9);
    for (int k = 0; k < s->n; k++)
        only_read = only_read && s->events[k].kind == TP_READS;
    for (int k = 0; k < s->n && only_read; k++) { /* they read what is scaled, which other streams may come to */
        s->events[k].factor *= factor;
        if (add_head(b, (head){ node->in[0], -1, s->events[k] }))
            return -1;
    }
    if (only_read) {
        s->n = 0;
        return 0;
    }
    if (add_event(b, stream, (tp_event){ .kind = TP_TIMES, .v = -1, .factor = factor }))
        return -1;
    return add_head(b, (head){ .node = node->in[0], .stream = stream });
}

/* The highest node that waits, with all that waits there. */
static int take_node(builder *b)
{
    int node = -1, stream = -1;
    for (int k = 0; k < b->n; k++)
        node = b->heads[k].node > node ? b->heads[k].node : node;
    for (int k = 0; k < b->n; k++)
        if (b->heads[k].node == node && b->heads[k].stream >= 0) {
            if (stream >= 0)
                return tp_walk_refuse(&b->walk, node, "a vector is added to itself: no density");
            stream = b->heads[k].stream;
        }
    if (stream < 0 && (stream = add_stream(b, node)) < 0)
        return -1;
    int kept = 0, status = 0;
    for (int k = 0; k < b->n && !status; k++)
        if (b->heads[k].node != node)
            b->heads[kept++] = b->heads[k];
        else if (b->heads[k].stream < 0)
            status = add_event(b, stream, b->heads[k].reading);
    b->n = kept;
    return status ? status : step_down(b, stream, node);
}

static void reverse(tp_stream *s)
{
    for (int i = 0, k = s->n - 1; i < k; i++, k--) {
        tp_event swap = s->events[i];
        s->events[i] = s->events[k];
        s->events[k] = swap;
    }
}

int tp_trace_streams(tp_program *program, const tp_vectors *between, const double *x, tp_streams *streams,
                     ad_error *error)
{
    enum { SAMPLES = 2048 };
    builder b = { .walk = { .program = program, .x = x, .error = error }, .streams = streams };
    tp_event last = { TP_READS, TP_ENDS, -1, 0, between->scale, NULL };
    *streams = (tp_streams){ 0 };
    int status = tp_walk_begin(&b.walk, between), first = status ? -1 : add_stream(&b, between->to.id);
    status = first < 0 ? -1 : add_event(&b, first, last);
    if (!status) {
        streams->streams[first].power = 2 * between->power;
        status = add_head(&b, (head){ .node = between->to.id, .stream = first });
    }
    while (!status && b.n > 0)
        status = take_node(&b);
    int kept = 0;
    for (int k = 0; k < streams->n; k++) {
        reverse(&streams->streams[k]);
        if (streams->streams[k].n)
            streams->streams[kept++] = streams->streams[k];
        else
            ad_free(streams->streams[k].events);
    }
    streams->n = kept;
    if (!status)
        status = tp_stream_samples(&b.walk, streams, SAMPLES);
    ad_free(b.walk.reach);
    ad_free(b.heads);
    if (status)
        tp_streams_free(streams);
    return status;
}

void tp_streams_free(tp_streams *streams)
{
    for (int k = 0; k < streams->n; k++) {
        for (int i = 0; i < streams->streams[k].n; i++)
            ad_free(streams->streams[k].events[i].squares);
        ad_free(streams->streams[k].events);
    }
    ad_free(streams->streams);
    ad_free(streams->matrices);
    *streams = (tp_streams){ 0 };
}
