// Activations that follow a product, and their derivatives.
#pragma once
#include "common.cuh"

enum Activation { IDENTITY, RELU, TANH, SIGMOID, GELU_TANH };

constexpr double SQRT_TWO_OVER_PI = 0.7978845608028654;
constexpr double CUBIC = 0.044715;

__device__ inline wide sigmoid(wide x) { return wide(0.5) * tanh(wide(0.5) * x) + wide(0.5); }

__device__ inline wide activate(wide x, int activation) {
    if (activation == RELU) return x < 0 ? wide(0) : x;  // NaN stays NaN
    if (activation == TANH) return tanh(x);
    return activation == SIGMOID ? sigmoid(x) : x;
}

__device__ inline wide gelu_tanh(wide x) {
    return wide(0.5) * x * (1 + tanh(wide(SQRT_TWO_OVER_PI) * (x + wide(CUBIC) * x * x * x)));
}

__device__ inline wide gelu_tanh_derivative(wide x) {
    wide t = tanh(wide(SQRT_TWO_OVER_PI) * x * (1 + wide(CUBIC) * x * x));
    wide slope = wide(0.5 * SQRT_TWO_OVER_PI) * (1 + wide(3 * CUBIC) * x * x);
    return wide(0.5) * (1 + t) + x * (1 - t * t) * slope;
}

// y is what the activation gives; of GELU, what it is computed of.
__device__ inline wide derive(wide g, wide y, int activation) {
    if (activation == RELU) return g * wide(y > 0);
    if (activation == TANH) return g * (1 - y * y);
    if (activation == GELU_TANH) return g * gelu_tanh_derivative(y);
    return activation == SIGMOID ? g * (y * (1 - y)) : g;
}
