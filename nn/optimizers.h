/* optimizers.h: the optimizers. The enum nn_optimizer, the numbers of nn_fit_spec, the steps, the states in a
 * checkpoint, and the words and the help of `limn train --optimizer` all expand from these two lists.
 *
 * ROW(name, preset, maximum)
 *   A number of some optimizers, above 0 and below `maximum`; a field of nn_fit_spec, where 0 stands for the preset.
 * ROW(NAME, word, rate, decay, adaptive, uses, step, states...)
 *   `rate` and `decay` are the defaults. `adaptive`: a step divides by the size of the gradients, else it is linear in
 *   them. `uses`: the numbers, which a resumed fit must share. `step` is what the loop step_<word> of
 *   nn/train/optimizer.c does to omega: w of gradient g at step t, with r the rate times the parameter's own scale
 *   (nn_rate_powers), from states, zero at first and as long as w, that a checkpoint calls
 *   optimizer.<state>.<parameter>; NULL: none. Where decay does not stand in the formula, g is the loss's gradient +
 *   decay w, as PyTorch has it.
 *
 * RMSprop is PyTorch's, whose own default rate is 0.01. AdamW is that of Loshchilov and Hutter, arXiv:1711.05101: decay
 * stands apart from the moments. */
#ifndef LIMN_NN_OPTIMIZERS_H
#define LIMN_NN_OPTIMIZERS_H

#define NN_OPTIMIZER_NUMBERS(ROW)                                                                                      \
    ROW(momentum, 0.9, 1)                                                                                              \
    ROW(beta1, 0.9, 1)                                                                                                 \
    ROW(beta2, 0.999, 1)                                                                                               \
    ROW(epsilon, 1e-8, INFINITY)                                                                                       \
    ROW(alpha, 0.99, 1)

#define NN_OPTIMIZERS(ROW)                                                                                             \
    ROW(SGD, sgd, 1, 0, false, 0, "w -= r g", NULL)                                                                    \
    ROW(MOMENTUM, momentum, 0.1, 0, false, USES(momentum), "v = momentum v + g;  w -= r v", "first")                   \
    ROW(ADAM, adam, 0.001, 0, true, USES(beta1) | USES(beta2) | USES(epsilon),                                         \
        "m = beta1 m + (1 - beta1) g;  v = beta2 v + (1 - beta2) g^2;  w -= r mh / (sqrt(vh) + epsilon), "             \
        "mh = m / (1 - beta1^t), vh = v / (1 - beta2^t)",                                                              \
        "first", "second")                                                                                             \
    ROW(RMSPROP, rmsprop, 0.001, 0, true, USES(epsilon) | USES(alpha),                                                 \
        "s = alpha s + (1 - alpha) g^2;  w -= r g / (sqrt(s) + epsilon)", "square")                                    \
    ROW(ADAMW, adamw, 0.001, 0.01, true, USES(beta1) | USES(beta2) | USES(epsilon),                                    \
        "w -= r decay w;  then as adam, of the loss's gradient alone", "first", "second")
#endif
