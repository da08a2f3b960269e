/* interrupt.c: Ctrl-C in a fit ends it after its step; the second one ends the process, as ever. */
#include "examples/limn/base/base.h"

#include <signal.h>

static volatile sig_atomic_t caught;
static const int signals[] = { SIGINT, SIGTERM };
static struct sigaction before[2];

static void note(int signal)
{
    caught = signal;
}

void interrupt_begin(void)
{
    for (int k = 0; k < 2; k++) {
        struct sigaction action = { .sa_handler = note, .sa_flags = SA_RESTART | (int)SA_RESETHAND };
        sigaction(signals[k], NULL, &before[k]);
        if (before[k].sa_handler != SIG_IGN) /* a shell's background job does not hear Ctrl-C */
            sigaction(signals[k], &action, NULL);
    }
}

void interrupt_end(void)
{
    for (int k = 0; k < 2; k++)
        sigaction(signals[k], &before[k], NULL);
}

int interrupt_caught(void)
{
    return caught;
}
