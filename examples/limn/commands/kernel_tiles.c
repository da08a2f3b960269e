/* kernel_tiles.c: limit kernels as floats, and large ones, tile by tile into a .npy file. */
#include "examples/limn/commands/kernel.h"

#include <string.h>

static bool is_large(const kernel_job *j)
{
    return (double)j->rows * (double)j->rows2 * sizeof(double) >= LARGE;
}

bool kernel_wants_tiles(const kernel_job *j)
{
    const options *o = j->o;
    if (!j->program)
        return false;
    if (o->type_given && o->type == AD_FLOAT)
        return true;
    tp_forecast samples;
    ad_error ignored = { 0 };
    bool file = o->out && !path_ends_with(o->out, ".npz") && !path_ends_with(o->out, ".csv");
    return file && is_large(j) && j->n_results == 1 && !j->full && !o->block && !(o->at_width > 0) &&
           o->engine != TP_ENGINE_SAMPLE && !nn_n_statistics(j->net) && outputs_share_a_kernel(j->program, false) &&
           kernel_forecast(j, j->results[0].which, &samples, &ignored) == 0 && !samples.sampled;
}

static int refuse(const kernel_job *j, ad_error *error)
{
    const options *o = j->o;
    const char *what = j->n_results > 1                             ? "of one kernel"
                       : j->full                                    ? "without --outputs full"
                       : o->block                                   ? "without --block"
                       : o->at_width > 0                            ? "without --at-width"
                       : !outputs_share_a_kernel(j->program, false) ? "of networks whose outputs are alike"
                       : o->engine == TP_ENGINE_SAMPLE              ? "of the exact engine, not --engine sample"
                       : o->out && (path_ends_with(o->out, ".npz") || path_ends_with(o->out, ".csv"))
                           ? "written to a FILE.npy"
                           : NULL;
    return what ? ad_fail(error, "a limit's kernel as --dtype float is %s", what) : 0;
}

/* The corner that is printed, in doubles. */
static int take_corner(kernel_job *j, const tiles *t, bool single, ad_error *error)
{
    kernel_result *r = &j->results[0];
    size_t count = j->rows * j->rows2;
    if (j->o->out)
        return 0;
    if (!(r->values = ad_alloc(count, sizeof *r->values, "a kernel", error)))
        return -1;
    for (size_t i = 0; i < count; i++)
        r->values[i] = single ? (double)((const float *)t->values)[i] : ((const double *)t->values)[i];
    return 0;
}

int kernel_tiles(kernel_job *j, ad_error *error)
{
    const options *o = j->o;
    kernel_result *r = &j->results[0];
    tiles t = { 0 };
    tiles_job job = { .o = o,
                      .program = j->program,
                      .features = j->data->features,
                      .ask = kernel_question(j, r->which, j->rows, j->rows2),
                      .what = "the kernel",
                      .path = o->out,
                      .single = o->type_given && o->type == AD_FLOAT };
    job.ask.spec.engine = TP_ENGINE_EXACT;
    int status = job.single ? refuse(j, error) : 0;
    if (!status)
        status = tiles_find(&job, &t, error);
    if (tp_rank() > 0) { /* what is found is rank 0's */
        tiles_free(&t);
        return status ? -1 : 0;
    }
    if (!status)
        status = tiles_judge(&job, &t, &r->opinion, error) || take_corner(j, &t, job.single, error);
    r->limit.error = t.told.error;
    memcpy(r->limit.method, t.told.method, sizeof r->limit.method);
    if (!status && t.map) {
        status = ds_npy_map_finish(t.map, error);
        t.map = NULL;
        t.marks = NULL;
    }
    tiles_free(&t);
    return status ? -1 : kernel_tell(j, error);
}
