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

/* launch_few - small blocks, so that there are some for every multiprocessor, but as large as that allows. */
template <int TYPE, bool GROUPED, int ROWS>
static void launch_few(cudaStream_t stream, Product p, int n_tiles)
{
    enum { ENOUGH_BLOCKS = 1024 };
    p.few_groups = (p.tile_rows + ROWS - 1) / ROWS;
    p.tile_rows = p.few_groups * ROWS;
    p.few_panels = FEW_THREADS / PANEL / p.few_groups;
    while (p.few_panels * p.few_groups > 2 && p.few_panels > 1 &&
           (p.panels + p.few_panels - 1) / p.few_panels * n_tiles < ENOUGH_BLOCKS)
        p.few_panels /= 2;
    const unsigned blocks = (unsigned)(p.panels + p.few_panels - 1) / (unsigned)p.few_panels;
    auto *kernel = few<TYPE, GROUPED, ROWS>;
    (void)cudaFuncSetAttribute((const void *)kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                               (int)Few<TYPE>::shared(FEW_THREADS / PANEL, FEW_ROWS));
    LAUNCH(stream, dim3(blocks, (unsigned)n_tiles), PANEL * p.few_panels * p.few_groups,
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
