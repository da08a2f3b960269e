/* progress.c: how far a long piece of work is: a line on a terminal that is written over, else one now and then. */
#include "examples/limn/base/base.h"

#include <math.h>
#include <unistd.h>

/* Seconds until something is told and between two times; of lines, which stay, also a share of the time so far. */
static const double first = 1, redraw = 0.2, pause_between = 1, share_between = 0.2;
/* Where nothing is told, a long way is, once: by the work of so many seconds, or twice that and on, if more than so
 * many (progress_foresee's) are left. */
static const double foreseen = 5, long_way = 60;

static struct {
    bool told, terminal, drawn, warned;
    const char *command, *what;
    double start, last;
    double anchor, from; /* when something was told first, and what: of work that was there before no time is known */
    double share;        /* that was told last: one that is less begins another piece */
    double due;          /* seconds after which what is left is looked at next */
} state;

static double seconds_left(double now, double share)
{
    bool known = share > state.from && now > state.anchor;
    return known ? (now - state.anchor) * (1 - share) / (share - state.from)
                 : (now - state.start) * (1 - share) / share;
}

void progress_begin(const options *o, const char *what)
{
    bool terminal = isatty(STDERR_FILENO);
    state.told = terminal || o->progress;
    state.terminal = terminal;
    state.drawn = state.warned = false;
    state.command = o->command;
    state.what = what;
    state.start = state.last = ad_seconds();
    state.share = INFINITY;
}

bool progress_foresee(const char *command, const char *what, double seconds)
{
    const double hour = 3600;
    bool tells = seconds > long_way;
    if (tells)
        fprintf(stderr, "%s: %s takes about %.2g %s more; Ctrl-C ends it\n", command, what,
                seconds < hour ? seconds / 60 : seconds / hour, seconds < hour ? "minutes" : "hours");
    return tells;
}

void progress_tell(double share, void *context)
{
    (void)context;
    double now = ad_seconds(), since = now - state.last, spent = now - state.start;
    if (share < state.share) {
        state.from = share;
        state.anchor = now;
        state.due = foreseen;
    }
    state.share = share;
    double wait = state.terminal                          ? redraw
                  : spent * share_between > pause_between ? spent * share_between
                                                          : pause_between;
    if (!state.told && !state.warned && share > state.from && now - state.anchor > state.due) {
        state.due *= 2;
        state.warned = progress_foresee(state.command, state.what, seconds_left(now, share));
    }
    if (!state.told || !(share > 0) || share >= 1 || spent < first || since < wait)
        return;
    state.last = now;
    state.drawn = true;
    long left = (long)(seconds_left(now, share) + 0.5);
    fprintf(stderr, "%s%s: %s, %.0f %%, %ld:%02ld left%s", state.terminal ? "\r" : "", state.command, state.what,
            100 * share, left / 60, left % 60, state.terminal ? "\033[K" : "\n");
    fflush(stderr);
}

void progress_end(void)
{
    if (state.terminal && state.drawn)
        fprintf(stderr, "\r\033[K");
    state.told = state.drawn = false;
}
