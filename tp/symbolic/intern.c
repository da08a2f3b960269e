/* intern.c: tables of interned byte strings, by open addressing. */
#include "tp/symbolic/intern.h"
#include "autodiff/base/base.h"

#include <string.h>

int tp_table_new(tp_table *table, ad_arena *arena, ad_error *error)
{
    *table = (tp_table){ .arena = arena, .capacity = 64, .n_slots = 128 };
    table->items = ad_reserve((size_t)table->capacity, sizeof *table->items, "a table", error);
    table->slots = ad_alloc(table->n_slots, sizeof *table->slots, "a table", error);
    return table->items && table->slots ? 0 : -1;
}

void tp_table_free(tp_table *table)
{
    ad_free(table->items);
    ad_free(table->slots);
}

static inline uint64_t mixed(uint64_t h, uint64_t word)
{
    h = (h ^ word) * 0x9e3779b97f4a7c15u;
    return h ^ h >> 32;
}

/* Word by word in four chains, which do not wait for each other. */
static uint32_t hash_of(const void *bytes, size_t size)
{
    enum { CHAINS = 4 };
    const unsigned char *b = bytes;
    uint64_t h[CHAINS] = { 0xcbf29ce484222325u, 1, 2, 3 }, word[CHAINS];
    for (; size >= sizeof word; size -= sizeof word, b += sizeof word) {
        memcpy(word, b, sizeof word);
        for (int k = 0; k < CHAINS; k++)
            h[k] = mixed(h[k], word[k]);
    }
    for (; size >= sizeof *word; size -= sizeof *word, b += sizeof *word) {
        memcpy(word, b, sizeof *word);
        h[0] = mixed(h[0], word[0]);
    }
    for (size_t i = 0; i < size; i++)
        h[0] = (h[0] ^ b[i]) * 0x100000001b3u;
    for (int k = 1; k < CHAINS; k++)
        h[0] = mixed(h[0], h[k]);
    return (uint32_t)(h[0] ^ h[0] >> 29);
}

/* The slot of this content, or the free one where it belongs. */
static size_t find_slot(const tp_table *table, uint32_t hash, const void *bytes, size_t size)
{
    size_t at = hash & (table->n_slots - 1);
    for (; table->slots[at].number; at = (at + 1) & (table->n_slots - 1)) {
        if (table->slots[at].hash != hash)
            continue;
        const tp_item *item = &table->items[table->slots[at].number - 1];
        if (item->size == size && memcmp(item->bytes, bytes, size) == 0)
            break;
    }
    return at;
}

/* Twice as many slots, in the order of their hashes: in each half as they were. */
static bool grow_slots(tp_table *table)
{
    size_t n = 2 * table->n_slots;
    tp_slot *slots = ad_alloc(n, sizeof *slots, "a table", NULL);
    if (!slots)
        return false;
    for (size_t k = 0; k < table->n_slots; k++) {
        size_t at = table->slots[k].hash & (n - 1);
        while (table->slots[k].number && slots[at].number)
            at = (at + 1) & (n - 1);
        if (table->slots[k].number)
            slots[at] = table->slots[k];
    }
    ad_free(table->slots);
    table->slots = slots;
    table->n_slots = n;
    return true;
}

static bool grow_items(tp_table *table)
{
    tp_item *items = ad_reserve(2 * (size_t)table->capacity, sizeof *items, "a table", NULL);
    if (!items)
        return false;
    memcpy(items, table->items, (size_t)table->n * sizeof *items);
    ad_free(table->items);
    table->items = items;
    table->capacity *= 2;
    return true;
}

/* Room for one more, three slots of four at most taken. */
static bool make_room(tp_table *table)
{
    return (table->n < table->capacity || grow_items(table)) &&
           (4 * ((size_t)table->n + 1) <= 3 * table->n_slots || grow_slots(table));
}

int tp_intern(tp_table *table, const void *bytes, size_t size)
{
    uint32_t hash = hash_of(bytes, size);
    size_t slot = find_slot(table, hash, bytes, size);
    if (table->slots[slot].number)
        return (int)table->slots[slot].number - 1;
    size_t slots = table->n_slots;
    if (size > UINT32_MAX || !make_room(table))
        return -1;
    if (table->n_slots != slots)
        slot = find_slot(table, hash, bytes, size);
    void *copy = ad_arena_alloc(table->arena, size, 1);
    if (!copy)
        return -1;
    memcpy(copy, bytes, size);
    table->items[table->n] = (tp_item){ copy, (uint32_t)size, -1 };
    table->slots[slot] = (tp_slot){ (uint32_t)table->n + 1, hash };
    return table->n++;
}
