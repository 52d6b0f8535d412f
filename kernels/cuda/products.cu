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

/*
 * launch_few - a stage of a block has 8 KiB of weights, so that several blocks share a multiprocessor; less where blocks
 * would be too few for all multiprocessors. Threads beyond those that compute help to copy.
 */
template <int TYPE, bool GROUPED, int ROWS>
static void launch_few(cudaStream_t stream, Product p, int n_tiles)
{
    enum { ENOUGH_BLOCKS = 528, STAGE = 8192 };
    p.few_groups = (p.tile_rows + ROWS - 1) / ROWS;
    p.tile_rows = p.few_groups * ROWS;
    p.few_panels = STAGE / Few<TYPE>::bytes;
    while (p.few_panels > 1 &&
           (p.panels + p.few_panels - 1) / p.few_panels * n_tiles < ENOUGH_BLOCKS)
        p.few_panels /= 2;
    const unsigned blocks = (unsigned)(p.panels + p.few_panels - 1) / (unsigned)p.few_panels;
    auto *kernel = few<TYPE, GROUPED, ROWS>;
    (void)cudaFuncSetAttribute((const void *)kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                               (int)Few<TYPE>::shared(STAGE / Few<TYPE>::bytes, FEW_ROWS));
    LAUNCH(stream, dim3(blocks, (unsigned)n_tiles), FEW_THREADS,
           Few<TYPE>::shared(p.few_panels, p.tile_rows), kernel, p);
}

template <int TYPE, bool GROUPED>
static void launch_chains(cudaStream_t stream, const Product &p, int n_tiles, bool large)
{
    if (large) {
        const dim3 blocks((unsigned)(p.panels + MANY_PANELS - 1) / MANY_PANELS, (unsigned)n_tiles);
        auto *kernel = many<TYPE, GROUPED>;
        LAUNCH(stream, blocks, MANY_THREADS, 0, kernel, p);
    } else if (p.tile_rows == 1)
        launch_few<TYPE, GROUPED, 1>(stream, p, n_tiles);
    else if (p.tile_rows == 2)
        launch_few<TYPE, GROUPED, 2>(stream, p, n_tiles);
    else
        launch_few<TYPE, GROUPED, 4>(stream, p, n_tiles);
}

template <int TYPE, bool GROUPED>
static void launch_sums(cudaStream_t stream, const Product &p, int n_tiles, bool large)
{
    const unsigned pairs = (unsigned)(p.panels + 1) / 2, y = (unsigned)n_tiles;
    if (large) {
        auto *kernel = sums_many<TYPE, GROUPED>;
        LAUNCH(stream, dim3((pairs + SUM_PAIRS - 1) / SUM_PAIRS, y), 32 * SUM_PAIRS, 0, kernel, p);
    } else if (GROUPED) {
        const size_t shared = (size_t)SUM_SPLIT * few_slots(p.group32) * 8 * 32 * sizeof(int);
        auto *kernel = sums_few_groups<TYPE>;
        (void)cudaFuncSetAttribute((const void *)kernel,
                                   cudaFuncAttributeMaxDynamicSharedMemorySize, (int)shared);
        LAUNCH(stream, dim3(pairs, y), 32 * SUM_SPLIT, shared, kernel, p);
    } else {
        auto *kernel = sums_few<TYPE>;
        LAUNCH(stream, dim3(pairs, y), 32 * SUM_SPLIT, 0, kernel, p);
    }
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
