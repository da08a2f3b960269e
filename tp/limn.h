/* limn.h: all of limn. */
#ifndef LIMN_H
#define LIMN_H
#include "autodiff/autodiff.h"
#include "datasets/datasets.h"
#include "nn/nn.h"
#include "tp/netsor.h"
#include "tp/predict.h"
#include "tp/spectrum.h"
#include "tp/tp.h"
#endif
