#include "kernels/cuda/products.h"

#include "kernels/cuda/chains.h"
#include "kernels/cuda/peaks.h"
#include "kernels/cuda/sums.h"

static_assert((int)FEW_ROWS == (int)SUMS_FEW_ROWS && (int)MANY_ROWS == (int)SUMS_MANY_ROWS,
              "one list of tiles fits both");

int most_rows(bool large)
{
    return large ? (int)MANY_ROWS : (int)FEW_ROWS;
}

template <int TYPE, bool GROUPED>
static void launch_chains(cudaStream_t stream, const Product &p, int n_tiles, bool large)
{
    if (large) {
        const dim3 blocks((unsigned)(p.panels + MANY_PANELS - 1) / MANY_PANELS, (unsigned)n_tiles);
        auto *kernel = many<TYPE, GROUPED>;
        LAUNCH(stream, blocks, MANY_THREADS, 0, kernel, p);
        return;
    }
    const size_t shared = Few<TYPE>::shared(p.tile_rows);
    auto *kernel = few<TYPE, GROUPED>;
    (void)cudaFuncSetAttribute((const void *)kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                               (int)Few<TYPE>::shared(FEW_ROWS));
    LAUNCH(stream, dim3((unsigned)p.panels, (unsigned)n_tiles), FEW_THREADS, shared, kernel, p);
}

template <int TYPE, bool GROUPED>
static void launch_sums(cudaStream_t stream, const Product &p, int n_tiles, bool large)
{
    const unsigned pairs = (unsigned)(p.panels + 1) / 2,
                   fours = (pairs + SUM_PAIRS - 1) / SUM_PAIRS;
    if (large) {
        auto *kernel = sums<TYPE, GROUPED, SUM_TILES>;
        LAUNCH(stream, dim3(fours, (unsigned)n_tiles), 32 * SUM_PAIRS, 0, kernel, p);
        return;
    }
    auto *kernel = sums<TYPE, GROUPED, 1>;
    LAUNCH(stream, dim3(GROUPED ? fours : pairs, (unsigned)n_tiles),
           GROUPED ? 32 * SUM_PAIRS : 32 * SUM_SPLIT, 0, kernel, p);
}

void launch_product(cudaStream_t stream, const Product &p, int type, int n_tiles, bool large,
                    bool integers)
{
    const bool grouped = p.groups > 1;
    if (type == W_F32)
        launch_chains<W_F32, false>(stream, p, n_tiles, large);
    else if (type == W_BF16)
        launch_chains<W_BF16, false>(stream, p, n_tiles, large);
    else if (type == W_INT8 && integers)
        (grouped ? launch_sums<W_INT8, true> : launch_sums<W_INT8, false>)(stream, p, n_tiles,
                                                                           large);
    else if (type == W_INT8)
        (grouped ? launch_chains<W_INT8, true> : launch_chains<W_INT8, false>)(stream, p, n_tiles,
                                                                               large);
    else if (integers)
        (grouped ? launch_sums<W_INT4, true> : launch_sums<W_INT4, false>)(stream, p, n_tiles,
                                                                           large);
    else
        (grouped ? launch_chains<W_INT4, true> : launch_chains<W_INT4, false>)(stream, p, n_tiles,
                                                                               large);
}

void launch_quantize(cudaStream_t stream, int8_t *q, float *scale, size_t q_rows, const float *x,
                     size_t ldx, int k, int rows)
{
    LAUNCH(stream, (unsigned)rows, QUANTIZE_THREADS, 0, quantize, q, scale, q_rows, x, ldx, k);
}

void launch_place(cudaStream_t stream, int8_t *q, size_t q_rows, const int8_t *from, size_t ld,
                  int k, int rows)
{
    LAUNCH(stream, (unsigned)rows, QUANTIZE_THREADS, 0, place, q, q_rows, from, ld, k);
}

void launch_fma_peak(cudaStream_t stream, float *sink, int blocks, int rounds)
{
    LAUNCH(stream, (unsigned)blocks, PEAK_THREADS, 0, fma_peak, sink, rounds);
}

void launch_mma_peak(cudaStream_t stream, float *sink, int blocks, int rounds)
{
    LAUNCH(stream, (unsigned)blocks, PEAK_THREADS, 0, mma_peak, sink, rounds);
}
