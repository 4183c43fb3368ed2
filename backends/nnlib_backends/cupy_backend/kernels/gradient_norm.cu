// Norm of all gradients, in two steps with a fixed order of additions; clipping; unscaling.
#include "rows.cuh"

// parts (gridDim.x,): sums of the squares of x (n,), one from each block
KERNEL sum_of_squares(const real* x, wide* parts, Size n) {
    wide sum = 0;
    for_each(n, aligned(x), [&](auto size, Size i) {
        constexpr int N = decltype(size)::value;
        Vector<N> v = load<N>(x, i);
#pragma unroll
        for (int j = 0; j < N; j++) sum += v.v[j] * v.v[j];
    });
    sum = Team<true>::sum(sum);
    if (threadIdx.x == 0) parts[blockIdx.x] = sum;
}

// norm (1,): the root of the sum of parts (n,); one block
KERNEL root_of_sum(const wide* parts, wide* norm, Size n) {
    wide sum = 0;
    for (Size i = threadIdx.x; i < n; i += THREADS) sum += parts[i];
    sum = Team<true>::sum(sum);
    if (threadIdx.x == 0) norm[0] = sqrt(sum);
}

// x times min(limit / (norm + 1e-6), 1), in place
KERNEL shrink(real* x, const wide* norm, double limit, Size n) {
    wide factor = wide(limit) / (norm[0] + wide(1e-6));
    if (factor > 1) factor = 1;  // NaN stays NaN
    for_each(n, aligned(x), [=](auto size, Size i) {
        constexpr int N = decltype(size)::value;
        Vector<N> v = load<N>(x, i);
#pragma unroll
        for (int j = 0; j < N; j++) v.v[j] *= factor;
        store(x, i, v);
    });
}

// x divided by the scale, in place; `found` becomes 1 if a number is then not finite
KERNEL unscale(real* x, const float* scale, float* found, Size n) {
    wide factor = 1 / wide(scale[0]);
    for_each(n, aligned(x), [=](auto size, Size i) {
        constexpr int N = decltype(size)::value;
        Vector<N> v = load<N>(x, i);
#pragma unroll
        for (int j = 0; j < N; j++) {
            v.v[j] *= factor;
            if (v.v[j] - v.v[j] != 0) found[0] = 1;  // all writers write the same
        }
        store(x, i, v);
    });
}
