#include "kernels/sparse.h"

#include <string.h>

enum { SLAB = 64 }; /* inputs widened at a time: 16 rows of them stay in L1 */

/* Exact: a half's 11 bits of mantissa and 5 of exponent all fit. */
static float widen_f16(uint16_t h)
{
    const uint32_t sign = (uint32_t)(h & 0x8000) << 16, rest = h & 0x7fff;
    uint32_t bits;
    float f;
    if (rest >= 0x7c00) { /* infinity, NaN */
        bits = rest << 13 | 0x7f800000;
    } else if (rest >= 0x0400) {
        bits = (rest << 13) + 0x38000000; /* exponent bias 15 -> 127 */
    } else {                              /* zero, subnormal: rest * 2^-24 */
        f = (float)rest * 0x1p-24f;
        memcpy(&bits, &f, sizeof bits);
    }
    bits |= sign;
    memcpy(&f, &bits, sizeof f);
    return f;
}

void dgm_widen(float *dst, const void *src, dgm_dtype t, size_t n)
{
    const unsigned char *p = src;
    if (t == DGM_F32) {
        memcpy(dst, p, n * sizeof *dst);
        return;
    }
    for (size_t i = 0; i < n; i++) {
        uint16_t h;
        memcpy(&h, p + 2 * i, sizeof h);
        if (t == DGM_BF16) {
            const uint32_t bits = (uint32_t)h << 16;
            memcpy(&dst[i], &bits, sizeof bits);
        } else {
            dst[i] = widen_f16(h);
        }
    }
}

void dgm_pack(float *dst, const void *src, dgm_dtype t, int row0, int rows, int k)
{
    const unsigned char *from = src;
    const size_t bytes = dgm_dtype_bytes(t), panel_floats = (size_t)DGM_PANEL * (size_t)k;
    float slab[DGM_PANEL][SLAB];
    for (int r = 0; r < rows;) {
        /* the rows that fall into one panel */
        const int panel = (row0 + r) / DGM_PANEL, lane = (row0 + r) % DGM_PANEL;
        const int n = DGM_PANEL - lane < rows - r ? DGM_PANEL - lane : rows - r;
        for (int i = 0; i < k; i += SLAB) {
            const int part = k - i < SLAB ? k - i : SLAB;
            float *to = dst + (size_t)panel * panel_floats + (size_t)i * DGM_PANEL + lane;
            for (int l = 0; l < n; l++)
                dgm_widen(slab[l], from + ((size_t)(r + l) * (size_t)k + (size_t)i) * bytes, t,
                          (size_t)part);
            for (int j = 0; j < part; j++)
                for (int l = 0; l < n; l++)
                    to[(size_t)j * DGM_PANEL + l] = slab[l][j];
        }
        r += n;
    }
}

void dgm_packed_clear(void *dst, dgm_wtype t, int n, int k)
{
    memset(dst, t == DGM_W_INT4 ? 0x88 : 0, dgm_packed_bytes(t, n, k));
}

/* line_of - the 4 bytes of row r in a panel's line `line`: 1, 2, 4 or 8 inputs. */
static size_t line_of(dgm_wtype t, int k, int r, int line)
{
    return (size_t)(r / DGM_PANEL) * dgm_panel_bytes(t, k) + (size_t)line * 64 +
           (size_t)(r % DGM_PANEL) * 4;
}

void dgm_pack_bf16(void *dst, const void *src, int row0, int rows, int k)
{
    const unsigned char *from = src;
    for (int r = 0; r < rows; r++)
        for (int i = 0; i < k; i += 2) {
            unsigned char pair[4] = {0};
            const int n = k - i < 2 ? k - i : 2;
            memcpy(pair, from + 2 * ((size_t)r * (size_t)k + (size_t)i), 2 * (size_t)n);
            memcpy((unsigned char *)dst + line_of(DGM_W_BF16, k, row0 + r, i / 2), pair, 4);
        }
}

static int at_or_zero(const int8_t *q, int i, int k)
{
    return i < k ? q[i] : 0;
}

void dgm_pack_integers(void *dst, dgm_wtype t, const int8_t *q, int row0, int rows, int k)
{
    const int inputs = dgm_line_inputs(t);
    for (int r = 0; r < rows; r++, q += k)
        for (int i = 0; i < k; i += inputs) {
            unsigned char quad[4];
            for (int j = 0; j < 4; j++) {
                const int a = at_or_zero(q, i + j, k);
                quad[j] = (unsigned char)(t == DGM_W_INT4
                                              ? (a + 8) | (at_or_zero(q, i + 4 + j, k) + 8) << 4
                                              : a);
            }
            memcpy((unsigned char *)dst + line_of(t, k, row0 + r, i / inputs), quad, 4);
        }
}

static void gather_scales(float *dst, const dgm_packed *w, const int32_t *rows, int n)
{
    const int groups = dgm_packed_groups(w->k, w->group);
    memset(dst, 0, dgm_packed_scales(w->type, n, w->k, w->group) * sizeof *dst);
    for (int r = 0; r < n; r++)
        for (int g = 0; g < groups; g++)
            dst[dgm_packed_scale_at(groups, r, g)] =
                w->scale[dgm_packed_scale_at(groups, rows[r], g)];
}

dgm_packed dgm_packed_gather(void *data, float *scale, const dgm_packed *w, const int32_t *rows,
                             int n)
{
    const int lines = (int)(dgm_panel_bytes(w->type, w->k) / 64);
    dgm_packed_clear(data, w->type, n, w->k);
    for (int r = 0; r < n; r++) {
        unsigned char *to = (unsigned char *)data + line_of(w->type, w->k, r, 0);
        const unsigned char *from =
            (const unsigned char *)w->data + line_of(w->type, w->k, rows[r], 0);
        for (int l = 0; l < lines; l++)
            memcpy(to + (size_t)l * 64, from + (size_t)l * 64, 4);
    }
    dgm_packed out = *w;
    out.n = n;
    out.data = data;
    out.scale = NULL;
    if (dgm_packed_scales(w->type, n, w->k, w->group) > 0) {
        gather_scales(scale, w, rows, n);
        out.scale = scale;
    }
    return out;
}

/* stored - what stands for row r, input i: a number, or an integer without its scale. */
static float stored(const dgm_packed *w, int r, int i)
{
    const int per = dgm_line_inputs(w->type), at = i % per;
    const unsigned char *quad = (const unsigned char *)w->data + line_of(w->type, w->k, r, i / per);
    float f;
    switch (w->type) {
    case DGM_W_BF16:
        dgm_widen(&f, quad + 2 * at, DGM_BF16, 1);
        return f;
    case DGM_W_INT8:
        return (float)(int8_t)quad[at];
    case DGM_W_INT4:
        return (float)((quad[at % 4] >> (at < 4 ? 0 : 4) & 15) - 8);
    default:
        memcpy(&f, quad, sizeof f);
        return f;
    }
}

float dgm_packed_at(const dgm_packed *w, int r, int i)
{
    const float f = stored(w, r, i);
    if (w->type != DGM_W_INT8 && w->type != DGM_W_INT4)
        return f;
    const int groups = dgm_packed_groups(w->k, w->group);
    return f * w->scale[dgm_packed_scale_at(groups, r, w->group == 0 ? 0 : i / w->group)];
}

void dgm_packed_zero(void *panels, dgm_wtype t, int k, int r, int i)
{
    const int inputs = dgm_line_inputs(t), in = i % inputs;
    unsigned char *at = (unsigned char *)panels + line_of(t, k, r, i / inputs);
    if (t == DGM_W_INT4)
        at[in % 4] = (unsigned char)(in < 4 ? (at[in] & 0xf0) | 0x08 : (at[in - 4] & 0x0f) | 0x80);
    else
        memset(at + in * 4 / inputs, 0, (size_t)(4 / inputs));
}

/* The lookup of a step's tokens: without asking for the type at each element. */
static void read_bf16(float *dst, const dgm_packed *w, int r)
{
    const uint16_t *from = (const uint16_t *)w->data +
                           (size_t)(r / DGM_PANEL) * (dgm_panel_bytes(DGM_W_BF16, w->k) / 2) +
                           (size_t)(r % DGM_PANEL) * 2;
    for (int i = 0; i < w->k; i++) {
        const uint32_t bits = (uint32_t)from[(size_t)(i / 2) * 2 * DGM_PANEL + (size_t)(i & 1)]
                              << 16;
        memcpy(&dst[i], &bits, sizeof bits);
    }
}

/* Outputs with one scale; with groups, each run of inputs has its own. */
static void read_int8(float *dst, const dgm_packed *w, int r)
{
    const int groups = dgm_packed_groups(w->k, w->group), run = groups > 1 ? w->group : w->k;
    const int8_t *from = (const int8_t *)w->data + line_of(DGM_W_INT8, w->k, r, 0);
    for (int g = 0, i = 0; g < groups; g++) {
        const float scale = w->scale[dgm_packed_scale_at(groups, r, g)];
        const int end = i + run < w->k ? i + run : w->k;
        for (; i + 4 <= end; i += 4) { /* a line has 4 inputs of the row */
            const int8_t *quad = from + (size_t)i * DGM_PANEL;
            for (int j = 0; j < 4; j++)
                dst[i + j] = (float)quad[j] * scale;
        }
        for (; i < end; i++)
            dst[i] = (float)from[(size_t)(i / 4) * DGM_LINE + (size_t)(i % 4)] * scale;
    }
}

static void read_f32(float *dst, const dgm_packed *w, int r)
{
    const float *from = dgm_packed_row(w, r);
    for (int i = 0; i < w->k; i++)
        dst[i] = from[(size_t)i * DGM_PANEL];
}

static void read_sparse(float *dst, const dgm_packed *w, int r)
{
    const int groups = dgm_packed_groups(w->k, w->group);
    dgm_sparse_read(dst, w, r);
    for (int i = 0; w->type == DGM_W_INT8 && i < w->k; i++)
        dst[i] *= w->scale[dgm_packed_scale_at(groups, r, w->group == 0 ? 0 : i / w->group)];
}

void dgm_packed_read(float *dst, const dgm_packed *w, int r)
{
    if (w->pattern != DGM_DENSE) {
        read_sparse(dst, w, r);
        return;
    }
    switch (w->type) {
    case DGM_W_BF16:
        read_bf16(dst, w, r);
        break;
    case DGM_W_INT8:
        read_int8(dst, w, r);
        break;
    case DGM_W_INT4:
        for (int i = 0; i < w->k; i++)
            dst[i] = dgm_packed_at(w, r, i);
        break;
    default:
        read_f32(dst, w, r);
    }
}
