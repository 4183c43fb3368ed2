// One time step of RNN, LSTM and GRU, except the GEMMs.
//
// Gates (batch, steps, gates · width) hold W x + b before the forward pass and the activated gates
// after it.  `hidden` is R h of this step, null where h is zero, and d its bias.  Each step updates the
// state, h and c (batch, width), in place, except for sequences whose length is at most t.
//
// Backward, `product` is the gradient by h through R of the later step, null in the first launch.
#include "activation.cuh"

struct Sizes {
    Size batch, steps, width, t;
};

// N neighbouring numbers of the state of one sequence.
template <int N>
struct Cell {
    static constexpr int SIZE = N;
    Sizes s;
    Size row, unit;

    // Index of its vector in (batch, gates · width) and in (batch, steps, gates · width).
    __device__ Size at(int gate = 0, int gates = 1) const {
        return (row * gates + gate) * (s.width / N) + unit;
    }
    __device__ Size now(int gate = 0, int gates = 1) const {
        return ((row * s.steps + s.t) * gates + gate) * (s.width / N) + unit;
    }
    __device__ bool present(const Size* lengths) const { return !lengths || lengths[row] > s.t; }

    // (batch, gates · width), zeros if null.
    __device__ Vector<N> read(const real* p, int gate = 0, int gates = 1) const {
        return p ? load<N>(p, at(gate, gates)) : filled<N>(0);
    }
    // R h + d
    __device__ Vector<N> from_state(
        const real* hidden, const real* d, int gate, int gates
    ) const {
        Vector<N> z = read(hidden, gate, gates);
        if (!d) return z;
        Vector<N> shift = load<N>(d, gate * (s.width / N) + unit);
#pragma unroll
        for (int j = 0; j < N; j++) z.v[j] += shift.v[j];
        return z;
    }
    // The state before this step: from the states of all steps (batch, steps, width), or the initial.
    __device__ Vector<N> before(const real* states, const real* first, Size reverse) const {
        Size back = reverse ? 1 : -1;
        if (s.t + back < 0 || s.t + back >= s.steps) return read(first);
        return load<N>(states, now() + back * (s.width / N));
    }
};

template <class Body>
__device__ void for_cells(bool packs, const Sizes& s, Body body) {
    unsigned rank = blockIdx.x * THREADS + threadIdx.x, step = gridDim.x * THREADS;
    if (packs && s.width % PACK == 0) {
        unsigned units = s.width / PACK;
        for (unsigned i = rank; i < s.batch * units; i += step)
            body(Cell<PACK>{s, i / units, i % units});
    } else {
        unsigned units = s.width;
        for (unsigned i = rank; i < s.batch * units; i += step)
            body(Cell<1>{s, i / units, i % units});
    }
}

#define SIZES Size t, Size batch, Size steps, Size width
#define CELLS(PACKS) for_cells(PACKS, Sizes{batch, steps, width, t}, [=](auto cell) {             \
    constexpr int N = decltype(cell)::SIZE;

KERNEL lstm_forward(
    real* gates, const real* hidden, const real* d, const Size* lengths, real* h, real* c,
    real* states, SIZES
) {
    CELLS(aligned(gates, hidden, d, h, c, states))
        Vector<N> new_h = cell.read(h), new_c = cell.read(c), z[4];
        bool present = cell.present(lengths);
#pragma unroll
        for (int k = 0; k < 4; k++) {
            Vector<N> r = cell.from_state(hidden, d, k, 4);
            z[k] = load<N>(gates, cell.now(k, 4));
#pragma unroll
            for (int j = 0; j < N; j++) {
                real sum = z[k].v[j] + r.v[j];
                z[k].v[j] = k == 2 ? tanh(sum) : sigmoid(sum);
            }
            store(gates, cell.now(k, 4), z[k]);
        }
#pragma unroll
        for (int j = 0; j < N; j++) {
            real memory = z[1].v[j] * new_c.v[j] + z[0].v[j] * z[2].v[j];
            if (!present) continue;
            new_h.v[j] = z[3].v[j] * tanh(memory);
            new_c.v[j] = memory;
        }
        store(h, cell.at(), new_h);
        store(c, cell.at(), new_c);
        store(states, cell.now(), new_h);
        store(states + batch * steps * width, cell.now(), new_c);
    });
}

// slopes (batch, steps, 4 · width) and step (batch, 4 · width): gradient by the gates' inputs.
// carry: gradient by h for the earlier step besides the next product; null without lengths.
KERNEL lstm_backward(
    const real* g, const real* gates, const real* states, const real* c0, const Size* lengths,
    const real* product, real* carry, real* dc, real* slopes, real* step, Size reverse, SIZES
) {
    CELLS(aligned(g, gates, states, c0, product, carry, dc, slopes, step))
        Size volume = batch * steps * width;
        Vector<N> dh = cell.read(product), held = cell.read(carry), dm = cell.read(dc);
        Vector<N> gh = load<N>(g, cell.now()), gc = load<N>(g + volume, cell.now());
        Vector<N> c = load<N>(states + volume, cell.now());
        Vector<N> old_c = cell.before(states + volume, c0, reverse);
        Vector<N> i = load<N>(gates, cell.now(0, 4)), f = load<N>(gates, cell.now(1, 4));
        Vector<N> n = load<N>(gates, cell.now(2, 4)), o = load<N>(gates, cell.now(3, 4));
        bool present = cell.present(lengths);
#pragma unroll
        for (int j = 0; j < N; j++) {
            real by_h = dh.v[j] + held.v[j] + gh.v[j], by_c = dm.v[j] + gc.v[j];
            real squashed = tanh(c.v[j]);
            real memory = by_c + by_h * o.v[j] * (1 - squashed * squashed);
            held.v[j] = present ? real(0) : by_h;
            dm.v[j] = present ? memory * f.v[j] : by_c;
            real di = memory * n.v[j] * i.v[j] * (1 - i.v[j]);
            real df = memory * old_c.v[j] * f.v[j] * (1 - f.v[j]);
            real dn = memory * i.v[j] * (1 - n.v[j] * n.v[j]);
            real d_o = by_h * squashed * o.v[j] * (1 - o.v[j]);
            i.v[j] = present ? di : real(0);
            f.v[j] = present ? df : real(0);
            n.v[j] = present ? dn : real(0);
            o.v[j] = present ? d_o : real(0);
        }
        store(dc, cell.at(), dm);
        if (carry) store(carry, cell.at(), held);
        store(slopes, cell.now(0, 4), i);
        store(slopes, cell.now(1, 4), f);
        store(slopes, cell.now(2, 4), n);
        store(slopes, cell.now(3, 4), o);
        store(step, cell.at(0, 4), i);
        store(step, cell.at(1, 4), f);
        store(step, cell.at(2, 4), n);
        store(step, cell.at(3, 4), o);
    });
}

// inner (batch, steps, width): R h + d of the new state.
KERNEL gru_forward(
    real* gates, const real* hidden, const real* d, const Size* lengths, real* h, real* states,
    real* inner, SIZES
) {
    CELLS(aligned(gates, hidden, d, h, states, inner))
        Vector<N> state = cell.read(h);
        Vector<N> r = load<N>(gates, cell.now(0, 3)), z = load<N>(gates, cell.now(1, 3));
        Vector<N> n = load<N>(gates, cell.now(2, 3));
        Vector<N> from_r = cell.from_state(hidden, d, 0, 3);
        Vector<N> from_z = cell.from_state(hidden, d, 1, 3);
        Vector<N> from_n = cell.from_state(hidden, d, 2, 3);
        bool present = cell.present(lengths);
#pragma unroll
        for (int j = 0; j < N; j++) {
            r.v[j] = sigmoid(r.v[j] + from_r.v[j]);
            z.v[j] = sigmoid(z.v[j] + from_z.v[j]);
            n.v[j] = tanh(n.v[j] + r.v[j] * from_n.v[j]);
            if (present) state.v[j] = (1 - z.v[j]) * n.v[j] + z.v[j] * state.v[j];
        }
        store(gates, cell.now(0, 3), r);
        store(gates, cell.now(1, 3), z);
        store(gates, cell.now(2, 3), n);
        store(inner, cell.now(), from_n);
        store(h, cell.at(), state);
        store(states, cell.now(), state);
    });
}

// from_x, from_h (batch, steps, 3 · width): gradient by W x and by R h; step is the latter's part.
KERNEL gru_backward(
    const real* g, const real* gates, const real* inner, const real* states, const real* h0,
    const Size* lengths, const real* product, real* carry, real* from_x, real* from_h, real* step,
    Size reverse, SIZES
) {
    CELLS(aligned(g, gates, inner, states, h0, product, carry, from_x, from_h, step))
        Vector<N> dh = cell.read(product), held = cell.read(carry), own = load<N>(g, cell.now());
        Vector<N> old_h = cell.before(states, h0, reverse), q = load<N>(inner, cell.now());
        Vector<N> r = load<N>(gates, cell.now(0, 3)), z = load<N>(gates, cell.now(1, 3));
        Vector<N> n = load<N>(gates, cell.now(2, 3));
        bool present = cell.present(lengths);
#pragma unroll
        for (int j = 0; j < N; j++) {
            real by_h = dh.v[j] + held.v[j] + own.v[j];
            real dn = by_h * (1 - z.v[j]) * (1 - n.v[j] * n.v[j]);
            real dz = by_h * (old_h.v[j] - n.v[j]) * z.v[j] * (1 - z.v[j]);
            real dr = dn * q.v[j] * r.v[j] * (1 - r.v[j]);
            held.v[j] = present ? by_h * z.v[j] : by_h;
            q.v[j] = present ? dn * r.v[j] : real(0);
            r.v[j] = present ? dr : real(0);
            z.v[j] = present ? dz : real(0);
            n.v[j] = present ? dn : real(0);
        }
        store(carry, cell.at(), held);
        store(from_x, cell.now(0, 3), r);
        store(from_x, cell.now(1, 3), z);
        store(from_x, cell.now(2, 3), n);
        store(from_h, cell.now(0, 3), r);
        store(from_h, cell.now(1, 3), z);
        store(from_h, cell.now(2, 3), q);
        store(step, cell.at(0, 3), r);
        store(step, cell.at(1, 3), z);
        store(step, cell.at(2, 3), q);
    });
}

// states (batch, steps, width) hold W x + b before and the states after.
KERNEL rnn_forward(
    real* states, const real* hidden, const real* d, const Size* lengths, real* h,
    Size activation, SIZES
) {
    CELLS(aligned(states, hidden, d, h))
        Vector<N> state = cell.read(h), r = cell.from_state(hidden, d, 0, 1);
        Vector<N> z = load<N>(states, cell.now());
        bool present = cell.present(lengths);
#pragma unroll
        for (int j = 0; j < N; j++)
            if (present) state.v[j] = activate(z.v[j] + r.v[j], activation);
        store(h, cell.at(), state);
        store(states, cell.now(), state);
    });
}

KERNEL rnn_backward(
    const real* g, const real* states, const Size* lengths, const real* product, real* carry,
    real* slopes, real* step, Size activation, SIZES
) {
    CELLS(aligned(g, states, product, carry, slopes, step))
        Vector<N> dh = cell.read(product), held = cell.read(carry), own = load<N>(g, cell.now());
        Vector<N> state = load<N>(states, cell.now());
        bool present = cell.present(lengths);
#pragma unroll
        for (int j = 0; j < N; j++) {
            real by_h = dh.v[j] + held.v[j] + own.v[j];
            held.v[j] = present ? real(0) : by_h;
            state.v[j] = present ? derive(by_h, state.v[j], activation) : real(0);
        }
        if (carry) store(carry, cell.at(), held);
        store(slopes, cell.now(), state);
        store(step, cell.at(), state);
    });
}
