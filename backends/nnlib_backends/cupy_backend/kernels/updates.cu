// Optimizers: one pass over all parameters of a step, which lie in one flat buffer.
//
// Scalars that change from step to step, such as the learning rate, are read from device memory, so
// that a replay reads new values.  So is `skip`, unless it is null: a number other than 0 skips the
// step.  A state that the optimizer does not use is null.
#include "common.cuh"
// Written by sources.py from SCALARS: sgd_scalars, adam_scalars, …, whose members are in that order.
#include "update_scalars.cuh"

__device__ inline bool skipped(const float* skip) { return skip && skip[0] != 0; }

KERNEL sgd(
    real* p, const real* g, real* buffer, const sgd_scalars* numbers, const float* skip,
    Size nesterov, Size decayed, Size n
) {
    if (skipped(skip)) return;
    sgd_scalars hyper = *numbers;
    for_each(n, aligned(p, g, buffer), [=](auto size, Size i) {
        constexpr int N = decltype(size)::value;
        Vector<N> w = load<N>(p, i), d = load<N>(g, i), b = d;
        if (decayed)
#pragma unroll
            for (int j = 0; j < N; j++) d.v[j] += hyper.weight_decay * w.v[j];
        if (buffer) {
            b = load<N>(buffer, i);
#pragma unroll
            for (int j = 0; j < N; j++) {
                b.v[j] = b.v[j] * hyper.momentum + d.v[j] * hyper.one_minus_dampening;
                d.v[j] = nesterov ? d.v[j] + hyper.momentum * b.v[j] : b.v[j];
            }
            store(buffer, i, b);
        }
#pragma unroll
        for (int j = 0; j < N; j++) w.v[j] -= hyper.lr * d.v[j];
        store(p, i, w);
    });
}

KERNEL adam(
    real* p, const real* g, real* mean, real* square, real* largest, const adam_scalars* numbers,
    const float* skip, Size decayed, Size decoupled, Size n
) {
    if (skipped(skip)) return;
    adam_scalars hyper = *numbers;
    for_each(n, aligned(p, g, mean, square, largest), [=](auto size, Size i) {
        constexpr int N = decltype(size)::value;
        Vector<N> w = load<N>(p, i), d = load<N>(g, i), m = load<N>(mean, i), v = load<N>(square, i);
#pragma unroll
        for (int j = 0; j < N; j++) {
            if (decayed && decoupled)
                w.v[j] *= hyper.decay;
            else if (decayed)
                d.v[j] += hyper.decay * w.v[j];
            m.v[j] = m.v[j] * hyper.beta1 + hyper.one_minus_beta1 * d.v[j];
            v.v[j] = v.v[j] * hyper.beta2 + hyper.one_minus_beta2 * d.v[j] * d.v[j];
        }
        store(mean, i, m);
        store(square, i, v);
        if (largest) {
            Vector<N> most = load<N>(largest, i);
#pragma unroll
            for (int j = 0; j < N; j++)  // NaN stays NaN
                if (!(v.v[j] < most.v[j]) && most.v[j] == most.v[j]) most.v[j] = v.v[j];
            store(largest, i, most);
            v = most;
        }
#pragma unroll
        for (int j = 0; j < N; j++) w.v[j] -= hyper.step_size * m.v[j] / (sqrt(v.v[j]) + hyper.eps);
        store(p, i, w);
    });
}

KERNEL rmsprop(
    real* p, const real* g, real* square, real* mean, real* buffer, const rmsprop_scalars* numbers,
    const float* skip, Size decayed, Size n
) {
    if (skipped(skip)) return;
    rmsprop_scalars hyper = *numbers;
    for_each(n, aligned(p, g, square, mean, buffer), [=](auto size, Size i) {
        constexpr int N = decltype(size)::value;
        Vector<N> w = load<N>(p, i), d = load<N>(g, i), v = load<N>(square, i);
#pragma unroll
        for (int j = 0; j < N; j++) {
            if (decayed) d.v[j] += hyper.weight_decay * w.v[j];
            v.v[j] = v.v[j] * hyper.alpha + hyper.one_minus_alpha * d.v[j] * d.v[j];
        }
        store(square, i, v);
        if (mean) {
            Vector<N> m = load<N>(mean, i);
#pragma unroll
            for (int j = 0; j < N; j++) {
                m.v[j] = m.v[j] * hyper.alpha + hyper.one_minus_alpha * d.v[j];
                // rounding can make the variance of a constant gradient negative, its root NaN
                real variance = v.v[j] - m.v[j] * m.v[j];
                v.v[j] = variance < 0 ? real(0) : variance;
            }
            store(mean, i, m);
        }
#pragma unroll
        for (int j = 0; j < N; j++) d.v[j] /= sqrt(v.v[j]) + hyper.eps;
        if (buffer) {
            Vector<N> b = load<N>(buffer, i);
#pragma unroll
            for (int j = 0; j < N; j++) d.v[j] = b.v[j] * hyper.momentum + d.v[j];
            store(buffer, i, d);
        }
#pragma unroll
        for (int j = 0; j < N; j++) w.v[j] -= hyper.lr * d.v[j];
        store(p, i, w);
    });
}

KERNEL adagrad(
    real* p, const real* g, real* sum, const adagrad_scalars* numbers, const float* skip,
    Size decayed, Size n
) {
    if (skipped(skip)) return;
    adagrad_scalars hyper = *numbers;
    for_each(n, aligned(p, g, sum), [=](auto size, Size i) {
        constexpr int N = decltype(size)::value;
        Vector<N> w = load<N>(p, i), d = load<N>(g, i), v = load<N>(sum, i);
#pragma unroll
        for (int j = 0; j < N; j++) {
            if (decayed) d.v[j] += hyper.weight_decay * w.v[j];
            v.v[j] += d.v[j] * d.v[j];
            w.v[j] -= hyper.lr * d.v[j] / (sqrt(v.v[j]) + hyper.eps);
        }
        store(sum, i, v);
        store(p, i, w);
    });
}
