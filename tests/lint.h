/* lint.h: what clang-tidy's analyzer, which sees one file at a time, is told of functions of other files. */
#define _GNU_SOURCE /* as files that need it say first */
#include "autodiff/trace/trace.h"
#define ad_fail(...) ((ad_fail)(__VA_ARGS__), -1)
#define ad_has_graph(where, op, graph) ((ad_has_graph)(where, op, graph) && (graph))
