// Activations that follow a product, and their derivatives by what they give.
#pragma once
#include "common.cuh"

enum Activation { IDENTITY, RELU, TANH, SIGMOID };

__device__ inline wide sigmoid(wide x) { return wide(0.5) * tanh(wide(0.5) * x) + wide(0.5); }

__device__ inline wide activate(wide x, int activation) {
    if (activation == RELU) return x < 0 ? wide(0) : x;  // NaN stays NaN
    if (activation == TANH) return tanh(x);
    return activation == SIGMOID ? sigmoid(x) : x;
}

__device__ inline wide derive(wide g, wide y, int activation) {
    if (activation == RELU) return g * wide(y > 0);
    if (activation == TANH) return g * (1 - y * y);
    return activation == SIGMOID ? g * (y * (1 - y)) : g;
}
