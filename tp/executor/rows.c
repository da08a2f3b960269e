/* rows.c: rows of one length, growing. */
#include "tp/executor/draws.h"

#include <string.h>

double *tp_rows_grow(tp_rows *rows, int more, ad_error *error)
{
    if (rows->n + more > rows->capacity) {
        int capacity = rows->n + more > 2 * rows->capacity ? rows->n + more : 2 * rows->capacity;
        double *larger = ad_reserve((size_t)capacity * rows->length, sizeof *larger, "vectors at n = infinity", error);
        if (!larger)
            return NULL;
        if (rows->n)
            memcpy(larger, rows->data, (size_t)rows->n * rows->length * sizeof *larger);
        ad_free(rows->data);
        rows->data = larger;
        rows->capacity = capacity;
    }
    return rows->data + (size_t)rows->n * rows->length;
}

double *tp_row(const tp_rows *rows, int k)
{
    return rows->data + (size_t)k * rows->length;
}
