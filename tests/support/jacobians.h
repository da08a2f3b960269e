/* jacobians.h: networks whose Jacobian is no chain of free factors: a sum with what a block adds; a matrix and its
 * transpose in one pass; orthogonal matrices that are added, or used twice. */
#ifndef LIMN_TESTS_SUPPORT_JACOBIANS_H
#define LIMN_TESTS_SUPPORT_JACOBIANS_H
#include "limn.h"

ad_var jacobian_residual(nn_net *net, ad_var x);
/* One orthogonal W, all along the way: 1 + W and W + W' of linear layers, turned by
 * another one; in a recurrent layer; and with W' after it. */
ad_var jacobian_haar_sum(nn_net *net, ad_var x);
ad_var jacobian_haar_both(nn_net *net, ad_var x);
ad_var jacobian_haar_shared(nn_net *net, ad_var x);
ad_var jacobian_haar_tied(nn_net *net, ad_var x);
/* Residual blocks, each with an orthogonal matrix of its own. */
ad_var jacobian_haar_residual(nn_net *net, ad_var x);
ad_var jacobian_tied(nn_net *net, ad_var x);
#endif
