/* limn.h: all of limn. Installed, it is <limn/limn.h>; headers name each other by where they lie, so that one -I, of the
 * folder that limn/ is in, finds all of them. */
#ifndef LIMN_H
#define LIMN_H
#include "autodiff/autodiff.h"
#include "datasets/datasets.h"
#include "nn/nn.h"
#include "tp/netsor.h"
#include "tp/predict.h"
#include "tp/ranks.h"
#include "tp/regime.h"
#include "tp/spectrum.h"
#include "tp/tp.h"
#include "tp/training.h"
#endif
