#include "kernels/sparse.h"

#include "kernels/sparse_check.h"

#include <string.h>

/* What is stored of one weight; zero: nothing. */
static uint32_t element_of(dgm_wtype t, const void *w, size_t i)
{
    uint32_t bits;
    if (t == DGM_W_INT8)
        return ((const uint8_t *)w)[i];
    float f = ((const float *)w)[i];
    if (t == DGM_W_BF16) {
        bits = (uint32_t)dgm_bf16_round(f) << 16;
        memcpy(&f, &bits, sizeof f);
    }
    memcpy(&bits, &f, sizeof bits);
    if (!dgm_sparse_keeps(f) && f == f)
        return 0;
    return t == DGM_W_BF16 ? bits >> 16 : bits;
}

static void put_element(dgm_wtype t, void *data, uint64_t at, uint32_t e)
{
    const size_t size = dgm_element_bytes(t);
    memcpy((unsigned char *)data + at * size, &e, size); /* little endian */
}

static float number_of(dgm_wtype t, const void *data, uint64_t at)
{
    const size_t size = dgm_element_bytes(t);
    uint32_t e = 0;
    float f;
    memcpy(&e, (const unsigned char *)data + at * size, size);
    if (t == DGM_W_INT8)
        return (float)(int8_t)e;
    e = t == DGM_W_BF16 ? e << 16 : e;
    memcpy(&f, &e, sizeof f);
    return f;
}

uint64_t dgm_sparse_bytes(const dgm_packed *w, uint64_t values)
{
    const uint64_t panels = dgm_packed_panels(w->n);
    if (w->pattern == DGM_DENSE)
        return dgm_packed_bytes(w->type, w->n, w->k);
    const uint64_t index = panels * dgm_sparse_index_bytes(w->pattern, w->type, w->k);
    if (w->pattern == DGM_BITMAP)
        return index + dgm_bitmap_room(w->type, values) * dgm_element_bytes(w->type) +
               dgm_bitmap_starts(w->n, w->k) * sizeof *w->starts;
    return index + panels * dgm_nm_bytes(w->pattern, w->type, w->k);
}

uint64_t dgm_sparse_count(dgm_wtype t, const void *w, size_t count)
{
    uint64_t n = 0;
    for (size_t i = 0; i < count; i++)
        n += element_of(t, w, i) != 0;
    return n;
}

/* ---- n of m ---- */

/* nm_at - the element of data that is number v of block b, row r. */
static uint64_t nm_at(const dgm_packed *w, int r, int b, int v)
{
    const uint64_t per = (uint64_t)dgm_line_inputs(w->type), line = DGM_PANEL * per,
                   lines = (uint64_t)dgm_nm_inputs(w->pattern) / 2 / per;
    const uint64_t panel =
        (uint64_t)(r / DGM_PANEL) * (uint64_t)dgm_sparse_blocks(w->pattern, w->k);
    return ((panel + (uint64_t)b) * lines + (uint64_t)v / per) * line +
           (uint64_t)(r % DGM_PANEL) * per + (uint64_t)v % per;
}

static uint32_t *nm_places(const dgm_packed *w, int r, int b)
{
    const size_t blocks = (size_t)dgm_sparse_blocks(w->pattern, w->k);
    return (uint32_t *)w->index + ((size_t)(r / DGM_PANEL) * blocks + (size_t)b) * DGM_PANEL +
           r % DGM_PANEL;
}

static int pack_nm_row(const dgm_packed *to, const void *src, int r, const char *name)
{
    const dgm_pattern p = to->pattern;
    const int n = dgm_nm_n(p), m = dgm_nm_m(p), inputs = dgm_nm_inputs(p);
    for (int i = 0; i < to->k; i += m) {
        const int b = i / inputs, first = i % inputs / m * n;
        for (int j = 0, have = 0; j < m && i + j < to->k; j++) {
            const uint32_t e =
                element_of(to->type, src, (size_t)r * (size_t)to->k + (size_t)(i + j));
            if (e == 0)
                continue;
            if (have == n)
                return dgm_fail(DGM_EUSAGE,
                                "%s: row %d: wanted at most %d numbers but zero among %d inputs, "
                                "found more from input %d on",
                                name, r, n, m, i);
            const int v = first + have++;
            put_element(to->type, (void *)to->data, nm_at(to, r, b, v), e);
            *nm_places(to, r, b) |= (uint32_t)j << dgm_nm_bit(p, v);
        }
    }
    return DGM_OK;
}

static int pack_nm(const dgm_packed *to, const void *src, const char *name)
{
    const size_t panels = dgm_packed_panels(to->n);
    memset((void *)to->data, 0, panels * dgm_nm_bytes(to->pattern, to->type, to->k));
    memset((void *)to->index, 0, panels * dgm_sparse_index_bytes(to->pattern, to->type, to->k));
    for (int r = 0; r < to->n; r++)
        DGM_TRY(pack_nm_row(to, src, r, name));
    return DGM_OK;
}

/* nm_ascend - places of all numbers of a line of words ascend within their m inputs: so it is where n are kept. */
static bool nm_ascend(const uint32_t places[DGM_PANEL], dgm_pattern p)
{
    const int n = dgm_nm_n(p), m = dgm_nm_m(p);
    uint32_t before[DGM_PANEL] = {0}, bad = 0;
    for (int v = 0; v < dgm_nm_inputs(p) / 2; v++)
        for (int l = 0; l < DGM_PANEL; l++) {
            const uint32_t at = places[l] >> dgm_nm_bit(p, v) & (uint32_t)(m - 1);
            bad |= v % n != 0 && at <= before[l];
            before[l] = at;
        }
    return bad == 0;
}

/* nm_wrong - the first input of those among which numbers of row r, block b have no places of their own; -1: none. */
static int nm_wrong(const dgm_packed *w, int r, int b)
{
    const dgm_pattern p = w->pattern;
    const int n = dgm_nm_n(p), m = dgm_nm_m(p), inputs = dgm_nm_inputs(p);
    const uint32_t places = *nm_places(w, r, b);
    for (int v = 0, before = -1; v < inputs / 2; v++) {
        const int first = b * inputs + v / n * m,
                  at = (int)(places >> dgm_nm_bit(p, v) & (uint32_t)(m - 1));
        before = v % n == 0 ? -1 : before;
        if (number_of(w->type, w->data, nm_at(w, r, b, v)) == 0)
            continue; /* fills up */
        if (at <= before || first + at >= w->k)
            return first;
        before = at;
    }
    return -1;
}

bool dgm_nm_check(int *row, int *input, const dgm_packed *w)
{
    const int blocks = dgm_sparse_blocks(w->pattern, w->k),
              whole = w->k / dgm_nm_inputs(w->pattern);
    for (int r = 0; r < w->n; r += DGM_PANEL)
        for (int b = 0; b < blocks; b++) {
            if (b < whole && nm_ascend(nm_places(w, r, b), w->pattern))
                continue;
            for (*row = r; *row < r + DGM_PANEL && *row < w->n; ++*row)
                if ((*input = nm_wrong(w, *row, b)) >= 0)
                    return false;
        }
    return true;
}

static void read_nm(float *dst, const dgm_packed *w, int r)
{
    const dgm_pattern p = w->pattern;
    const int n = dgm_nm_n(p), m = dgm_nm_m(p), inputs = dgm_nm_inputs(p);
    for (int b = 0; b < dgm_sparse_blocks(p, w->k); b++) {
        const uint32_t places = *nm_places(w, r, b);
        for (int v = 0; v < inputs / 2; v++) {
            const int i =
                b * inputs + v / n * m + (int)(places >> dgm_nm_bit(p, v) & (uint32_t)(m - 1));
            const float f = number_of(w->type, w->data, nm_at(w, r, b, v));
            if (f != 0 && i < w->k) /* what fills up may name a place that is taken */
                dst[i] = f;
        }
    }
}

/* ---- bitmaps ---- */

static uint16_t *masks_of(const dgm_packed *w, size_t panel)
{
    return (uint16_t *)w->index +
           panel * dgm_sparse_index_bytes(DGM_BITMAP, w->type, w->k) / sizeof(uint16_t);
}

static size_t bits_of(const uint16_t *masks, size_t n)
{
    size_t bits = 0, i = 0;
    for (; i + 4 <= n; i += 4) {
        uint64_t four;
        memcpy(&four, masks + i, sizeof four);
        bits += (size_t)__builtin_popcountll(four);
    }
    for (; i < n; i++)
        bits += (size_t)__builtin_popcount(masks[i]);
    return bits;
}

/* masks_in - of block b of a panel. */
static size_t masks_in(const dgm_packed *w, int b)
{
    const size_t all = dgm_sparse_index_bytes(DGM_BITMAP, w->type, w->k) / sizeof(uint16_t),
                 from = (size_t)b * DGM_BITMAP_BLOCK;
    return all - from < DGM_BITMAP_BLOCK ? all - from : DGM_BITMAP_BLOCK;
}

/* A panel's elements go through its lines: element e of a line is input e % per of lane e / per. */
static int pack_bitmap(const dgm_packed *to, const void *src, uint64_t room, const char *name)
{
    const int per = dgm_line_inputs(to->type), blocks = dgm_sparse_blocks(DGM_BITMAP, to->k);
    const uint64_t most = room - DGM_BITMAP_SLACK / dgm_element_bytes(to->type);
    uint32_t *starts = (uint32_t *)to->starts;
    uint64_t at = 0;
    memset((void *)to->data, 0, room * dgm_element_bytes(to->type));
    for (size_t panel = 0; panel < dgm_packed_panels(to->n); panel++) {
        uint16_t *masks = masks_of(to, panel);
        memset(masks, 0, dgm_sparse_index_bytes(DGM_BITMAP, to->type, to->k));
        for (int i = 0; i < to->k; i += per, masks += per) {
            if (i % DGM_BITMAP_BLOCK == 0)
                starts[panel * (size_t)blocks + (size_t)(i / DGM_BITMAP_BLOCK)] = (uint32_t)at;
            for (int e = 0; e < DGM_PANEL * per; e++) {
                const int r = (int)panel * DGM_PANEL + e / per, input = i + e % per;
                const uint32_t x =
                    r < to->n && input < to->k
                        ? element_of(to->type, src, (size_t)r * (size_t)to->k + (size_t)input)
                        : 0;
                if (x == 0)
                    continue;
                if (at == most)
                    return dgm_fail(DGM_EUSAGE,
                                    "%s: wanted at most %llu numbers but zero, found more from row "
                                    "%d, input %d on",
                                    name, (unsigned long long)most, r, input);
                put_element(to->type, (void *)to->data, at++, x);
                masks[e / 16] = (uint16_t)(masks[e / 16] | 1u << e % 16);
            }
        }
    }
    starts[dgm_packed_panels(to->n) * (size_t)blocks] = (uint32_t)at;
    return DGM_OK;
}

static void read_bitmap(float *dst, const dgm_packed *w, int r)
{
    const int per = dgm_line_inputs(w->type), lane = r % DGM_PANEL;
    const size_t panel = (size_t)(r / DGM_PANEL);
    const uint16_t *masks = masks_of(w, panel);
    uint64_t at = w->starts[panel * (size_t)dgm_sparse_blocks(DGM_BITMAP, w->k)];
    for (int i = 0; i < w->k; i += per, masks += per) {
        for (int j = 0; j < per && i + j < w->k; j++) {
            const int e = lane * per + j, word = e / 16;
            if ((masks[word] >> e % 16 & 1) == 0)
                continue;
            const uint16_t before = (uint16_t)(masks[word] & ((1u << e % 16) - 1));
            dst[i + j] = number_of(w->type, w->data,
                                   at + bits_of(masks, (size_t)word) + bits_of(&before, 1));
        }
        at += bits_of(masks, (size_t)per);
    }
}

bool dgm_bitmap_check(uint64_t *block, uint64_t *wanted, uint64_t *found, const dgm_packed *w,
                      uint64_t room)
{
    const int blocks = dgm_sparse_blocks(DGM_BITMAP, w->k);
    const uint64_t all = dgm_bitmap_starts(w->n, w->k) - 1;
    *block = 0;
    *wanted = 0; /* elements before the first block's */
    *found = w->starts[0];
    if (*found != 0)
        return false;
    for (; *block < all; ++*block) {
        const size_t panel = (size_t)(*block / (uint64_t)blocks);
        const int b = (int)(*block % (uint64_t)blocks);
        *wanted = bits_of(masks_of(w, panel) + (size_t)b * DGM_BITMAP_BLOCK, masks_in(w, b));
        *found = (uint64_t)w->starts[*block + 1] - w->starts[*block];
        if (*wanted != *found)
            return false;
    }
    *wanted = w->starts[all] + DGM_BITMAP_SLACK / dgm_element_bytes(w->type);
    *found = room;
    return *wanted <= *found;
}

/* ---- both ---- */

int dgm_sparse_pack(const dgm_packed *to, const void *src, uint64_t room, const char *name)
{
    return to->pattern == DGM_BITMAP ? pack_bitmap(to, src, room, name) : pack_nm(to, src, name);
}

void dgm_sparse_read(float *dst, const dgm_packed *w, int r)
{
    memset(dst, 0, (size_t)w->k * sizeof *dst);
    if (w->pattern == DGM_BITMAP)
        read_bitmap(dst, w, r);
    else
        read_nm(dst, w, r);
}

dgm_zipped dgm_sparse_stretch(const dgm_packed *w, int panel, int i)
{
    const dgm_pattern p = w->pattern;
    const size_t at = (size_t)panel, index = dgm_sparse_index_bytes(p, w->type, w->k);
    dgm_zipped z = {.pattern = p, .type = w->type};
    const unsigned char *data = w->data;
    if (p == DGM_BITMAP) {
        const size_t blocks = (size_t)dgm_sparse_blocks(p, w->k), b = (size_t)i / DGM_BITMAP_BLOCK;
        const uint16_t *masks = masks_of(w, at);
        const uint64_t first = w->starts[at * blocks + b] +
                               bits_of(masks + b * DGM_BITMAP_BLOCK, (size_t)i % DGM_BITMAP_BLOCK);
        z.index = masks + i;
        z.data = data + first * dgm_element_bytes(w->type);
        return z;
    }
    const size_t b = (size_t)(i / dgm_nm_inputs(p));
    z.index = (const unsigned char *)w->index + at * index + b * DGM_LINE;
    z.data = data + at * dgm_nm_bytes(p, w->type, w->k) +
             b * dgm_panel_bytes(w->type, dgm_nm_inputs(p) / 2);
    return z;
}

void dgm_sparse_expand(const dgm_kernels *kern, void *dst, const dgm_packed *w)
{
    const size_t bytes = dgm_panel_bytes(w->type, w->k);
    for (int p = 0; p < (int)dgm_packed_panels(w->n); p++) {
        const dgm_zipped z = dgm_sparse_stretch(w, p, 0);
        kern->unzip((unsigned char *)dst + (size_t)p * bytes, &z, w->k);
    }
}
