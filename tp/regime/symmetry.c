/* symmetry.c: whose mean is 0: a node that changes its sign when one parameter does whose law is symmetric, and
 * what is linear in such nodes. For each node two sets of parameters: those in which it is odd, and those in
 * which it is even. */
#include "tp/regime/exponents.h"

#include <math.h>
#include <string.h>

typedef struct {
    const tp_program *program;
    size_t words;
    uint64_t *odd, *even; /* (nodes, words) */
} sets;

static void combine(const sets *s, const ad_node *node, int id, bool product)
{
    uint64_t *odd = s->odd + (size_t)id * s->words, *even = s->even + (size_t)id * s->words;
    for (int k = 0; k < node->n_in; k++) {
        const uint64_t *o = s->odd + (size_t)node->in[k] * s->words, *e = s->even + (size_t)node->in[k] * s->words;
        for (size_t i = 0; i < s->words; i++) {
            uint64_t was_odd = k ? odd[i] : 0, was_even = k ? even[i] : ~(uint64_t)0;
            odd[i] = product ? (was_odd & e[i]) | (was_even & o[i]) : k ? was_odd & o[i] : o[i];
            even[i] = product ? (was_even & e[i]) | (was_odd & o[i]) : k ? was_even & e[i] : e[i];
        }
    }
}

static void visit(const sets *s, int id)
{
    const ad_node *node = ad_node_of(s->program->graph, id);
    uint64_t *odd = s->odd + (size_t)id * s->words, *even = s->even + (size_t)id * s->words;
    const ad_op_facts *facts = ad_is_unary(node->op) ? ad_op_facts_of(node->op) : NULL;
    if (node->n_in == 0) {
        memset(even, 0xff, s->words * sizeof *even);
        return;
    }
    combine(s, node, id, node->op == AD_MUL || node->op == AD_DIV || node->op == AD_CONTRACT);
    bool keeps = !ad_is_unary(node->op) && node->op != AD_SOFTMAX && node->op != AD_LOGSUMEXP && node->op != AD_MAX &&
                 node->op != AD_ARGMAX;
    for (size_t i = 0; i < s->words && !keeps; i++) {
        if (facts && facts->parity == AD_EVEN)
            even[i] |= odd[i];
        if (!facts || facts->parity != AD_ODD)
            odd[i] = 0;
    }
}

/* Sums and what only moves entries, of nodes that all have the mean 0. */
static bool is_linear_in(const ad_node *node, const bool *centred)
{
    bool linear = node->op == AD_ADD || node->op == AD_SUB || node->op == AD_NEG || node->op == AD_SCALE ||
                  node->op == AD_IDENTITY || node->op == AD_EXPAND || node->op == AD_TRANSPOSE ||
                  node->op == AD_RELABEL || node->op == AD_SUM;
    for (int k = 0; k < node->n_in; k++)
        linear = linear && centred[node->in[k]];
    return linear && node->n_in > 0;
}

int tp_find_centred(tp_exponents *e, ad_arena *arena, bool *centred, ad_error *error)
{
    const tp_program *program = e->program;
    size_t n = (size_t)program->n_nodes, params = (size_t)nn_n_params(program->net);
    sets s = { .program = program, .words = params / 64 + 1 };
    s.odd = ad_arena_alloc(arena, n * s.words + 1, sizeof *s.odd);
    s.even = ad_arena_alloc(arena, n * s.words + 1, sizeof *s.even);
    if (!s.odd || !s.even)
        return ad_fail(error, "regime: out of memory");
    for (int id = 0; id < program->n_nodes; id++) {
        if (!program->lives[id])
            continue;
        visit(&s, id);
        for (size_t k = 0; k < params; k++)
            if (nn_param(program->net, (int)k).id == id && !(fabs(ad_node_of(program->graph, id)->init->mean) > 0)) {
                s.odd[(size_t)id * s.words + k / 64] |= (uint64_t)1 << k % 64;
                s.even[(size_t)id * s.words + k / 64] &= ~((uint64_t)1 << k % 64);
            }
        centred[id] = is_linear_in(ad_node_of(program->graph, id), centred);
        for (size_t i = 0; i < s.words; i++)
            centred[id] |= s.odd[(size_t)id * s.words + i] != 0;
    }
    e->centred = centred;
    e->odd = s.odd;
    e->even = s.even;
    e->signs = s.words;
    return 0;
}

bool tp_product_centred(const tp_exponents *e, int a, int b)
{
    size_t n = e->signs;
    for (size_t i = 0; i < n; i++)
        if ((e->odd[(size_t)a * n + i] & e->even[(size_t)b * n + i]) |
            (e->even[(size_t)a * n + i] & e->odd[(size_t)b * n + i]))
            return true;
    return false;
}
