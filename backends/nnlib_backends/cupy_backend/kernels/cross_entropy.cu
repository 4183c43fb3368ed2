// Softmax, log-softmax and softmax cross-entropy.  The latter saves two numbers for each row; its
// backward pass computes the probabilities from the logits.
#include "rows.cuh"

constexpr double LOWEST = sizeof(wide) == 4 ? -3.4028234663852886e38 : -1.7976931348623157e308;

constexpr Size IGNORED = -2147483648LL;  // of nnlib_backends.base

// The largest number of a row, and the sum of exponentials of the others' differences from it; without
// the 1 of the largest itself a small sum keeps its digits.
struct Exponentials {
    wide largest, others;
};

// One pass: a larger number rescales the sum so far.  The largest starts at a finite number, because
// −inf − −inf would be NaN in a row that is −inf only in part.
template <bool BLOCK>
__device__ Exponentials add_exponentials(const real* x, Size columns, bool packs) {
    wide top = wide(LOWEST), others = 0, found = 0;
    Team<BLOCK>::for_columns(columns, packs, [&](auto size, Size i) {
        constexpr int N = decltype(size)::value;
        Vector<N> v = load<N>(x, i);
        wide higher = top;
#pragma unroll
        for (int j = 0; j < N; j++) higher = higher < v.v[j] ? v.v[j] : higher;
        bool rises = top < higher;  // then the previous largest is one of the others
        others = rises ? (others + found) * exp(top - higher) : others;
        found = rises ? wide(1) : found;
        top = higher;
#pragma unroll
        for (int j = 0; j < N; j++) {
            bool itself = rises && v.v[j] == top;
            rises = rises && !itself;
            wide difference = v.v[j] - top;
            others += itself ? difference : exp(difference);  // 0, or NaN beside infinity
        }
    });
    wide largest = Team<BLOCK>::max(top);
    bool has = found > 0 && top == largest;
    wide tied = Team<BLOCK>::sum(has ? wide(1) : wide(0));  // threads that have the largest
    wide sum = Team<BLOCK>::sum(has ? others : (others + found) * exp(top - largest));
    return {largest, sum + (tied - 1)};
}

// (rows, columns), (rows,) -> loss (rows,), largest (rows,), logarithm (rows,)
template <bool BLOCK>
__device__ void forward(
    const real* logits, const Size* labels, wide* loss, wide* largest, wide* logarithm, Size rows,
    Size columns
) {
    bool packs = columns % PACK == 0 && aligned(logits);
    Team<BLOCK>::for_rows(rows, [=](Size row) {
        const real* x = logits + row * columns;
        auto [high, others] = add_exponentials<BLOCK>(x, columns, packs);
        if (threadIdx.x % Team<BLOCK>::SIZE == 0) {
            Size label = labels[row];
            bool exists = label >= 0 && label < columns;  // the host cannot look at every label
            wide nothing = 0;
            // not log1p(others) + high − x[label], which loses all digits between large logits
            loss[row] = exists ? log1p(others) - (x[label] - high) : nothing / nothing;
            if (label == IGNORED) loss[row] = 0;
            largest[row] = high;
            logarithm[row] = log1p(others);
        }
    });
}

// d = (softmax − one-hot) · g
template <bool BLOCK>
__device__ void backward(
    const wide* g, const real* logits, const Size* labels, const wide* largest,
    const wide* logarithm, real* d, Size rows, Size columns
) {
    bool packs = columns % PACK == 0 && aligned(logits, d);
    Team<BLOCK>::for_rows(rows, [=](Size row) {
        wide gradient = g[row], high = largest[row], log_total = logarithm[row];
        Size label = labels[row];
        bool counts = label != IGNORED;  // 0 · NaN would be NaN
        Team<BLOCK>::for_columns(columns, packs, [&](auto size, Size i) {
            constexpr int N = decltype(size)::value;
            Vector<N> v = load<N>(logits + row * columns, i);
#pragma unroll
            for (int j = 0; j < N; j++) {
                wide p = exp(v.v[j] - high - log_total);
                v.v[j] = counts ? (i * N + j == label ? p - 1 : p) * gradient : wide(0);
            }
            store(d + row * columns, i, v);
        });
    });
}

// y = softmax(x) or log_softmax(x)
template <bool BLOCK, bool LOG>
__device__ void softmax(const real* x, real* y, Size rows, Size columns) {
    bool packs = columns % PACK == 0 && aligned(x, y);
    Team<BLOCK>::for_rows(rows, [=](Size row) {
        Exponentials e = add_exponentials<BLOCK>(x + row * columns, columns, packs);
        wide share = 1 / (1 + e.others), logarithm = log1p(e.others);
        Team<BLOCK>::for_columns(columns, packs, [=](auto size, Size i) {
            constexpr int N = decltype(size)::value;
            Vector<N> v = load<N>(x + row * columns, i);
#pragma unroll
            for (int j = 0; j < N; j++) {
                wide difference = v.v[j] - e.largest;
                v.v[j] = LOG ? difference - logarithm : exp(difference) * share;
            }
            store(y + row * columns, i, v);
        });
    });
}

// dx = y · (g − sum(g · y)); of the logarithm: g − exp(y) · sum(g)
template <bool BLOCK, bool LOG>
__device__ void softmax_gradient(
    const real* g, const real* y, real* dx, Size rows, Size columns
) {
    bool packs = columns % PACK == 0 && aligned(g, y, dx);
    Team<BLOCK>::for_rows(rows, [=](Size row) {
        const real *gradient = g + row * columns, *result = y + row * columns;
        wide sum = 0;
        Team<BLOCK>::for_columns(columns, packs, [&](auto size, Size i) {
            constexpr int N = decltype(size)::value;
            Vector<N> h = load<N>(gradient, i), v = load<N>(result, i);
#pragma unroll
            for (int j = 0; j < N; j++) sum += LOG ? h.v[j] : h.v[j] * v.v[j];
        });
        sum = Team<BLOCK>::sum(sum);
        Team<BLOCK>::for_columns(columns, packs, [&](auto size, Size i) {
            constexpr int N = decltype(size)::value;
            Vector<N> h = load<N>(gradient, i), v = load<N>(result, i);
#pragma unroll
            for (int j = 0; j < N; j++)
                v.v[j] = LOG ? h.v[j] - exp(v.v[j]) * sum : v.v[j] * (h.v[j] - sum);
            store(dx + row * columns, i, v);
        });
    });
}

#define ENTRIES(NAME, BLOCK)                                                                      \
    KERNEL cross_entropy_forward_##NAME(                                                          \
        In<real> logits, In<Size> labels, Out<wide> loss, Out<wide> largest, Out<wide> logarithm, \
        Size rows, Size columns                                                                   \
    ) {                                                                                           \
        forward<BLOCK>(logits, labels, loss, largest, logarithm, rows, columns);                  \
    }                                                                                             \
    KERNEL cross_entropy_backward_##NAME(                                                         \
        In<wide> g, In<real> logits, In<Size> labels, In<wide> largest,                           \
        In<wide> logarithm, Out<real> d, Size rows, Size columns                                  \
    ) {                                                                                           \
        backward<BLOCK>(g, logits, labels, largest, logarithm, d, rows, columns);                 \
    }                                                                                             \
    KERNEL softmax_forward_##NAME(In<real> x, Out<real> y, Size rows, Size columns) {             \
        softmax<BLOCK, false>(x, y, rows, columns);                                               \
    }                                                                                             \
    KERNEL log_softmax_forward_##NAME(In<real> x, Out<real> y, Size rows, Size columns) {         \
        softmax<BLOCK, true>(x, y, rows, columns);                                                \
    }                                                                                             \
    KERNEL softmax_backward_##NAME(                                                               \
        In<real> g, In<real> y, Out<real> dx, Size rows, Size columns                             \
    ) {                                                                                           \
        softmax_gradient<BLOCK, false>(g, y, dx, rows, columns);                                  \
    }                                                                                             \
    KERNEL log_softmax_backward_##NAME(                                                           \
        In<real> g, In<real> y, Out<real> dx, Size rows, Size columns                             \
    ) {                                                                                           \
        softmax_gradient<BLOCK, true>(g, y, dx, rows, columns);                                   \
    }

ENTRIES(warp, false)
ENTRIES(block, true)
