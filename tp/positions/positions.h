/* positions.h: kernels of networks whose weights are shared among positions: filters, pools, readouts of positions. */
#ifndef LIMN_TP_POSITIONS_POSITIONS_H
#define LIMN_TP_POSITIONS_POSITIONS_H
#include "tp/tp.h"

/* Does the forward pass slide windows over positions? */
bool tp_has_windows(const tp_program *);
/* tp_limit_exact by the simple rules (THEORY section 8), which the caller has found to hold, for programs whose vectors
 * are linear in products with matrices, biases and functions of one Gaussian vector each. In time and memory by arrays
 * over positions, and not by a quantity for each pair of them. 0; 1 where the program is another one, or numbers come
 * near the ends of a double's range, without an error or a kernel; -1 with an error. */
int tp_limit_positions(const tp_program *, tp_kernel_kind, const double *x, size_t rows, const double *x2, size_t rows2,
                       const tp_limit_spec *, tp_kernel *, ad_error *error);
/* The recursion over positions as text or LaTeX (tp_print_recursion), of programs that the simple rules hold for. A
 * line stands for all positions, so that neither text nor time goes by their number. 0; 1 where it has no such form,
 * with the reason, -1 with an error; then nothing is printed. */
int tp_print_positions(const tp_program *, FILE *stream, tp_style style, ad_error *error);
#endif
