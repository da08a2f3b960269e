/* memo.h: series of one function that were found before, for mehler.c. A kernel of another depth, deviation or part of
 * the rows asks for the same functions at like variances, by another algebra's name: what tells that it is the same is
 * that it has the same values, bit by bit, wherever it was evaluated on the way. What comes back is then what would
 * have been found. */
#ifndef LIMN_TP_GAUSS_MEMO_H
#define LIMN_TP_GAUSS_MEMO_H
#include "tp/gauss/chebyshev.h"
#include "tp/gauss/gauss.h"

/* A function that notes where it is evaluated, and its values. More than so many: `whole` is false, and it stops. */
enum { TP_MOST_NOTED = 1 << 15 };
typedef struct {
    const tp_univariate *f;
    double *x, *y;
    size_t n, capacity;
    bool whole;
} tp_noted;
/* f, noted from here on; notes must stay in place. tp_noted_free frees what it took. */
tp_univariate tp_noted_begin(tp_noted *notes, const tp_univariate *f);
void tp_noted_free(tp_noted *notes);

/* What a family of series over variances knows (mehler.c). */
typedef struct {
    double low, high, tolerance, least, difference;
    size_t degrees, terms, first, step;
    tp_chebyshev table;
} tp_found;

/* Of a smooth function, at this range and tolerance, if it was found before: true, and its table copied, which
 * tp_chebyshev_free frees. By any thread. */
bool tp_memo_get(const tp_univariate *f, double low, double high, double tolerance, tp_found *found);
/* Keeps a copy, and the notes; where memory or room is out, it does not. */
void tp_memo_put(const tp_found *found, tp_noted *notes);
#endif
