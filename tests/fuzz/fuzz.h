/* fuzz.h: what libFuzzer's targets share: a folder in memory, and what holds of every reader whatever its bytes are: a
 * result, or one line of error. Whatever breaks this aborts, and libFuzzer keeps the input. */
#ifndef LIMN_TESTS_FUZZ_H
#define LIMN_TESTS_FUZZ_H
#include "autodiff/autodiff.h"
#include "datasets/datasets.h"

/* The target's: called once for each input. */
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count);

/* A path in the folder; the last four stay valid. */
const char *fuzz_in(const char *name);
/* Such a file, whole; the folder goes at exit. */
void fuzz_put(const char *name, const void *bytes, size_t count);
/* Aborts unless it failed with one line of error, or did not and there is none. */
void fuzz_verdict_at(ad_where, bool failed, const ad_error *error);
void fuzz_holds_at(ad_where, bool what);
#define fuzz_verdict(...) fuzz_verdict_at(AD_HERE, __VA_ARGS__)
#define fuzz_holds(...) fuzz_holds_at(AD_HERE, __VA_ARGS__)
/* Loads a set twice and frees it: rows, features, classes and numbers are sound. `bits` choose scaling, size, grey,
 * transposition (images) and the label's column (tables). */
enum { FUZZ_IMAGES = 1, FUZZ_TURNED = 2, FUZZ_TABLE = 4 };
void fuzz_load(const char *name, int takes, uint8_t bits, const char *labels);
/* The bytes as a text that ends, and that the caller frees. */
char *fuzz_text(const uint8_t *bytes, size_t count);
#endif
