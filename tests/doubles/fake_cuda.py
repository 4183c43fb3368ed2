"""A test double of the names of CuPy that graphs need, with a log of calls.

All work is done immediately, so a missing wait changes no value; instead every access to memory
asserts that the stream has waited, by events, for all earlier accesses of other streams.  Memory
from a pool counts as in use in the stream that allocated it.
"""

import contextlib
import itertools
from types import SimpleNamespace

import numpy as np


class Pointer:
    """``cupy.cuda.MemoryPointer`` into host memory."""

    def __init__(self, mem, offset=0):
        self.mem, self.offset = mem, offset

    @property
    def ptr(self):
        return self.mem.block.ctypes.data + self.offset

    def __add__(self, offset):
        return Pointer(self.mem, self.offset + offset)

    def copy_from_host_async(self, pointer, nbytes, stream):
        source = self.mem.cuda.pinned[pointer]
        stream.do(("copy", nbytes), self.mem)
        self.mem.block[self.offset : self.offset + nbytes] = source[:nbytes]


class NdArray:
    """cupy.ndarray."""

    def __init__(self, shape, dtype, memptr=None, strides=None, base=None):
        self.shape, self.dtype, self.data, self.base = shape, np.dtype(dtype), memptr, base
        self.strides = strides or np.empty(shape, dtype).strides

    nbytes = property(lambda self: self.bare().nbytes)
    size = property(lambda self: self.bare().size)

    def __setitem__(self, key, value):
        others = [value.data.mem] if isinstance(value, NdArray) else []
        mem = self.data.mem
        mem.cuda.current[-1].do(("kernel", "copy"), mem, *others)
        self.bare()[key] = value.bare() if isinstance(value, NdArray) else value

    def bare(self):
        return np.ndarray(
            self.shape, self.dtype, self.data.mem.block, self.data.offset, self.strides
        )

    def get(self):
        return self.bare().copy()


class Stream:
    numbers = itertools.count(1)

    def __init__(self, cuda, ptr):
        self.cuda, self.ptr, self.capturing, self.broken = cuda, ptr, False, False
        self.done = Progress({ptr: 0})  # work of each stream that precedes the next work here

    def do(self, what, *memory):
        """Launch something that reads or writes memory."""
        if self.capturing:
            self.captured.append((what, memory))
        else:
            self.touch(memory)
        self.cuda.log.append((self.ptr, *what))

    def touch(self, memory):
        self.done.join(self.cuda.host)
        self.done[self.ptr] += 1
        for mem in memory:
            unknown = mem.used.beyond(self.done)
            assert not unknown, f"stream {self.ptr} does not wait for {unknown} to leave the memory"
            mem.used[self.ptr] = self.done[self.ptr]

    def wait_event(self, event):
        """Wait for an event; as in CUDA, do nothing if it was never recorded."""
        self.cuda.log.append((self.ptr, "waits", event.at))
        self.done.join(event.done)

    def begin_capture(self):
        assert self.ptr != 0, "cannot capture on the default (legacy) stream"
        self.capturing, self.captured = True, []
        self.cuda.log.append((self.ptr, "begin"))

    def end_capture(self):
        self.cuda.log.append((self.ptr, "end"))
        self.capturing = False
        if self.broken:
            raise RuntimeError("cudaErrorStreamCaptureInvalidated")
        return Graph(self.captured)

    def is_capturing(self):
        if self.broken:
            raise RuntimeError("an error has invalidated the capture sequence")
        return self.capturing

    def synchronize(self):
        self.cuda.log.append((self.ptr, "synchronize"))
        self.cuda.host.join(self.done)

    def __enter__(self):
        self.cuda.current.append(self)
        return self

    def __exit__(self, *_):
        assert self.cuda.current.pop() is self


class Progress(dict):
    """Stream → number of its finished pieces of work."""

    def join(self, other):
        self.update({ptr: max(count, self.get(ptr, 0)) for ptr, count in other.items()})

    def beyond(self, other):
        """Return the streams of which the other has finished less."""
        return [ptr for ptr, count in self.items() if count > other.get(ptr, 0)]


class Graph:
    def __init__(self, launches):
        self.captured = [what for what, _ in launches]
        self.memory = [mem for _, memory in launches for mem in memory]

    def launch(self, stream):
        assert not stream.capturing
        stream.touch(self.memory)
        stream.cuda.log.append((stream.ptr, "launch", *self.captured))


class Event:
    def __init__(self, cuda):
        self.cuda, self.at, self.done = cuda, None, {}

    def record(self, stream):
        self.done = dict(stream.done)
        self.at = (stream.ptr, sum(entry[0] == stream.ptr for entry in self.cuda.log))
        self.cuda.log.append((stream.ptr, "record"))

    def synchronize(self):
        self.cuda.log.append(("host", "waits", self.at))
        self.cuda.host.join(self.done)


class Pool:
    def __init__(self, cuda):
        self.cuda, self.taken = cuda, []

    def malloc(self, nbytes):
        mem = SimpleNamespace(cuda=self.cuda, block=np.zeros(nbytes, np.uint8), pool=self)
        stream = self.cuda.current[-1]
        stream.done[stream.ptr] += 1  # the previous owner of this memory may use it until here
        mem.used = Progress({stream.ptr: stream.done[stream.ptr]})
        self.taken.append(nbytes)
        return Pointer(mem)

    def total_bytes(self):
        return sum(self.taken)


class CudaDouble:
    """A test double of the module ``cupy``."""

    ndarray = NdArray

    def __init__(self):
        self.log, self.pinned, self.current = [], {}, [Stream(self, 0)]
        self.host = Progress()  # work that the host has waited for
        self.default_pool = Pool(self)
        self.allocators = [self.default_pool.malloc]
        self.cuda = SimpleNamespace(
            Event=lambda disable_timing=False: Event(self),
            get_elapsed_time=lambda begin, end: 1000.0 * (end.at[1] - begin.at[1]),
            Stream=lambda non_blocking: Stream(self, next(Stream.numbers)),
            MemoryPool=lambda: Pool(self),
            get_current_stream=lambda: self.current[-1],
            using_allocator=self.using_allocator,
            alloc_pinned_memory=self.alloc_pinned_memory,
        )

    @contextlib.contextmanager
    def using_allocator(self, allocator):
        self.allocators.append(allocator)
        try:
            yield
        finally:
            self.allocators.pop()

    def alloc_pinned_memory(self, nbytes):
        class Pinned(bytearray):
            ptr = len(self.pinned) + 1000

        memory = Pinned(nbytes)
        self.pinned[memory.ptr] = np.frombuffer(memory, np.uint8)
        return memory

    def empty(self, shape, dtype):
        nbytes = int(np.prod(shape)) * np.dtype(dtype).itemsize
        return NdArray(shape, dtype, self.allocators[-1](nbytes))

    def array(self, values):
        result = self.empty(values.shape, values.dtype)
        result.bare()[...] = values
        return result
