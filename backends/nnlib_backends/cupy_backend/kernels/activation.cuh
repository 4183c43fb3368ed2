// Activations that follow a product, and their derivatives by what they give.
#pragma once
#include "common.cuh"

enum Activation { IDENTITY, RELU, TANH, SIGMOID };

__device__ inline real sigmoid(real x) { return real(0.5) * tanh(real(0.5) * x) + real(0.5); }

__device__ inline real activate(real x, int activation) {
    if (activation == RELU) return x < 0 ? real(0) : x;  // NaN stays NaN
    if (activation == TANH) return tanh(x);
    return activation == SIGMOID ? sigmoid(x) : x;
}

__device__ inline real derive(real g, real y, int activation) {
    if (activation == RELU) return g * real(y > 0);
    if (activation == TANH) return g * (1 - y * y);
    return activation == SIGMOID ? g * (y * (1 - y)) : g;
}
