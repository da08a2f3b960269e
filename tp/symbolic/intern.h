/* table.h: interned byte strings: equal content, equal number. */
#ifndef LIMN_TP_TABLE_H
#define LIMN_TP_TABLE_H
#include "autodiff/base.h"

#include <stdint.h>

typedef struct {
    const void *bytes;
    uint32_t size, hash;
} tp_item;
typedef struct {
    ad_arena *arena; /* where the content is copied to */
    tp_item *items;
    uint32_t *slots; /* an item's number plus one, 0 where free; a power of two of them */
    int n, room;
    size_t n_slots;
} tp_table;

int tp_table_new(tp_table *table, ad_arena *arena, ad_error *error);
void tp_table_free(tp_table *table);
/* The content's number; -1: out of memory. Padding takes part in the comparison. */
int tp_intern(tp_table *table, const void *bytes, size_t size);

static inline const void *tp_table_at(const tp_table *table, int id)
{
    return table->items[id].bytes;
}
#endif
