// Dropout.  The mask is made again in the backward pass, from the same seed and position.
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

// y = x · scale where the number's random word is below `limit`, else x · 0.
//
// key: seed, position of the first counter.  A thread takes the four numbers of one counter.
KERNEL dropout(const real* x, real* y, const Size* key, Size limit, double scale, Size n) {
    bool packs = aligned(x, y);
    Size counters = (n + 3) / 4;
    for (Size i = blockIdx.x * THREADS + threadIdx.x; i < counters; i += gridDim.x * THREADS) {
        Words words = philox(key[0], key[1] + i);
        real factor[4];
#pragma unroll
        for (int j = 0; j < 4; j++) factor[j] = words.v[j] < limit ? real(scale) : real(0);
        if (packs && i * 4 + 4 <= n) {
#pragma unroll
            for (int part = 0; part < 4 / PACK; part++) {
                Vector<PACK> v = load<PACK>(x, i * (4 / PACK) + part);
#pragma unroll
                for (int j = 0; j < PACK; j++) v.v[j] *= factor[part * PACK + j];
                store(y, i * (4 / PACK) + part, v);
            }
        } else {
#pragma unroll
            for (int j = 0; j < 4; j++)
                if (i * 4 + j < n) y[i * 4 + j] = x[i * 4 + j] * factor[j];
        }
    }
}
