// Pooling of images (N, H, W, C).
//
// One thread computes each number of a result or a gradient; for the gradient by a pixel it loops over
// the windows that cover the pixel, so the order of additions is fixed.
#include "common.cuh"

struct Shape {
    unsigned height, width, channels, rows, columns;  // rows and columns: of the result
    int size_y, size_x, stride_y, stride_x, pad_y, pad_x;
};

#define GEOMETRY                                                                                  \
    Size images, Size height, Size width, Size channels, Size rows, Size columns, Size size_y,    \
        Size size_x, Size stride_y, Size stride_x, Size pad_y, Size pad_x
#define SHAPE                                                                                     \
    Shape {                                                                                       \
        (unsigned)height, (unsigned)width, (unsigned)channels, (unsigned)rows, (unsigned)columns, \
            (int)size_y, (int)size_x, (int)stride_y, (int)stride_x, (int)pad_y, (int)pad_x        \
    }

// A vector of channels of one pixel.
struct Place {
    unsigned unit, image;
    int y, x;
};

// Calls body(i, place) for all vectors i of `images` images of height × width.
template <int N, class Body>
__device__ void for_places(
    Size images, unsigned height, unsigned width, unsigned channels, Body body
) {
    unsigned units = channels / N, n = images * height * width * units;
    for (unsigned i = blockIdx.x * THREADS + threadIdx.x; i < n; i += gridDim.x * THREADS) {
        unsigned pixel = i / units, line = pixel / width;
        unsigned image = line / height;
        body(i, Place{i % units, image, (int)(line % height), (int)(pixel % width)});
    }
}

// Calls body(vector, position in the window) for the pixels of a window.
template <int N, class Body>
__device__ void for_pixels(const Shape& s, const Place& at, Body body) {
    for (int i = 0; i < s.size_y; i++) {
        int y = at.y * s.stride_y - s.pad_y + i;
        if (y < 0 || y >= (int)s.height) continue;
        for (int j = 0; j < s.size_x; j++) {
            int x = at.x * s.stride_x - s.pad_x + j;
            if (x < 0 || x >= (int)s.width) continue;
            Size pixel = ((Size)at.image * s.height + y) * s.width + x;
            body(pixel * (s.channels / N) + at.unit, i * s.size_x + j);
        }
    }
}

// The first window, along one axis, that covers a pixel.
__device__ inline int first_window(int pixel, int size, int stride, int pad) {
    int reach = pixel + pad - size + 1;
    return reach > 0 ? (reach + stride - 1) / stride : 0;
}

// Calls body(vector of the result, position of the pixel) for the windows that cover a pixel.
template <int N, class Body>
__device__ void for_windows(const Shape& s, const Place& at, Body body) {
    int last_y = (at.y + s.pad_y) / s.stride_y, last_x = (at.x + s.pad_x) / s.stride_x;
    for (int y = first_window(at.y, s.size_y, s.stride_y, s.pad_y);
         y <= last_y && y < (int)s.rows; y++)
        for (int x = first_window(at.x, s.size_x, s.stride_x, s.pad_x);
             x <= last_x && x < (int)s.columns; x++) {
            Size window = ((Size)at.image * s.rows + y) * s.columns + x;
            int i = at.y + s.pad_y - y * s.stride_y, j = at.x + s.pad_x - x * s.stride_x;
            body(window * (s.channels / N) + at.unit, i * s.size_x + j);
        }
}

template <int N>
struct alignas(N) Bytes {
    unsigned char v[N];
};

template <int N>
__device__ void max_forward(const real* x, real* y, void* winners, Size images, const Shape& s) {
    for_places<N>(images, s.rows, s.columns, s.channels, [&](unsigned i, const Place& at) {
        Vector<N> best = filled<N>(0);
        Bytes<N> winner = {};
        bool found = false;
        for_pixels<N>(s, at, [&](Size pixel, int position) {
            Vector<N> v = load<N>(x, pixel);
#pragma unroll
            for (int j = 0; j < N; j++) {
                // the first of equal maxima; NaN is the largest
                bool nan = v.v[j] != v.v[j] && best.v[j] == best.v[j];
                if (found && !(v.v[j] > best.v[j]) && !nan) continue;
                best.v[j] = v.v[j];
                winner.v[j] = position;
            }
            found = true;
        });
        store(y, i, best);
        static_cast<Bytes<N>*>(winners)[i] = winner;
    });
}

// y, and the position of the maximum in each window, one byte each
KERNEL max_pool_forward(const real* x, real* y, void* winners, GEOMETRY) {
    if (channels % PACK == 0 && aligned(x, y, winners))
        max_forward<PACK>(x, y, winners, images, SHAPE);
    else
        max_forward<1>(x, y, winners, images, SHAPE);
}

template <int N>
__device__ void max_backward(
    const real* g, const void* winners, real* dx, Size images, const Shape& s
) {
    for_places<N>(images, s.height, s.width, s.channels, [&](unsigned i, const Place& at) {
        Vector<N> sum = filled<N>(0);
        for_windows<N>(s, at, [&](Size window, int position) {
            Vector<N> v = load<N>(g, window);
            Bytes<N> winner = static_cast<const Bytes<N>*>(winners)[window];
#pragma unroll
            for (int j = 0; j < N; j++)
                if (winner.v[j] == position) sum.v[j] += v.v[j];
        });
        store(dx, i, sum);
    });
}

KERNEL max_pool_backward(const real* g, const void* winners, real* dx, GEOMETRY) {
    if (channels % PACK == 0 && aligned(g, winners, dx))
        max_backward<PACK>(g, winners, dx, images, SHAPE);
    else
        max_backward<1>(g, winners, dx, images, SHAPE);
}

template <int N>
__device__ void mean_forward(const real* x, real* y, Size images, const Shape& s) {
    wide share = wide(1) / wide(s.size_y * s.size_x);
    for_places<N>(images, s.rows, s.columns, s.channels, [&](unsigned i, const Place& at) {
        Vector<N> sum = filled<N>(0);
        for_pixels<N>(s, at, [&](Size pixel, int) {
            Vector<N> v = load<N>(x, pixel);
#pragma unroll
            for (int j = 0; j < N; j++) sum.v[j] += v.v[j];
        });
#pragma unroll
        for (int j = 0; j < N; j++) sum.v[j] *= share;
        store(y, i, sum);
    });
}

KERNEL avg_pool_forward(const real* x, real* y, GEOMETRY) {
    if (channels % PACK == 0 && aligned(x, y))
        mean_forward<PACK>(x, y, images, SHAPE);
    else
        mean_forward<1>(x, y, images, SHAPE);
}

template <int N>
__device__ void mean_backward(const real* g, real* dx, Size images, const Shape& s) {
    wide share = wide(1) / wide(s.size_y * s.size_x);
    for_places<N>(images, s.height, s.width, s.channels, [&](unsigned i, const Place& at) {
        Vector<N> sum = filled<N>(0);
        for_windows<N>(s, at, [&](Size window, int) {
            Vector<N> v = load<N>(g, window);
#pragma unroll
            for (int j = 0; j < N; j++) sum.v[j] += v.v[j] * share;
        });
        store(dx, i, sum);
    });
}

KERNEL avg_pool_backward(const real* g, real* dx, GEOMETRY) {
    if (channels % PACK == 0 && aligned(g, dx))
        mean_backward<PACK>(g, dx, images, SHAPE);
    else
        mean_backward<1>(g, dx, images, SHAPE);
}
