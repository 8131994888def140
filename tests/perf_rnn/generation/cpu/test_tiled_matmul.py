import numpy as np
import pytest

from perf_rnn.generation.cpu import tiled_matmul
from perf_rnn.generation.cpu.tiled_matmul import TiledKernel, Tiling, untiled
from perf_rnn.generation.cpu.worker_threads import all_cores


@pytest.mark.parametrize(
    "tiling", [Tiling(4, 64), Tiling(4, 16), Tiling(1, 128), Tiling(None, 256)]
)
@pytest.mark.parametrize("cores", [1, 2, 4, 8])
def test_products(use_cores, tiling, cores):
    """Now and in the background, of various numbers of rows, with padding and without."""
    use_cores(cores)
    rng = np.random.default_rng(2)
    kernel, bias = rng.normal(size=(3, 21, 150)), rng.normal(size=(3, 150))
    tiled = TiledKernel(kernel.astype(np.float32), bias.astype(np.float32), tiling)
    for rows in (1, 5, 12, 5, 0):
        x = rng.normal(size=(tiling.padded(rows), 21)).astype(np.float32)
        assert rows <= len(x) < rows + 4
        expected = x @ kernel + bias[:, np.newaxis]
        with all_cores():
            now = tiled(x).copy()
            tiled.start(x[::-1])
            tiled.start(x)
            later = tiled.finish()
        np.testing.assert_array_equal(now, later)
        for n in range(3):
            np.testing.assert_allclose(untiled(now[n], 150), expected[n], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("num_inputs", [3, 37, 512, 900, 1500, 5000])
@pytest.mark.skipif(not tiled_matmul.has_small_kernels(), reason="BLAS has no such kernels here")
def test_small_kernels_do_not_mix_rows(num_inputs):
    """Bit for bit: a row's product is the same at any place and among any others."""
    rng = np.random.default_rng(3)
    tiling = Tiling.choose(1, num_inputs)
    kernel = TiledKernel(rng.normal(size=(num_inputs, 200)).astype(np.float32), None, tiling)
    x = rng.normal(size=(68, num_inputs)).astype(np.float32)
    product = untiled(kernel(x), 200).copy()
    order = rng.permutation(68)
    np.testing.assert_array_equal(untiled(kernel(x[order]), 200), product[order])
    for row in (0, 6, 67):
        alone = np.zeros((4, num_inputs), np.float32)
        alone[row % 4] = x[row]
        np.testing.assert_array_equal(untiled(kernel(alone), 200)[row % 4], product[row])
