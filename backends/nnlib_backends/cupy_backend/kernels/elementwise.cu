// Elementwise: activations and sigmoid cross-entropy.
#include "activation.cuh"

constexpr double SQRT_HALF = 0.7071067811865476;
constexpr double ONE_OVER_SQRT_TWO_PI = 0.3989422804014327;

// Φ(x), the distribution function of the normal distribution, exact also in its lower tail
__device__ inline wide normal(wide x) { return wide(0.5) * erfc(wide(-SQRT_HALF) * x); }

// y = f(a, b)
template <class A, class B, class Y, class Function>
__device__ void map(const A* a, const B* b, Y* y, Size n, Function f) {
    for_each(n, aligned(a, b, y), [=](auto size, Size i) {
        constexpr int N = decltype(size)::value;
        Vector<N> p = load<N>(a, i), q = load<N>(b, i);
#pragma unroll
        for (int j = 0; j < N; j++) p.v[j] = f(p.v[j], q.v[j]);
        store(y, i, p);
    });
}

// y = f(a)
template <class A, class Y, class Function>
__device__ void map(const A* a, Y* y, Size n, Function f) {
    for_each(n, aligned(a, y), [=](auto size, Size i) {
        constexpr int N = decltype(size)::value;
        Vector<N> p = load<N>(a, i);
#pragma unroll
        for (int j = 0; j < N; j++) p.v[j] = f(p.v[j]);
        store(y, i, p);
    });
}

KERNEL activation_forward(const real* x, real* y, Size n, Size activation) {
    map(x, y, n, [=](wide v) { return activate(v, activation); });
}

KERNEL activation_backward(const real* g, const real* y, real* dx, Size n, Size activation) {
    map(g, y, dx, n, [=](wide gradient, wide v) { return derive(gradient, v, activation); });
}

KERNEL gelu_forward(const real* x, real* y, Size n) {
    map(x, y, n, [](wide v) { return at_least(v, -wide(NORMAL)) * normal(v); });
}

KERNEL gelu_backward(const real* g, const real* x, real* dx, Size n) {
    map(g, x, dx, n, [](wide gradient, wide v) {
        v = within(v, wide(NORMAL));
        wide density = wide(ONE_OVER_SQRT_TWO_PI) * exp(wide(-0.5) * v * v);
        return gradient * (normal(v) + v * density);
    });
}

KERNEL gelu_tanh_forward(const real* x, real* y, Size n) {
    map(x, y, n, [](wide v) { return gelu_tanh(v); });
}

KERNEL gelu_tanh_backward(const real* g, const real* x, real* dx, Size n) {
    map(g, x, dx, n, [](wide gradient, wide v) { return gradient * gelu_tanh_derivative(v); });
}

KERNEL silu_forward(const real* x, real* y, Size n) {
    map(x, y, n, [](wide v) { return at_least(v, -wide(LOGISTIC)) * sigmoid(v); });
}

KERNEL silu_backward(const real* g, const real* x, real* dx, Size n) {
    map(g, x, dx, n, [](wide gradient, wide v) {
        v = within(v, wide(LOGISTIC));
        return gradient * (sigmoid(v) + v * sigmoid_bell(v));
    });
}

KERNEL sigmoid_cross_entropy_forward(const real* x, const wide* target, wide* loss, Size n) {
    map(x, target, loss, n, [](wide v, wide t) {
        return (v < 0 ? wide(0) : v) - v * t + log1p(exp(-abs(v)));
    });
}

// dx and dtarget may be null.
KERNEL sigmoid_cross_entropy_backward(
    const wide* g, const real* x, const wide* target, real* dx, wide* dtarget, Size n
) {
    if (dx)
        for_each(n, aligned(g, x, target, dx), [=](auto size, Size i) {
            constexpr int N = decltype(size)::value;
            Vector<N> gradient = load<N>(g, i), v = load<N>(x, i), t = load<N>(target, i);
#pragma unroll
            for (int j = 0; j < N; j++) v.v[j] = gradient.v[j] * (sigmoid(v.v[j]) - t.v[j]);
            store(dx, i, v);
        });
    if (dtarget) map(g, x, dtarget, n, [](wide gradient, wide v) { return -gradient * v; });
}
