/* ranks.c: limn under mpirun: one voice, one error, and one line when a rank dies. */
#include "examples/limn/base/base.h"

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

void ranks_quieten(void)
{
    int nowhere = tp_rank() > 0 ? open("/dev/null", O_WRONLY) : -1;
    if (nowhere < 0)
        return;
    dup2(nowhere, STDOUT_FILENO);
    dup2(nowhere, STDERR_FILENO);
    close(nowhere);
}

/* mpirun ends those that are left. */
static void say_end(int number)
{
    static const char text[] = "limn: mpirun ended this run, as it does when a rank dies: no output was written\n";
    (void)number;
    if (write(STDERR_FILENO, text, sizeof text - 1) < 0)
        _exit(2);
    sleep(1); /* what an ended process wrote last mpirun may not read */
    _exit(1);
}

int ranks_begin(ad_error *error)
{
    if (tp_n_ranks() <= 1)
        return 0;
    signal(SIGTERM, say_end); /* those beside 0 have nowhere to say it */
    return tp_ranks_begin(error);
}

int ranks_end(int status, ad_error *error)
{
    return tp_n_ranks() > 1 && tp_ranks_agree(status, error) && !status ? -1 : status;
}
