"""Products of a batch's rows with weights: each row's result depends on that row alone.

BLAS adds up in another order in products of more or fewer rows, so it rounds a row differently. So
a large product is cut here into small ones of the same few shapes, whatever the number of rows:

- OpenBLAS has kernels for small products on processors with AVX-512, which read matrices where they
  are. There each product is one of 4 rows with a tile of 64 columns, which stays in the cache of a
  core while one group of rows after another is multiplied by it. With layers of 512 units, one core
  is as fast at that as at a product of 1 row, and 1.4 times as fast as at a product of 64.
- Elsewhere, up to `MAX_INDEPENDENT_ROWS` rows are multiplied one by one, which is faster for a few
  and takes 1.6 times as long for so many. More are multiplied together, and their results vary in
  the last bits with their number.
"""

import dataclasses
import functools
import itertools
import math

import numpy as np

from perf_rnn.generation.cpu import worker_threads

MAX_INDEPENDENT_ROWS = 16  # Where BLAS has no kernels for small products.

# OpenBLAS's names of processors for which it has them, and how many multiplications of numbers are
# few for it.
_HAVE_SMALL_KERNELS = {"SkylakeX", "Cooperlake", "SapphireRapids"}
_FEW = 1_000_000
_REGISTER = 16  # float32 of a vector register.


@dataclasses.dataclass(frozen=True)
class Tiling:
    """How products are cut.

    Attributes:
      rows: how many are multiplied at once; None: all.
      columns: how many are multiplied at once, at most.
    """

    rows: int | None
    columns: int

    @classmethod
    def choose(cls, num_rows: int, num_inputs: int) -> "Tiling":
        """Returns the tiling for up to so many rows, of up to so many numbers."""
        if has_small_kernels():
            columns = next((n for n in (64, 32) if 4 * num_inputs * n <= _FEW), _REGISTER)
            return cls(4, columns)
        return cls(1, 128) if num_rows <= MAX_INDEPENDENT_ROWS else cls(None, 256)

    def padded(self, num_rows: int) -> int:
        """Returns how many rows are multiplied where `num_rows` are asked for."""
        return num_rows if self.rows is None else -(-num_rows // self.rows) * self.rows

    def pad(self, rows: np.ndarray) -> np.ndarray:
        """Returns [padded rows, ...] of [rows, ...], filled up with zeros."""
        padded = np.zeros((self.padded(len(rows)), *rows.shape[1:]), rows.dtype)
        padded[: len(rows)] = rows
        return padded

    def groups(self, x: np.ndarray) -> np.ndarray:
        """Returns [groups, rows of each, n] of [padded rows, n]."""
        size = self.rows or max(len(x), 1)
        return x.reshape(len(x) // size, size, x.shape[1])

    def tiles(self, kernel: np.ndarray) -> np.ndarray:
        """Returns [..., tiles, inputs, columns] of [..., inputs, outputs], filled up with zeros."""
        *stack, inputs, outputs = kernel.shape
        columns = min(self.columns, -(-outputs // _REGISTER) * _REGISTER)
        count = -(-outputs // columns)
        wide = np.zeros((*stack, inputs, count * columns), np.float32)
        wide[..., :outputs] = kernel
        tiles = _aligned((*stack, count, inputs, columns))
        tiles[:] = wide.reshape(*stack, inputs, count, columns).swapaxes(-3, -2)
        return tiles


def _aligned(shape: tuple[int, ...]) -> np.ndarray:
    """Returns a new array whose vector registers' worths are one line of the cache each."""
    size, line = math.prod(shape), 64
    buffer = np.empty(size + line // 4, np.float32)
    first = -buffer.ctypes.data % line // 4
    return buffer[first : first + size].reshape(shape)


@functools.cache
def has_small_kernels() -> bool:
    """Whether BLAS has kernels for small products, so that any number of rows is independent."""
    processors = {library.get("architecture") for library in worker_threads.blas().info()}
    if not processors & _HAVE_SMALL_KERNELS:
        return False
    rng = np.random.default_rng(0)
    rows, tile = rng.random((4, 512), np.float32), rng.random((512, 64), np.float32)
    product = rows @ tile
    return all(
        np.array_equal(np.roll(rows, n, axis=0) @ tile, np.roll(product, n, axis=0))
        for n in range(1, 4)
    )


class TiledKernel:
    """x @ kernel + bias, at once or by worker threads.

    The kernel is float32 [..., inputs, outputs], the bias [..., outputs]. Rows x are float32
    [rows, inputs], as many as `Tiling.padded` says; the product is [..., tiles, rows, columns], and
    is overwritten by the next one.
    """

    def __init__(self, kernel: np.ndarray, bias: np.ndarray | None, tiling: Tiling):
        self._tiling = tiling
        self._tiles = tiling.tiles(kernel)[..., np.newaxis, :, :]
        self._added = None
        if bias is not None:
            self._added = tiling.tiles(bias[..., np.newaxis, :])[..., np.newaxis, :, :]
        # While the caller computes one product, the workers can compute another.
        count = min(self._tiles.shape[-4], max(1, worker_threads.num_cores() // 2))
        self._tasks = [worker_threads.Task(_multiply) for _ in range(count)]
        self._parts: list[tuple[np.ndarray, np.ndarray | None, np.ndarray]] = []
        self._product = np.zeros(0, np.float32)

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Returns the product of x."""
        groups = self._groups(x)
        others = self._tasks[1:]
        for task, part in zip(others, self._parts[1:], strict=True):
            task.start(groups, *part)
        _multiply(groups, *self._parts[0])
        for task in others:
            task.finish()
        return self._product

    def start(self, x: np.ndarray) -> None:
        """Starts the product of x in the workers, in place of one started before."""
        groups = self._groups(x)
        for task, part in zip(self._tasks, self._parts, strict=True):
            task.start(groups, *part)

    def finish(self) -> np.ndarray:
        """Returns the product that `start` has started."""
        for task in reversed(self._tasks):  # The last ones are the least likely to have started.
            task.finish()
        return self._product

    def _groups(self, x: np.ndarray) -> np.ndarray:
        """Returns x in groups of rows, with room for their product."""
        groups = self._tiling.groups(x)
        *stack, count, _, _, columns = self._tiles.shape
        shape = (*stack, count, len(x), columns)
        if self._product.shape != shape:
            self._product = np.empty(shape, np.float32)
            result = self._product.reshape(*stack, count, *groups.shape[:2], columns)
            ends = [count * part // len(self._tasks) for part in range(len(self._tasks) + 1)]
            self._parts = []
            for start, end in itertools.pairwise(ends):
                some = slice(start, end)
                added = None if self._added is None else self._added[..., some, :, :, :]
                tiles = self._tiles[..., some, :, :, :]
                self._parts.append((tiles, added, result[..., some, :, :, :]))
        return groups


def _multiply(
    x: np.ndarray, tiles: np.ndarray, added: np.ndarray | None, product: np.ndarray
) -> None:
    np.matmul(x, tiles, out=product)
    if added is not None:
        product += added


def untiled(product: np.ndarray, outputs: int) -> np.ndarray:
    """Returns [rows, outputs] of [tiles, rows, columns]."""
    tiles, rows, columns = product.shape
    return product.swapaxes(0, 1).reshape(rows, tiles * columns)[:, :outputs]
