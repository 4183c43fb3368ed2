// Dropout.  The backward pass computes the mask again from the same seed and position.
#include "common.cuh"

struct Words {
    unsigned v[4];
};

// Philox4x32-10 (Salmon et al., 2011): four random words for a key and a counter.
__device__ inline Words philox(unsigned long long key, unsigned long long counter) {
    unsigned key0 = (unsigned)key, key1 = (unsigned)(key >> 32);
    unsigned c0 = (unsigned)counter, c1 = (unsigned)(counter >> 32), c2 = 0, c3 = 0;
#pragma unroll
    for (int round = 0; round < 10; round++) {
        unsigned high0 = __umulhi(0xD2511F53u, c0), low0 = 0xD2511F53u * c0;
        unsigned high1 = __umulhi(0xCD9E8D57u, c2), low1 = 0xCD9E8D57u * c2;
        c0 = high1 ^ c1 ^ key0;
        c1 = low1;
        c2 = high0 ^ c3 ^ key1;
        c3 = low0;
        key0 += 0x9E3779B9u;
        key1 += 0xBB67AE85u;
    }
    return Words{{c0, c1, c2, c3}};
}

// y = x · scale where the number's random word is below `limit`, else 0 (not x · 0: x may be ∞).
//
// key: seed and first counter.  A thread takes the four numbers of a counter, or eight of two counters
// where they fit into one access.
KERNEL dropout(const real* x, real* y, const Size* key, Size limit, double scale, Size n) {
    constexpr int SCALARS = PACK > 4 ? PACK : 4;
    bool packs = aligned(x, y);
    Size shares = (n + SCALARS - 1) / SCALARS;
    for (Size i = blockIdx.x * THREADS + threadIdx.x; i < shares; i += gridDim.x * THREADS) {
        wide factor[SCALARS];
#pragma unroll
        for (int k = 0; k < SCALARS / 4; k++) {
            Words words = philox(key[0], key[1] + i * (SCALARS / 4) + k);
#pragma unroll
            for (int j = 0; j < 4; j++)
                factor[k * 4 + j] = words.v[j] < limit ? wide(scale) : wide(0);
        }
        if (packs && (i + 1) * SCALARS <= n) {
#pragma unroll
            for (int part = 0; part < SCALARS / PACK; part++) {
                Size place = i * (SCALARS / PACK) + part;
                Vector<PACK> v = load<PACK>(x, place);
#pragma unroll
                for (int j = 0; j < PACK; j++) {
                    wide by = factor[part * PACK + j];
                    v.v[j] = by == wide(0) ? wide(0) : v.v[j] * by;
                }
                store(y, place, v);
            }
        } else {
#pragma unroll
            for (int j = 0; j < SCALARS; j++) {
                Size place = i * SCALARS + j;
                if (place < n)
                    y[place] = real(factor[j] == wide(0) ? wide(0) : x[place] * factor[j]);
            }
        }
    }
}
