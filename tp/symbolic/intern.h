/* intern.h: interned byte strings: equal content, equal number; and what is remembered by such a key. */
#ifndef LIMN_TP_SYMBOLIC_INTERN_H
#define LIMN_TP_SYMBOLIC_INTERN_H
#include "autodiff/base.h"

#include <stdint.h>

typedef struct {
    const void *bytes;
    uint32_t size;
    int value; /* of a memo; -1 before it is set */
} tp_item;
typedef struct {
    uint32_t number, hash; /* an item's number plus one, 0 where free */
} tp_slot;
typedef struct {
    ad_arena *arena; /* where the content is copied to */
    tp_item *items;
    tp_slot *slots; /* a power of two of them */
    int n, capacity;
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
