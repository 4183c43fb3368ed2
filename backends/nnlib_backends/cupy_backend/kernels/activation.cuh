// Activations of epilogues, and their derivatives.
#pragma once
#include "common.cuh"

enum Activation { IDENTITY, RELU, TANH, SIGMOID, GELU_TANH };

constexpr double SQRT_TWO_OVER_PI = 0.7978845608028654;
constexpr double CUBIC = 0.044715;

// For larger |x| the distribution functions are 0 or 1; clipping avoids −∞ · 0 and ∞ · 0.
constexpr double NORMAL = 40, LOGISTIC = 800;

__device__ inline wide at_least(wide x, wide low) { return x < low ? low : x; }  // NaN stays NaN

__device__ inline wide within(wide x, wide limit) {
    return x > limit ? limit : at_least(x, -limit);
}

__device__ inline wide sigmoid(wide x) {
    wide e = exp(-abs(x));  // ≤ 1, and the leading term in the lower tail
    return (x < 0 ? e : wide(1)) / (1 + e);
}

// s (1 - s) for s = sigmoid(x), exact also where s is almost 1.
__device__ inline wide sigmoid_bell(wide x) {
    wide e = exp(-abs(x));
    return e / ((1 + e) * (1 + e));
}

__device__ inline wide activate(wide x, int activation) {
    if (activation == RELU) return x < 0 ? wide(0) : x;  // NaN stays NaN
    if (activation == TANH) return tanh(x);
    return activation == SIGMOID ? sigmoid(x) : x;
}

// (1 + tanh(z)) / 2, which would be 0 long before its limit, is the sigmoid of 2 z.
__device__ inline wide gelu_tanh(wide x) {
    x = at_least(x, -wide(NORMAL));
    return x * sigmoid(wide(2 * SQRT_TWO_OVER_PI) * (x + wide(CUBIC) * x * x * x));
}

__device__ inline wide gelu_tanh_derivative(wide x) {
    x = within(x, wide(NORMAL));
    wide z = wide(2 * SQRT_TWO_OVER_PI) * x * (1 + wide(CUBIC) * x * x);
    wide slope = wide(2 * SQRT_TWO_OVER_PI) * (1 + wide(3 * CUBIC) * x * x);
    return sigmoid(z) + x * sigmoid_bell(z) * slope;
}

// y is the activation's result; for GELU, its argument.
__device__ inline wide derive(wide g, wide y, int activation) {
    if (activation == RELU) return g * wide(y > 0);
    if (activation == TANH) return g * (1 - y * y);
    if (activation == GELU_TANH) return g * gelu_tanh_derivative(y);
    return activation == SIGMOID ? g * (y * (1 - y)) : g;
}
