// The norm of many arrays together, in two steps whose order of additions never changes.
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
