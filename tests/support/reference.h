/* reference.h: the exact values of tests/reference, and the inputs that their formulas define. */
#ifndef LIMN_TESTS_REFERENCE_H
#define LIMN_TESTS_REFERENCE_H
#include <stddef.h>

typedef struct reference reference;
reference *reference_read(const char *name); /* fails the test if the file cannot be read */
void reference_free(reference *ref);
/* The numbers below a key ("limit.gp_last"), flattened row-major; fails the test unless there are `count`. Valid until
 * reference_free. */
const double *reference_array(reference *ref, const char *key, size_t count);
/* The same of one key in one object, whose names may hold points. */
const double *reference_entry(reference *ref, const char *object, const char *key, size_t count);
/* x[i,j] = sin((1 + 3 i) + (0.7 j)(i + 1)); to be freed. */
double *reference_inputs(size_t rows, size_t features);
/* x[i,t,j] = sin(1 + 3 i + 5 t + 0.7 j (i + 1)); to be freed. */
double *reference_sequences(size_t rows, size_t times, size_t features);
#endif
