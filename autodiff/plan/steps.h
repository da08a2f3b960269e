/* steps.h: what a plan is made of, for the files of this folder: schedule.c writes the steps, memory.c gives them their
 * buffers, sizes.c their strides, execute.c runs them; contract.c and multiply.c have the contractions, nests.c
 * nested loops.
 *
 * A node is a leaf, a constant, a view (other strides on the buffer of another node), a member of a group (a fused
 * chain of coordinatewise ops over one domain) or the result of a step of its own. Strides and offsets count
 * elements. */
#ifndef LIMN_AUTODIFF_PLAN_STEPS_H
#define LIMN_AUTODIFF_PLAN_STEPS_H
#include "autodiff/base/base.h"
#include "autodiff/plan/plan.h"
#include "autodiff/trace/trace.h"

enum { AD_BLOCK = 512, AD_MAX_LOOPS = 2 * AD_MAX_RANK, AD_DOMAIN_LISTS = 256 };

/* Nested loops, outermost first, over up to three operands. */
typedef struct {
    int rank;
    size_t size[AD_MAX_LOOPS];
    ptrdiff_t stride[3][AD_MAX_LOOPS];
} ad_nest;

/* A buffer: the caller's (leaf, or a bound output), a constant, or a piece of the plan's memory. */
typedef struct {
    char *data;
    size_t offset, bytes; /* bytes: at capacity */
    int first, last;      /* the steps between which it is needed */
    int alias;            /* the storage whose memory it takes over in place; -1: its own */
    bool owned;
} ad_storage;

typedef enum {
    AD_PART_DEAD,
    AD_PART_LEAF,
    AD_PART_CONSTANT,
    AD_PART_VIEW,
    AD_PART_MEMBER,
    AD_PART_RESULT
} ad_part_kind;

/* What a plan knows of a node. */
typedef struct {
    ad_part_kind kind;
    bool dense;  /* its view is row-major without holes */
    bool whole;  /* dense, and all of its buffer */
    bool plain;  /* some consumer takes it as it is, without a factor */
    int uses;    /* consumers, an output being one */
    int twin;    /* an earlier node that is the same computation, from 1 on: this one is a view of it; 0: none */
    int base;    /* the node whose buffer it views */
    int folded;  /* a scale: the contraction or sum that takes its factor over; -1: none */
    int step;    /* the step that computes the base; -1 for leaves and constants */
    int only;    /* a member: the one group that uses it; -1 none yet, -2 others too */
    int slot;    /* a member: its slot while its group is built */
    int storage; /* of the base */
    ptrdiff_t offset;
    ptrdiff_t stride[AD_MAX_RANK];
    double factor; /* of a view that a contraction or sum consumes */
    double post;   /* of a contraction or sum: the factor folded into it */
} ad_part;

/* An operand of a group that comes from outside. */
typedef struct {
    int node, storage;
    bool direct; /* contiguous within a block: no copy */
    bool steady; /* the same in every block: copied once */
    ptrdiff_t offset;
    ptrdiff_t stride[AD_MAX_RANK]; /* over the group's collapsed domain */
} ad_operand;

typedef struct {
    ad_loop *loop; /* NULL: the user's function */
    const ad_function *function;
    int order, node, storage; /* storage -1: stays in a register */
    int a, b, reg;            /* slots of the operands; the register it is written to */
    double p;
} ad_link;

/* Coordinatewise ops over one domain, run block by block. Slots: the operands, then the links. */
typedef struct {
    ad_shape domain;
    int n_operands, n_links, n_registers;
    int older; /* the step of a group of another domain in the same list; -1 */
    ad_operand *operands;
    ad_link *links;
    int rank, split; /* a block is `chunk` entries of dimension split - 1 with all of the dimensions from split on */
    size_t size[AD_MAX_RANK], inner, chunk, n_blocks, total;
} ad_group;

typedef enum { AD_BY_GEMM, AD_BY_GEMV, AD_BY_DOT, AD_BY_LOOPS } ad_method;

/* c = alpha * sum of a b. After ad_product_size: outer loops (stride[0] of c, [1] of a, [2] of b) around one call. */
typedef struct {
    ad_method method;
    ad_nest loops, sums; /* sums: over summed axes, of products that are each added to c */
    bool swapped;        /* a and b have changed places */
    bool trans_a, trans_b;
    size_t m, n, k, lda, ldb, ldc; /* gemv: ldb and ldc are the steps of the vectors; dot: lda and ldb those of a, b */
    bool pack_a, pack_b;
    ad_nest packing_a, packing_b; /* stride[0]: the packed copy, [1]: the operand */
    size_t packed[2];             /* elements of the copies, in the order of the node's operands */
    size_t out;                   /* elements of c */
    double work;
} ad_product;

/* An axis of a contraction: present where its stride is not the absent one. */
typedef struct {
    size_t size;
    bool in_a, in_b, in_c;
    ptrdiff_t a, b, c;
} ad_product_axis;

/* capacities: elements there are for a packed copy; where they do not suffice, a slow method that needs none is taken.
 */
void ad_product_size(ad_product *product, int n, const ad_product_axis *axes, size_t capacity_a, size_t capacity_b);
/* c = alpha a b + keep c; keep is 0 but for AD_BY_GEMM without sums. */
void ad_product_run(const ad_product *product, const ad_loops *loops, ad_type type, int threads, double alpha,
                    double keep, void *c, const void *a, const void *b, void *packed_a, void *packed_b);

/* Computes it if it is one that is faster without packing (gemm_small.c); false otherwise, and nothing is done. */
bool ad_small_gemm(const ad_gemm *product);

typedef enum {
    AD_DO_GROUP,
    AD_DO_PRODUCT,
    AD_DO_SUM,
    AD_DO_COPY,
    AD_DO_ADD,
    AD_DO_ZERO,
    AD_DO_DELTA,
    AD_DO_GATHER,
    AD_DO_SCATTER,
    AD_DO_ROWS
} ad_action;

/* A sum's kept and summed axes; of others outer over [0] out, [1], [2] the operands. */
typedef struct {
    ad_nest outer, inner;
} ad_nests;

typedef struct {
    ad_action action;
    int node;                 /* that it computes; a copy to an output: its source */
    int part;                 /* copy: which part of a concat; -1: not a part */
    int storage, in[2], n_in; /* the result's buffer; the nodes that are read */
    bool deferred;            /* a product that is an update and nothing else: run by ad_update */
    int packed[2];            /* storages for packed operands, -1 none */
    ptrdiff_t offset_out, offset[2];
    ad_nests *nests;            /* of what loops over its operands itself */
    size_t length, count;       /* rows: of a row; gather, scatter: entries along the axis; zero: elements */
    ptrdiff_t along, along_out; /* rows, gather, scatter: stride of the axis */
    double alpha;
    ad_group *group;
    ad_product *product;
} ad_step;

typedef struct {
    int node, storage;
    int step; /* the deferred one that computes it; -1: ad_run does */
} ad_result;

struct ad_plan {
    const ad_graph *graph;
    const ad_loops *loops;
    ad_arena *arena;
    ad_type type;
    size_t element;
    int threads;
    ad_sizes capacity, sizes; /* sizes: those of the last run */
    bool sized, planned;
    int n_nodes, n_live, n_steps, n_storages, n_results, n_leaves;
    int steps_capacity; /* as many steps as there can be; after all of them */
    ad_part *parts;
    ad_step *steps;
    ad_storage *storages;
    ad_result *results;
    int *leaves, *live;           /* live: the nodes that are needed, by number; the parts of all others are dead */
    int domains[AD_DOMAIN_LISTS]; /* the steps of the newest group of each domain, by lists; -1: none */
    bool *given;                  /* by node: bound by the caller, whatever its op */
    size_t longest_row;           /* of a rows step, in elements */
    int registers, slots;         /* the most that a group needs */
    size_t scratch_bytes;         /* of one thread */
    char *memory, *scratch;
    size_t memory_bytes;
};

/* Parts, steps, groups and where outputs end up. */
int ad_plan_schedule(ad_plan *plan, const ad_var *outputs, const ad_plan_spec *spec, ad_error *error);
/* Which buffers are needed from which step to which, and how large they are at capacity. */
int ad_plan_measure(ad_plan *plan, ad_error *error);
/* Places the buffers, and those of packed operands: by lifetime, first fit. */
int ad_plan_allocate(ad_plan *plan, ad_error *error);
/* Sets all offsets, strides and loops for these sizes; refuses sizes that are missing or above the capacity. */
int ad_plan_size(ad_plan *plan, const ad_sizes *sizes, ad_error *error);
/* Memory that lives as long as the plan; a buffer that is first written in a step. */
void *ad_plan_take(ad_plan *plan, size_t count, size_t size, ad_error *error);
int ad_plan_add_storage(ad_plan *plan, int first, bool owned);

/* ---- nests ---- */
void ad_nest_add(ad_nest *nest, size_t size, ptrdiff_t out, ptrdiff_t a, ptrdiff_t b);
/* Joins neighbouring loops where all of `operands` strides allow it, and drops loops of one turn. */
void ad_nest_collapse(ad_nest *nest, int operands);
/* Turns of the first `rank` loops together. */
size_t ad_nest_turns(const ad_nest *nest, int rank);
/* Offsets, and if it is not NULL the index, of turn number `turn` of the first `rank` loops. */
void ad_nest_seek(const ad_nest *nest, int rank, size_t turn, size_t *index, ptrdiff_t at[3]);
/* The next turn of the first `rank` loops, by adding to the offsets. */
void ad_nest_next(const ad_nest *nest, int rank, size_t *index, ptrdiff_t at[3]);
#endif
