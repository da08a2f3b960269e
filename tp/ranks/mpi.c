/* mpi.c: ranks by MPI, and their messages. */
#include "tp/ranks/ranks.h"

#include <mpi.h>
#include <stdlib.h>
#include <string.h>

/* Numbers and bytes of one message, whose count is an int. */
enum { MESSAGE = 1 << 28 };

static struct {
    bool known, begun;
    int rank, count;
} ranks = { .count = 1 };

/* What those who start ranks tell them: Open MPI; MPICH and its kin. */
static void look(void)
{
    static const char *const names[][2] = { { "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE" },
                                            { "PMI_RANK", "PMI_SIZE" } };
    for (size_t k = 0; k < sizeof names / sizeof *names && !ranks.known; k++) {
        const char *rank = getenv(names[k][0]), *count = getenv(names[k][1]);
        if (!rank || !count)
            continue;
        ranks.known = true;
        ranks.rank = (int)strtol(rank, NULL, 10);
        ranks.count = (int)strtol(count, NULL, 10);
    }
    ranks.known = true;
}

int tp_rank(void)
{
    if (!ranks.known)
        look();
    return ranks.rank;
}

int tp_n_ranks(void)
{
    if (!ranks.known)
        look();
    return ranks.count;
}

int tp_ranks_begin(ad_error *error)
{
    int provided;
    if (tp_n_ranks() <= 1 || ranks.begun)
        return 0;
    if (MPI_Init_thread(NULL, NULL, MPI_THREAD_FUNNELED, &provided) != MPI_SUCCESS)
        return ad_fail(error, "MPI does not start");
    ranks.begun = true;
    MPI_Comm_rank(MPI_COMM_WORLD, &ranks.rank);
    MPI_Comm_size(MPI_COMM_WORLD, &ranks.count);
    return 0;
}

void tp_ranks_end(void)
{
    if (ranks.begun)
        MPI_Finalize();
    ranks.begun = false;
}

int tp_ranks_agree(int status, ad_error *error)
{
    char text[sizeof error->text] = "";
    int failed = status ? ranks.rank : ranks.count, first = failed;
    if (!ranks.begun)
        return status ? -1 : 0;
    MPI_Allreduce(&failed, &first, 1, MPI_INT, MPI_MIN, MPI_COMM_WORLD);
    if (first == ranks.count)
        return 0;
    if (first == ranks.rank && error)
        memcpy(text, error->text, sizeof text);
    MPI_Bcast(text, (int)sizeof text, MPI_CHAR, first, MPI_COMM_WORLD);
    if (error)
        memcpy(error->text, text, sizeof text);
    return -1;
}

void tp_ranks_sum(double *values, size_t count)
{
    for (size_t done = 0; done < count && ranks.begun; done += MESSAGE)
        MPI_Allreduce(MPI_IN_PLACE, values + done, (int)(count - done < MESSAGE ? count - done : MESSAGE), MPI_DOUBLE,
                      MPI_SUM, MPI_COMM_WORLD);
}

void tp_ranks_broadcast(void *bytes, size_t count)
{
    for (size_t done = 0; done < count && ranks.begun; done += MESSAGE)
        MPI_Bcast((char *)bytes + done, (int)(count - done < MESSAGE ? count - done : MESSAGE), MPI_BYTE, 0,
                  MPI_COMM_WORLD);
}

void tp_ranks_send(const void *bytes, size_t count)
{
    for (size_t done = 0; done < count; done += MESSAGE)
        MPI_Send((const char *)bytes + done, (int)(count - done < MESSAGE ? count - done : MESSAGE), MPI_BYTE, 0, 0,
                 MPI_COMM_WORLD);
}

void tp_ranks_receive(int from, void *bytes, size_t count)
{
    for (size_t done = 0; done < count; done += MESSAGE)
        MPI_Recv((char *)bytes + done, (int)(count - done < MESSAGE ? count - done : MESSAGE), MPI_BYTE, from, 0,
                 MPI_COMM_WORLD, MPI_STATUS_IGNORE);
}
