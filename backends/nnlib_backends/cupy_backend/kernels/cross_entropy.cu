// Softmax cross-entropy.  What is kept for the backward pass is one number for each row, the
// logarithm of the sum of exponentials; the probabilities are computed again from the logits.
#include "rows.cuh"

constexpr double LOWEST = sizeof(wide) == 4 ? -3.4028234663852886e38 : -1.7976931348623157e308;

// (rows, columns), (rows,) -> loss (rows,), shift (rows,), logarithm (rows,)
//
// One pass over the logits: the sum so far is scaled whenever a larger logit turns up.  The largest
// starts at a finite number, for −inf − −inf would be NaN in a row that is −inf only in part.
template <bool BLOCK>
__device__ void forward(
    const real* logits, const Size* labels, wide* loss, wide* largest, wide* logarithm, Size rows,
    Size columns
) {
    bool packs = columns % PACK == 0 && aligned(logits);
    Team<BLOCK>::for_rows(rows, [=](Size row) {
        const real* x = logits + row * columns;
        wide top = wide(LOWEST), total = 0;
        Team<BLOCK>::for_columns(columns, packs, [&](auto size, Size i) {
            constexpr int N = decltype(size)::value;
            Vector<N> v = load<N>(x, i);
            wide higher = top;
#pragma unroll
            for (int j = 0; j < N; j++) higher = higher < v.v[j] ? v.v[j] : higher;
            total *= exp(top - higher);
            top = higher;
#pragma unroll
            for (int j = 0; j < N; j++) total += exp(v.v[j] - top);
        });
        wide high = Team<BLOCK>::max(top);
        total = Team<BLOCK>::sum(total * exp(top - high));
        if (threadIdx.x % Team<BLOCK>::SIZE == 0) {
            Size label = labels[row];
            bool exists = label >= 0 && label < columns;  // the host cannot look at every label
            wide nothing = 0;
            // not log(total) + high − x[label], which loses all digits between large logits
            loss[row] = exists ? log(total) - (x[label] - high) : nothing / nothing;
            largest[row] = high;
            logarithm[row] = log(total);
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
        Team<BLOCK>::for_columns(columns, packs, [&](auto size, Size i) {
            constexpr int N = decltype(size)::value;
            Vector<N> v = load<N>(logits + row * columns, i);
#pragma unroll
            for (int j = 0; j < N; j++) {
                wide p = exp(v.v[j] - high - log_total);
                v.v[j] = (i * N + j == label ? p - 1 : p) * gradient;
            }
            store(d + row * columns, i, v);
        });
    });
}

#define ENTRIES(NAME, BLOCK)                                                                      \
    KERNEL cross_entropy_forward_##NAME(                                                          \
        const real* logits, const Size* labels, wide* loss, wide* largest, wide* logarithm,       \
        Size rows, Size columns                                                                   \
    ) {                                                                                           \
        forward<BLOCK>(logits, labels, loss, largest, logarithm, rows, columns);                  \
    }                                                                                             \
    KERNEL cross_entropy_backward_##NAME(                                                         \
        const wide* g, const real* logits, const Size* labels, const wide* largest,               \
        const wide* logarithm, real* d, Size rows, Size columns                                   \
    ) {                                                                                           \
        backward<BLOCK>(g, logits, labels, largest, logarithm, d, rows, columns);                 \
    }

ENTRIES(warp, false)
ENTRIES(block, true)
