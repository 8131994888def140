"""Products of a batch's rows with weights: each row's result depends on that row alone.

BLAS rounds a row differently in products of more or fewer rows, for it adds up in another order. So
a large product is cut here into small ones of the same few shapes, whatever the number of rows:

- OpenBLAS has kernels for small products for processors with AVX-512, which read matrices where
  they are. There the products are of 4 rows (or 2, with the same result) and a tile of 64 columns,
  which stays in the cache of a core while one group of rows after another is multiplied by it. On
  one core with 512 units that is as fast as a vector's routines for 1 row, and 1.4 times as fast
  as one product of 64 rows.
- Elsewhere, up to `MAX_INDEPENDENT_ROWS` rows are multiplied one by one, which is faster for a few
  and takes 1.6 times as long for so many. More are multiplied together, and their results vary in
  the last bits with their number.
"""

import dataclasses
import functools
import itertools

import numpy as np

from perf_rnn import background

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
      rows: how many are multiplied at once, or half of it if there are no more; None: all.
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

    def group_size(self, num_rows: int) -> int:
        """Returns how many of `num_rows` rows are multiplied at once."""
        if self.rows is None:
            return max(num_rows, 1)
        return self.rows // 2 if 1 < 2 * num_rows <= self.rows else self.rows

    def padded(self, num_rows: int) -> int:
        """Returns how many rows are multiplied where `num_rows` are asked for."""
        size = self.group_size(num_rows)
        return -(-num_rows // size) * size

    def tiles(self, kernel: np.ndarray) -> np.ndarray:
        """Returns [..., tiles, inputs, columns] of [..., inputs, outputs], filled up with zeros."""
        *stack, inputs, outputs = kernel.shape
        columns = min(self.columns, -(-outputs // _REGISTER) * _REGISTER)
        count = -(-outputs // columns)
        wide = np.zeros((*stack, inputs, count * columns), np.float32)
        wide[..., :outputs] = kernel
        return np.ascontiguousarray(wide.reshape(*stack, inputs, count, columns).swapaxes(-3, -2))


@functools.cache
def has_small_kernels() -> bool:
    """Whether BLAS has kernels for small products, by which any rows are independent."""
    if not any(blas["architecture"] in _HAVE_SMALL_KERNELS for blas in background.blas().info()):
        return False
    rng = np.random.default_rng(0)
    rows, tile = rng.random((4, 512), np.float32), rng.random((512, 64), np.float32)
    pairs = np.concatenate([rows[[n, n]] @ tile for n in range(4)])
    return np.array_equal(rows @ tile, pairs[::2])


class TiledKernel:
    """x @ kernel + bias, on several cores if there are more than two.

    The kernel is float32 [..., inputs, outputs], the bias [..., outputs]. Rows x are float32
    [rows, inputs], as many as `Tiling.padded` says. Products are [..., tiles, rows, columns].
    """

    def __init__(self, kernel: np.ndarray, bias: np.ndarray | None, tiling: Tiling):
        self._tiling = tiling
        tiles = tiling.tiles(kernel)[..., np.newaxis, :, :]
        *self._stack, self._count, _, _, self._columns = tiles.shape
        added = None if bias is None else tiling.tiles(bias[..., np.newaxis, :])[..., np.newaxis, :, :]
        # While the caller goes on with one product, the other cores are to do another.
        parts = min(self._count, max(1, background.num_cores() // 2))
        ends = [self._count * part // parts for part in range(parts + 1)]
        self._parts = []
        for start, end in itertools.pairwise(ends):
            part = (..., slice(start, end), *[slice(None)] * 3)
            self._parts.append((part, tiles[part], None if added is None else added[part]))

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Returns the product of x."""
        return self.start(x).finish()

    def start(self, x: np.ndarray) -> "Product":
        """Begins with the product of x, in the background."""
        size = self._tiling.group_size(len(x))
        groups = x.reshape(len(x) // size, size, x.shape[1])
        result = np.empty((*self._stack, self._count, *groups.shape[:2], self._columns), np.float32)
        works = [
            background.start(_multiply, groups, tiles, added, result[part])
            for part, tiles, added in self._parts
        ]
        return Product(result.reshape(*self._stack, self._count, len(x), self._columns), works)


def _multiply(
    x: np.ndarray, tiles: np.ndarray, added: np.ndarray | None, result: np.ndarray
) -> None:
    np.matmul(x, tiles, out=result)
    if added is not None:
        result += added


@dataclasses.dataclass(frozen=True)
class Product:
    """A product that is being taken."""

    _result: np.ndarray
    _works: list[background.Work]

    def finish(self) -> np.ndarray:
        """Returns it, once it is there."""
        for work in self._works:
            work.finish()
        return self._result

    def drop(self) -> None:
        """Says that nobody needs it."""
        for work in self._works:
            work.drop()


def untiled(product: np.ndarray, outputs: int) -> np.ndarray:
    """Returns [rows, outputs] of [tiles, rows, columns]."""
    return product.swapaxes(0, 1).reshape(product.shape[1], -1)[:, :outputs]
