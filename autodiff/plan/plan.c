/* plan.c: making a plan, binding its leaves and outputs, and a plan as text. */
#include "autodiff/plan/steps.h"

#include <string.h>

/* Steps, buffers by what the steps need, sizes at capacity, memory. */
static int build(ad_plan *plan, const ad_var *outputs, const ad_plan_spec *spec, ad_error *error)
{
    if (ad_plan_schedule(plan, outputs, spec, error) != 0 || ad_plan_measure(plan, error) != 0 ||
        ad_plan_size(plan, &plan->capacity, error) != 0)
        return -1;
    plan->planned = true;
    plan->sized = false;
    return ad_plan_allocate(plan, error);
}

ad_plan *ad_plan_new(const ad_var *outputs, int n, const ad_plan_spec *spec, ad_error *error)
{
    if (n < 1 || !outputs[0].graph) {
        ad_fail(error, "plan: no outputs");
        return NULL;
    }
    const ad_graph *graph = outputs[0].graph;
    if (ad_failed(graph)) {
        ad_fail(error, "%s", ad_message(graph));
        return NULL;
    }
    if (spec->updates < 0 || spec->updates > n) {
        ad_fail(error, "plan: %d of %d outputs to be updates", spec->updates, n);
        return NULL;
    }
    for (int i = 0; i < n; i++)
        if (outputs[i].graph != graph || outputs[i].id < 0 || outputs[i].id >= ad_graph_size(graph)) {
            ad_fail(error, "plan: output %d is not a node of the first one's graph", i);
            return NULL;
        }
    for (int i = 0; i < spec->n_given; i++)
        if (spec->given[i].graph != graph || spec->given[i].id < 0 || spec->given[i].id >= ad_graph_size(graph)) {
            ad_fail(error, "plan: given node %d is not a node of the outputs' graph", i);
            return NULL;
        }
    int threads = ad_threads(spec->threads, error);
    ad_plan *plan = threads ? ad_alloc(1, sizeof *plan, "a plan", error) : NULL;
    if (!plan)
        return NULL;
    *plan = (ad_plan){ .graph = graph,
                       .loops = ad_loops_get(spec->type),
                       .type = spec->type,
                       .n_results = n,
                       .element = spec->type == AD_DOUBLE ? sizeof(double) : sizeof(float),
                       .threads = threads,
                       .capacity = spec->capacity,
                       .n_nodes = ad_graph_size(graph) };
    if (!(plan->arena = ad_arena_new(error)) || build(plan, outputs, spec, error) != 0) {
        ad_plan_free(plan);
        return NULL;
    }
    return plan;
}

void ad_plan_free(ad_plan *plan)
{
    if (!plan)
        return;
    ad_arena_free(plan->arena);
    ad_free(plan->memory);
    ad_free(plan);
}

size_t ad_plan_bytes(const ad_plan *plan)
{
    return plan->memory_bytes;
}

int ad_bind(ad_plan *plan, ad_var leaf, const void *data)
{
    if (leaf.graph != plan->graph || leaf.id < 0 || leaf.id >= ad_graph_size(plan->graph))
        return -1;
    ad_op op = ad_node_of(plan->graph, leaf.id)->op;
    if (op != AD_INPUT && op != AD_PARAM && !(leaf.id < plan->n_nodes && plan->given[leaf.id]))
        return -1;
    if (leaf.id < plan->n_nodes && plan->parts[leaf.id].kind == AD_PART_LEAF) /* else the outputs do not need it */
        memcpy(&plan->storages[plan->parts[leaf.id].storage].data, &data, sizeof data);
    return 0;
}

int ad_bind_output(ad_plan *plan, int output, void *data)
{
    if (output < 0 || output >= plan->n_results)
        return -1;
    ad_storage *storage = &plan->storages[plan->results[output].storage];
    storage->data = data ? data : plan->memory + storage->offset;
    return 0;
}

const void *ad_output(const ad_plan *plan, int output)
{
    return output < 0 || output >= plan->n_results ? NULL : plan->storages[plan->results[output].storage].data;
}

void ad_plan_print(const ad_plan *plan, FILE *stream)
{
    static const char *const actions[] = { "group", "product", "sum",    "copy",    "add",
                                           "zero",  "delta",   "gather", "scatter", "rows" };
    static const char *const methods[] = { "gemm", "gemv", "dot", "loops" };
    char text[160];
    fprintf(stream, "%d steps, %zu bytes, %s loops\n", plan->n_steps, plan->memory_bytes, ad_loops_name());
    for (int s = 0; s < plan->n_steps; s++) {
        const ad_step *step = &plan->steps[s];
        const ad_node *node = ad_node_of(plan->graph, step->node);
        fprintf(stream, "%3d %-7s %s", s, actions[step->action],
                ad_shape_text(plan->graph, step->group ? &step->group->domain : &node->shape, text, sizeof text));
        for (int i = 0; i < step->n_in; i++)
            fprintf(stream, " %%%d", step->in[i]);
        if (step->storage >= 0)
            fprintf(stream, " -> %%%d", step->node);
        if (step->product)
            fprintf(stream, " by %s%s%s, m %zu, n %zu, k %zu", methods[step->product->method],
                    step->product->pack_a ? ", first packed" : "", step->product->pack_b ? ", second packed" : "",
                    step->product->m, step->product->n, step->product->k);
        for (int i = 0; step->group && i < step->group->n_links; i++) {
            const ad_link *link = &step->group->links[i];
            const ad_node *op = ad_node_of(plan->graph, link->node);
            fprintf(stream, "%s %%%d%s = %s", i ? ";" : ":", link->node, link->storage >= 0 ? "*" : "",
                    ad_op_name(op->op));
            for (int k = 0; k < op->n_in; k++)
                fprintf(stream, " %%%d", op->in[k]);
        }
        fprintf(stream, "\n");
    }
}
