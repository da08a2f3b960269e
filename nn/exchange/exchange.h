/* exchange.h: PyTorch's tensors and a net's parameters beside each other. */
#ifndef LIMN_NN_EXCHANGE_EXCHANGE_H
#define LIMN_NN_EXCHANGE_EXCHANGE_H
#include "nn/model/model.h"

/* groups.c: what PyTorch has in one tensor. */
enum { NN_GATES = 4, NN_HALVES = 2, NN_TORCH_RANK = 4 };
typedef struct {
    const char *name, *kind;       /* "rnn.weight_ih_l0", and its last part */
    size_t module;                 /* how long the name is before the last dot; 0: it has none */
    int part[NN_GATES][NN_HALVES]; /* our tensors' numbers, or -1 */
    int n_gates, n_halves, rank;
    size_t shape[NN_TORCH_RANK]; /* as PyTorch has it, (out, in), of a filter (out, in, entries...) */
    size_t entries;              /* of a filter, or a readout of all positions, (out, in * positions); else 1 */
    bool flat;                   /* such a readout */
    bool turned;                 /* (entries.., in, out) here */
} nn_group;
typedef struct {
    nn_group *groups; /* in the order of the trace */
    int n;
} nn_groups;
/* At width n; in the arena. */
int nn_groups_of(const nn_net *net, size_t n, ad_arena *arena, nn_groups *out, ad_error *error);
bool nn_is_count(const nn_tensor *t); /* num_batches_tracked */
/* Where the last part of a name starts. */
size_t nn_module_length(const char *name);

/* match.c */
bool nn_same_shape(const nn_group *group, const nn_tensor *t);
/* found[g] is the number of the tensor of group g. 0; 1 if the shapes do not allow it; -1 with an error. */
typedef struct {
    const char *path;
    nn_tensors *file;
    const char *const *maps; /* may be NULL */
    ad_arena *arena;
} nn_torch;
typedef struct {
    int *found;
    bool ordered; /* modules follow the numbers of their names */
} nn_match;
int nn_match_groups(const nn_torch *from, const nn_groups *groups, nn_match *out, ad_error *error);
/* Lists what is on each side; -1. */
int nn_match_fail(const nn_torch *from, const nn_groups *groups, const nn_net *net, size_t n, ad_error *error);
#endif
