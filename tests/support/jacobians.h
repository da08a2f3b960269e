/* jacobians.h: networks whose Jacobian is no chain of free factors: a sum with what a block adds; a matrix and its
 * transpose in one pass. */
#ifndef LIMN_TESTS_SUPPORT_JACOBIANS_H
#define LIMN_TESTS_SUPPORT_JACOBIANS_H
#include "limn.h"

ad_var jacobian_residual(nn_net *net, ad_var x);
ad_var jacobian_tied(nn_net *net, ad_var x);
#endif
