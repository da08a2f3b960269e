/* alone.c: one rank, of a build without MPI: what others would be asked for is nothing to do, or an error. */
#include "tp/ranks/ranks.h"

static int refuse(ad_error *error)
{
    return ad_fail(error, "a kernel over ranks: this limn was built without MPI (cmake -DLIMN_MPI=ON)");
}

int tp_ranks_begin(ad_error *error)
{
    (void)error;
    return 0;
}

void tp_ranks_end(void)
{
}

int tp_rank(void)
{
    return 0;
}

int tp_n_ranks(void)
{
    return 1;
}

int tp_ranks_agree(int status, ad_error *error)
{
    (void)error;
    return status ? -1 : 0;
}

void tp_ranks_sum(double *values, size_t count)
{
    (void)values, (void)count;
}

void tp_ranks_broadcast(void *bytes, size_t count)
{
    (void)bytes, (void)count;
}

void tp_ranks_send(const void *bytes, size_t count)
{
    (void)bytes, (void)count;
}

void tp_ranks_receive(int from, void *bytes, size_t count)
{
    (void)from, (void)bytes, (void)count;
}

void tp_spread_grid(int grid[2], int place[2])
{
    grid[0] = grid[1] = 1;
    place[0] = place[1] = 0;
}

int tp_spread_describe(tp_spread *s, ad_error *error)
{
    (void)s;
    return refuse(error);
}

int tp_spread_cholesky(tp_spread *k, ad_error *error)
{
    (void)k;
    return refuse(error);
}

int tp_spread_solve(const tp_spread *l, tp_spread *x, ad_error *error)
{
    (void)l, (void)x;
    return refuse(error);
}

int tp_spread_eigen(tp_spread *k, double *values, tp_spread *vectors, ad_error *error)
{
    (void)k, (void)values, (void)vectors;
    return refuse(error);
}

void tp_spread_product(const tp_spread *a, bool transposed, const tp_spread *b, tp_spread *out)
{
    (void)a, (void)transposed, (void)b, (void)out;
}

void tp_spread_symmetric_product(const tp_spread *a, const tp_spread *b, tp_spread *out)
{
    (void)a, (void)b, (void)out;
}
