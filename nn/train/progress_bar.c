/* progress_bar.c: how far a fit is, for those who wait: a bar on a terminal, else a line now and then. */
#include "nn/train/train.h"

#include <math.h>
#include <string.h>
#include <unistd.h>

static const double redraw = 0.1, pause_between = 5; /* seconds, of the bar and of lines */
static const double too_long = 600;                  /* seconds that are left, of which a first line tells */

nn_bar nn_bar_new(FILE *stream)
{
    return (nn_bar){ .stream = stream, .terminal = stream && isatty(fileno(stream)) };
}

/* "1:05" or "2:03:07". */
static void clock_text(double seconds, char *text, size_t size)
{
    long s = seconds < 0 ? 0 : seconds > 3e7 ? 30000000 : lround(seconds);
    if (s < 3600)
        snprintf(text, size, "%ld:%02ld", s / 60, s % 60);
    else
        snprintf(text, size, "%ld:%02ld:%02ld", s / 3600, s / 60 % 60, s % 60);
}

/* 12, 340, 5.6k, 1.2M a second. */
static void rate_text(double rate, char *text, size_t size)
{
    if (rate < 10)
        ad_snprintf(text, size, "%.2g", rate);
    else if (rate < 1e3)
        snprintf(text, size, "%.0f", rate);
    else
        ad_snprintf(text, size, rate < 1e6 ? "%.1fk" : "%.1fM", rate < 1e6 ? rate / 1e3 : rate / 1e6);
}

void nn_bar_show(nn_bar *bar, const nn_progress *p, long first_step, bool last)
{
    enum { CELLS = 20 };
    static const char full[] = "####################", empty[] = "....................";
    if (!bar->stream)
        return;
    long tenth = p->steps > 0 ? 10 * p->step / p->steps : 10;
    double since = p->seconds - bar->shown, done = (double)(p->step - first_step);
    bool long_way = !bar->drawn && done > 0 && p->seconds * (double)(p->steps - p->step) > too_long * done;
    if (!last &&
        (bar->terminal ? bar->drawn && since < redraw : since < pause_between || (tenth == bar->tenth && !long_way)))
        return;
    bar->shown = p->seconds;
    bar->tenth = tenth;

    char left[32], rate[32];
    double pace = p->seconds > 0 ? (double)(p->step - first_step) / p->seconds : 0;
    double ahead = pace > 0 ? (double)(p->steps - p->step) / pace : 0;
    clock_text(last ? p->seconds : ahead, left, sizeof left);
    rate_text(pace, rate, sizeof rate);
    const char *word = last ? "taken" : "left";
    void *locale = ad_c_locale_begin();
    if (bar->terminal) {
        int cells = p->steps > 0 ? (int)(CELLS * p->step / p->steps) : CELLS;
        fprintf(bar->stream, "\r[%.*s%.*s] %ld/%ld  loss %.4g  %s/s  %s %s\033[K%s", cells, full, CELLS - cells, empty,
                p->step, p->steps, p->loss, rate, left, word, last ? "\n" : "");
    } else {
        fprintf(bar->stream, "step %ld of %ld, loss %.6g, %s steps/s, %s %s\n", p->step, p->steps, p->loss, rate, left,
                word);
    }
    ad_c_locale_end(locale);
    fflush(bar->stream);
    bar->drawn = true;
}

void nn_bar_break(nn_bar *bar)
{
    if (bar->stream && bar->terminal && bar->drawn)
        fputc('\n', bar->stream);
}
